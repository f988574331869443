"""The key that signs a log's checkpoints, from a file or in a PKCS#11 token."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ledger.checkpoint import ED25519, NoteSigner, SigningKey, VerifierKey, check_name
from ledger.signer import KeyPlace, Signer, ed25519_in


@dataclass(frozen=True, slots=True)
class TokenLogKey:
    """A log's key whose private half stays in a token; a token knows no names of logs, so it comes along."""

    name: str
    signer: Signer
    kind: bytes = ED25519

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self.name, self.signer.public, self.kind)

    def sign(self, text: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `text`; TokenError if the token does not answer."""
        return self.signer.sign(text)


def log_key(place: KeyPlace, origin: str) -> NoteSigner:
    """The key of the log of that origin; KeyFileError or TokenError if it cannot be used."""
    if isinstance(place, Path):
        return SigningKey.load(place)
    return TokenLogKey(check_name(origin), ed25519_in(place))
