"""The secp256k1 key of an account on a chain, from a file or in a PKCS#11 token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coincurve import PrivateKey, PublicKey
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from web3.types import TxParams

from ledger.errors import KeyFileError, TokenError
from ledger.keyfile import read_secret, write_secret
from ledger.signer import KeyPlace, Signer, secp256k1_in
from ledger.state import keccak256

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""Of the curve's group."""
_DIGITS = 64
_HALF = 32


class Secp256k1Key:
    """The `ledger.signer.Signer` of a secret number."""

    def __init__(self, secret: PrivateKey) -> None:
        self._secret = secret

    @property
    def public(self) -> bytes:
        """The 64 bytes x||y."""
        return bytes(self._secret.public_key.format(compressed=False)[1:])

    def sign(self, octets: bytes) -> bytes:
        """r||s over a digest, as RFC 6979 makes it."""
        return bytes(self._secret.sign_recoverable(octets, hasher=None)[: 2 * _HALF])


class ChainKey:
    """A secp256k1 key that sends transactions."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    @classmethod
    def load(cls, place: KeyPlace) -> ChainKey:
        """The key in a file of 64 hexadecimal digits, or in a token; KeyFileError or TokenError if there is
        none.
        """
        if not isinstance(place, Path):
            return cls(secp256k1_in(place))
        text = read_secret(place)
        try:
            secret = bytes.fromhex(text)
            if len(text) != _DIGITS or len(secret) != _HALF:
                raise ValueError
            return cls(Secp256k1Key(PrivateKey(secret)))
        except ValueError:
            # from None: the cause would show what the file holds
            raise KeyFileError(f"{place} holds no chain key of 64 hexadecimal digits") from None

    @classmethod
    def create(cls, path: Path) -> ChainKey:
        """A fresh key in a new file; KeyFileError if the file exists."""
        secret = PrivateKey()
        write_secret(path, secret.secret.hex())
        return cls(Secp256k1Key(secret))

    @property
    def address(self) -> bytes:
        """The account's address."""
        return keccak256(self._signer.public)[12:]

    def sign(self, transaction: TxParams) -> bytes:
        """The signed transaction's bytes, as they are sent; TokenError if the token does not answer."""
        fields: dict[str, Any] = {name: value for name, value in transaction.items() if name != "from"}
        unsigned = TypedTransaction.from_dict(fields)
        parity, r, s = self._recoverable(bytes(unsigned.hash()))
        return bytes(TypedTransaction.from_dict({**unsigned.as_dict(), "v": parity, "r": r, "s": s}).encode())

    def _recoverable(self, digest: bytes) -> tuple[int, int, int]:
        """Parity, r and s of a signature of the digest. A token tells r and any of the two s: chains take the
        lower one only, and the parity is the one by which the signature leads to our own key.
        """
        signature = self._signer.sign(digest)
        r, s = (int.from_bytes(half, "big") for half in (signature[:_HALF], signature[_HALF:]))
        s = min(s, ORDER - s)
        halves = r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")
        for parity in (0, 1):
            try:
                found = PublicKey.from_signature_and_message(halves + bytes([parity]), digest, hasher=None)
            except ValueError:  # no point has this r with this parity
                continue
            if found.format(compressed=False)[1:] == self._signer.public:
                return parity, r, s
        raise TokenError(f"the key of account 0x{self.address.hex()} made a signature that is not its own")
