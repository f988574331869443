"""Private keys, used without being seen: the seam between who signs and where the key lies."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeAlias

from ledger.errors import TokenError
from ledger.token_uri import SCHEME, TokenUri

KeyPlace: TypeAlias = Path | TokenUri
"""Where a private key is: a file of ours, or an object in a PKCS#11 token."""


class Signer(Protocol):
    """A private key."""

    @property
    def public(self) -> bytes:
        """Its public half: 32 bytes of Ed25519, or the 64 bytes x||y of a point."""

    def sign(self, octets: bytes) -> bytes:
        """64 bytes: Ed25519 over any octets, or r||s of ECDSA over a digest of 32 bytes."""


def key_place(text: str) -> KeyPlace:
    """What a command line names: a `pkcs11:` URI, or else a file. TokenError for a URI that is wrong."""
    return TokenUri.parse(text) if text.startswith(SCHEME) else Path(text)


def ed25519_in(uri: TokenUri) -> Signer:
    """The Ed25519 key of that name; TokenError says in one sentence what stands in the way."""
    token = _tokens()
    key: Signer = token.TokenKey(uri, token.ED25519)
    return key


def secp256k1_in(uri: TokenUri) -> Signer:
    """The secp256k1 key of that name; TokenError says in one sentence what stands in the way."""
    token = _tokens()
    key: Signer = token.TokenKey(uri, token.SECP256K1)
    return key


def make_in(uri: TokenUri, *, ed25519: bool) -> None:
    """Make the key of that name in its token, of Ed25519 or else of secp256k1; TokenError if it is there."""
    token = _tokens()
    token.generate(uri, token.ED25519 if ed25519 else token.SECP256K1)


def _tokens() -> ModuleType:
    """What speaks to tokens takes a package that the light agent does not carry."""
    try:
        from ledger import token  # noqa: PLC0415 - see above
    except ImportError as error:
        raise TokenError("a key in a token needs python-pkcs11: install flexpact[pkcs11]") from error
    return token
