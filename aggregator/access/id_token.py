"""An ID token of the identity provider: whether it is of that provider, for us, of this sign-in, and of now.

Rules (OpenID Connect Core 1.0, section 3.1.3.7): the algorithm is one of our list and of the provider's, and
never a symmetric one; the key is the provider's, of the kind that the algorithm has; each claim that binds
the token is there and is right. Where one is not, nothing of the token counts.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, GuestProtocol, JWKRegistry, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from aggregator.access.errors import ProviderError
from aggregator.access.secret import same

# Ed25519 is EdDSA's newer name (RFC 9864); each algorithm with the kind of its keys
KINDS: Mapping[str, type[Key]] = {"RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey, "Ed25519": OKPKey}
LEEWAY_S = 60  # that the provider's clock may be off
OLDEST_S = 600  # since the token was made: it comes as the answer to our question
LONGEST_SUBJECT = 255
SMALLEST_RSA = 2048
UNTRUSTED = "what the provider said of you could not be verified: you are not signed in"


class UnknownKeyError(ProviderError):
    """None of the keys at hand signed it; newer ones may be there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a token must be."""

    issuer: str
    client_id: str
    nonce: str
    algorithms: Collection[str]
    now: datetime


def read_keys(document: Mapping[str, Any]) -> tuple[Key, ...]:
    """The public keys of a JSON Web Key Set that can have signed a token; others are passed over."""
    found = []
    for each in _dicts(document.get("keys")):
        try:
            if each.get("kty") not in {"RSA", "EC", "OKP"} or each.get("use", "sig") != "sig":
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # of keys that are too small: see below
                key = JWKRegistry.import_key(each)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if not isinstance(key, RSAKey) or key.public_key.key_size >= SMALLEST_RSA:
            found.append(key)
    return tuple(found)


def verify(token: str, keys: Sequence[Key], expected: Expected) -> Mapping[str, Any]:
    """The claims; UnknownKeyError where none of the keys is its own, ProviderError for all else."""
    allowed = [name for name in KINDS if name in expected.algorithms]
    if not allowed:
        raise ProviderError(UNTRUSTED, "the provider signs with none of RS256, ES256 and EdDSA")
    registry = JWSRegistry(algorithms=allowed, strict_check_header=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # the name EdDSA, not its signature, is old
            claims = jwt.decode(token, lambda header: _key_of(header, keys), registry=registry).claims
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ProviderError(UNTRUSTED, f"the ID token cannot be verified: {error}") from error
    _check(claims, expected)
    return claims


def subject_of(claims: Mapping[str, Any], name: str) -> str:
    """The value of the claim that tells people apart; ProviderError where it cannot."""
    subject = claims.get(name)
    if not isinstance(subject, str) or not subject or len(subject) > LONGEST_SUBJECT:
        raise ProviderError(UNTRUSTED, f"the claim {name} is no text of 1 to {LONGEST_SUBJECT} characters")
    if not subject.isprintable():
        raise ProviderError(UNTRUSTED, f"the claim {name} holds what cannot be seen")
    return subject


def _key_of(header: GuestProtocol, keys: Sequence[Key]) -> Key:
    """The one key that may have signed it: by its id where the token names one."""
    said = header.headers()
    kind, key_id = KINDS.get(said.get("alg", "")), said.get("kid")
    fit = [
        key
        for key in keys
        if kind is not None and isinstance(key, kind) and key.get("alg") in {None, said.get("alg")}
    ]
    named = fit if key_id is None else [key for key in fit if key.get("kid") == key_id]
    if len(named) != 1:
        raise UnknownKeyError(UNTRUSTED, f"{len(named)} keys of the provider fit the token")
    return named[0]


def _check(claims: Mapping[str, Any], expected: Expected) -> None:
    now = expected.now.timestamp()
    expires, issued, begins = (_seconds(claims, name) for name in ("exp", "iat", "nbf"))
    audience = claims.get("aud")
    nonce = claims.get("nonce")
    right = {
        "iss": claims.get("iss") == expected.issuer,
        # an audience beside us would be one that we do not trust
        "aud": audience in (expected.client_id, [expected.client_id]),
        "azp": claims.get("azp", expected.client_id) == expected.client_id,
        "exp": expires is not None and now < expires + LEEWAY_S,
        "iat": issued is not None and now - OLDEST_S <= issued <= now + LEEWAY_S,
        "nbf": "nbf" not in claims or (begins is not None and begins <= now + LEEWAY_S),
        "nonce": isinstance(nonce, str) and same(nonce, expected.nonce),
    }
    wrong = [name for name, is_right in right.items() if not is_right]
    if wrong:
        raise ProviderError(UNTRUSTED, f"claims of the ID token are not right: {', '.join(wrong)}")


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        return None
    return float(value)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
