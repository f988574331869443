"""The identity provider over HTTP: what it says of itself, its keys, and the token for a code.

Rules: what is asked is https, or loopback; no redirect is followed, no answer is larger than its bound or
later than its patience; the provider is the one that we were told, to the letter; new keys are fetched when a
token names one that is not known, at most once a minute.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote_plus, urlencode

import aiohttp
from joserfc.jwk import Key

from aggregator.access.errors import OutOfReachError, ProviderError
from aggregator.access.id_token import KINDS, UNTRUSTED, Expected, UnknownKeyError, read_keys, verify
from aggregator.access.oidc_settings import OidcSettings

WELL_KNOWN = "/.well-known/openid-configuration"
OUT_OF_REACH = "the identity provider cannot be reached now: use your password, or try again later"
NOT_TAKEN = "the identity provider did not confirm this sign-in: begin again"
LARGEST = 262_144
KEYS_KNOWN_FOR = timedelta(hours=1)
ASKED_EVERY = timedelta(minutes=1)
FAILED_FOR = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a provider says of itself (OpenID Connect Discovery 1.0)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    algorithms: frozenset[str]
    names_itself: bool
    """Whether it puts its name beside each code (RFC 9207)."""
    secret_in_form: bool
    """Whether it wants our secret in the form, not in a header."""


class Provider:
    """One provider. `clock` is the time of the people; `settings` are checked before."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], datetime]) -> None:
        self.settings = settings
        self._clock = clock
        self._secret = settings.secret()
        self._context = settings.context()
        self._metadata: tuple[datetime, Metadata] | None = None
        self._failed: tuple[datetime, ProviderError] | None = None
        self._keys: tuple[datetime, tuple[Key, ...]] | None = None
        self._keys_failed: tuple[datetime, ProviderError] | None = None
        self._failed_for = FAILED_FOR + timedelta(seconds=settings.timeout_s)
        self._alone, self._keys_alone = asyncio.Lock(), asyncio.Lock()

    async def address(self, *, redirect: str, state: str, nonce: str, challenge: str) -> str:
        """Where the browser goes to sign in there; ProviderError where the provider is out of reach."""
        known = await self._known()
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect,
            "scope": " ".join(self.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in known.authorization_endpoint else "?"
        return f"{known.authorization_endpoint}{joint}{urlencode(asked)}"

    async def check_issuer(self, said: str | None) -> None:
        """ProviderError where the answer with the code is of another provider (RFC 9207)."""
        if said != self.settings.issuer and (said is not None or (await self._known()).names_itself):
            raise ProviderError(UNTRUSTED, f"the answer is of the issuer {said!r:.200}, not ours")

    async def claims(self, *, code: str, redirect: str, verifier: str, nonce: str) -> Mapping[str, Any]:
        """What the provider says of who signed in, verified; ProviderError where it does not, or not so that
        it can be believed.
        """
        known = await self._known()
        token = await self._exchange(known, code, redirect, verifier)
        expected = Expected(
            issuer=self.settings.issuer,
            client_id=self.settings.client_id,
            nonce=nonce,
            algorithms=known.algorithms,
            now=self._clock(),
        )
        try:
            return verify(token, await self._signers(known), expected)
        except UnknownKeyError:
            return verify(token, await self._signers(known, anew=True), expected)

    async def _known(self) -> Metadata:
        async with self._alone:
            now = self._clock()
            self._raise_again(self._failed, now)
            if self._metadata is None or now - self._metadata[0] >= ASKED_EVERY:
                address = self.settings.issuer.rstrip("/") + WELL_KNOWN
                try:
                    self._metadata = now, read_metadata(await self._fetch(address), self.settings)
                except ProviderError as error:
                    self._failed = self._clock(), error
                    raise
            return self._metadata[1]

    def _raise_again(self, failed: tuple[datetime, ProviderError] | None, now: datetime) -> None:
        """The failure of just now: who waits in line for the provider does not wait once more."""
        if failed is not None and now - failed[0] < self._failed_for:
            raise failed[1]

    async def _signers(self, known: Metadata, *, anew: bool = False) -> tuple[Key, ...]:
        async with self._keys_alone:
            now = self._clock()
            self._raise_again(self._keys_failed, now)
            patience = ASKED_EVERY if anew else KEYS_KNOWN_FOR
            if self._keys is None or now - self._keys[0] >= patience:
                try:
                    self._keys = now, read_keys(await self._fetch(known.jwks_uri))
                except ProviderError as error:
                    self._keys_failed = self._clock(), error
                    raise
            return self._keys[1]

    async def _exchange(self, known: Metadata, code: str, redirect: str, verifier: str) -> str:
        """The ID token for a code."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": verifier,
        }
        headers = {}
        if known.secret_in_form:
            form |= {"client_id": self.settings.client_id, "client_secret": self._secret}
        else:  # RFC 6749, section 2.3.1: both are encoded as in a form first
            user, password = quote_plus(self.settings.client_id), quote_plus(self._secret)
            headers["Authorization"] = f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
        answer = await self._fetch(known.token_endpoint, form, headers)
        token = answer.get("id_token")
        if not isinstance(token, str) or not token.isascii():
            raise ProviderError(NOT_TAKEN, "the token endpoint gave no ID token")
        return token

    async def _fetch(
        self, address: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON object at an address; with a form, the answer to it."""
        timeout = aiohttp.ClientTimeout(total=self.settings.timeout_s)
        connector = aiohttp.TCPConnector(ssl=self._context)
        given = {"Accept": "application/json", **(headers or {})}
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as http,
                http.request(
                    "GET" if form is None else "POST",
                    address,
                    data=form,
                    headers=given,
                    allow_redirects=False,
                ) as answer,
            ):
                status, raw = answer.status, await answer.content.read(LARGEST + 1)
                while len(raw) <= LARGEST and (more := await answer.content.read(LARGEST)):
                    raw += more
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            detail = f"{address} cannot be asked: {type(error).__name__} {error}"
            raise OutOfReachError(OUT_OF_REACH, detail) from error
        if form is not None and 400 <= status < 500:
            raise ProviderError(NOT_TAKEN, f"{address} answered {status}: {_error_in(raw)}")
        if status != 200 or len(raw) > LARGEST:
            raise OutOfReachError(OUT_OF_REACH, f"{address} answered {status} with {len(raw)} bytes")
        return _object(address, raw)


