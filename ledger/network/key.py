"""The secp256k1 keys of a network: of its validators, and of the accounts that send transactions."""

from __future__ import annotations

from dataclasses import dataclass

from coincurve import PrivateKey

from ledger.state import keccak256


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair; `secret` is never printed."""

    public: bytes
    """64 bytes, as enode addresses name a validator."""
    secret: PrivateKey

    def __repr__(self) -> str:
        return f"Key({self.text})"

    @classmethod
    def of(cls, secret: PrivateKey) -> Key:
        """The pair of a secret."""
        return cls(secret.public_key.format(compressed=False)[1:], secret)

    @classmethod
    def generate(cls) -> Key:
        """A fresh pair."""
        return cls.of(PrivateKey())

    @property
    def address(self) -> bytes:
        """The account, and the name under which a validator seals."""
        return keccak256(self.public)[12:]

    @property
    def text(self) -> str:
        """The address as people read it."""
        return f"0x{self.address.hex()}"

    @property
    def line(self) -> str:
        """The secret as a key file holds it: 64 hexadecimal digits, for Besu and for us."""
        return self.secret.secret.hex()