def read_metadata(document: Mapping[str, Any], settings: OidcSettings) -> Metadata:
    """What the document says, as far as it counts; ProviderError where we cannot sign in by it."""
    issuer = settings.issuer
    if document.get("issuer") != issuer:
        said = document.get("issuer")
        raise ProviderError(UNTRUSTED, f"the provider says it is {said!r:.200}, not {issuer!r}")
    endpoints = {}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        address = document.get(name)
        if not isinstance(address, str) or "#" in address or not settings.may_name(address):
            detail = f"{name} of the provider is no https address of its host or of hosts: {address!r:.200}"
            raise ProviderError(UNTRUSTED, detail)
        endpoints[name] = address
    if "S256" not in _words(document, "code_challenge_methods_supported", "S256"):
        raise ProviderError(UNTRUSTED, "the provider does not take PKCE with S256")
    algorithms = _words(document, "id_token_signing_alg_values_supported", "RS256") & KINDS.keys()
    if not algorithms:
        raise ProviderError(UNTRUSTED, "the provider signs with none of RS256, ES256 and EdDSA")
    secret_by = _words(document, "token_endpoint_auth_methods_supported", "client_secret_basic")
    if not secret_by & {"client_secret_basic", "client_secret_post"}:
        raise ProviderError(UNTRUSTED, "the provider takes our secret neither in a header nor in a form")
    return Metadata(
        **endpoints,
        algorithms=algorithms,
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
        secret_in_form="client_secret_basic" not in secret_by,
    )


def _words(document: Mapping[str, Any], name: str, otherwise: str) -> frozenset[str]:
    """A list of names; where the provider says nothing, what the standard assumes then."""
    found = document.get(name)
    if found is None:
        return frozenset({otherwise})
    return frozenset(one for one in found if isinstance(one, str)) if isinstance(found, list) else frozenset()


def _object(address: str, raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise OutOfReachError(OUT_OF_REACH, f"{address} did not answer with JSON") from error
    if not isinstance(found, dict):
        raise OutOfReachError(OUT_OF_REACH, f"{address} did not answer with a JSON object")
    return found


def _error_in(raw: bytes) -> str:
    """The name of the error (RFC 6749, section 5.2), for the log."""
    try:
        said = json.loads(raw)["error"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return "no error is named"
    return f"{said!r:.100}"
