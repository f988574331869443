"""Checkpoints: the signed head of the log, as a C2SP `tlog-checkpoint` in a C2SP `signed-note`. Frozen.

The text is origin, tree size, root hash; then a blank line and one Ed25519 signature line of the log. Read
strictly: a text that differs in any byte from what its values would be written as is refused.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import KeyFileError, MalformedError, VerificationError
from ledger.keyfile import read_secret, write_secret
from ledger.merkle import HASH_BYTES

ED25519 = b"\x01"
"""The signature type byte that C2SP signed-note assigns to plain Ed25519."""
MAX_SIZE = 2**63 - 1
_DASH = "\u2014"
_PRIVATE = "PRIVATE+KEY"


def to_base64(raw: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(raw).decode("ascii")


def from_base64(step: str, text: str, length: int | None = None) -> bytes:
    """The bytes behind base64 text; MalformedError unless it is the one way to write them."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(step, f"not base64: {text!r}") from error
    if to_base64(raw) != text:
        raise MalformedError(step, f"not the one base64 form of its bytes: {text!r}")
    if length is not None and len(raw) != length:
        raise MalformedError(step, "wrong length", expected=f"{length} bytes", got=f"{len(raw)} bytes")
    return raw


def parse_count(step: str, text: str) -> int:
    """A decimal number without sign or leading zero, below 2^63."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or (text[0] == "0" and text != "0"):
        raise MalformedError(step, f"not a plain decimal number: {text!r}")
    if int(text) > MAX_SIZE:
        raise MalformedError(step, f"number is above {MAX_SIZE}: {text}")
    return int(text)


def check_name(name: str) -> str:
    """The key name or origin, if C2SP signed-note allows it (no space, no plus) and TOML needs no escape
    for it.
    """
    if not name or not name.isprintable() or any(letter.isspace() or letter in '+"\\' for letter in name):
        raise MalformedError(
            "checkpoint", f"a log's name is printable text without space, plus, quote or backslash: {name!r}"
        )
    return name


def key_id(name: str, public: bytes) -> bytes:
    """The four bytes that name a key in a signature line: SHA-256(name || LF || type || key)[:4]."""
    return sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a log's key; its text form is `name+id+key`, as in other transparency logs."""

    name: str
    public: bytes

    def __str__(self) -> str:
        return f"{self.name}+{key_id(self.name, self.public).hex()}+{to_base64(ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key in its text form; MalformedError if any part does not belong to the others."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise MalformedError("key", f"not of the form name+id+key: {text!r}")
        raw = from_base64("key", parts[2], 1 + HASH_BYTES)
        key = cls(check_name(parts[0]), raw[1:])
        if str(key) != text:
            raise MalformedError("key", "its parts do not belong together", expected=str(key), got=text)
        return key

    def verify(self, text: bytes, signature: bytes) -> None:
        """Nothing if this key signed `text`, else InvalidSignature."""
        Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """The log's own key; its file form is `PRIVATE+KEY+name+id+seed`, as in other transparency logs."""

    name: str
    seed: bytes

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        """A fresh key for the log of that name."""
        return cls(check_name(name), Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """The key in a file; KeyFileError if it is absent, open to others, or no log key."""
        text = read_secret(path)
        if not text.startswith(_PRIVATE + "+"):
            raise KeyFileError(f"{path} holds no log key")
        name, _, rest = text.removeprefix(_PRIVATE + "+").partition("+")
        try:
            raw = from_base64("key", rest.partition("+")[2], 1 + HASH_BYTES)
            key = cls(check_name(name), raw[1:])
        except MalformedError as error:
            raise KeyFileError(f"{path} holds no log key") from error
        if key._text() != text:
            raise KeyFileError(f"{path} holds a log key whose parts do not belong together")
        return key

    def save(self, path: Path) -> None:
        """Write the key to a new file that only its owner can read; KeyFileError if there is one already."""
        write_secret(path, self._text())

    def sign(self, text: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `text`."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(text)

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(
            self.name, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        )

    def _text(self) -> str:
        number = key_id(self.name, self.verifier.public).hex()
        return f"{_PRIVATE}+{self.name}+{number}+{to_base64(ED25519 + self.seed)}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log at one size, signed: `key_id` and `signature` are those of the one signature line."""

    origin: str
    size: int
    root: bytes
    key_id: bytes
    signature: bytes

    @classmethod
    def sign(cls, size: int, root: bytes, key: SigningKey) -> Checkpoint:
        """The checkpoint of a log of that size and root, signed with the log's key, which bears its name."""
        unsigned = cls(key.name, size, root, key_id(key.name, key.verifier.public), b"")
        return cls(key.name, size, root, unsigned.key_id, key.sign(unsigned.body()))

    def body(self) -> bytes:
        """The note text: what is signed."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n".encode()

    def text(self) -> str:
        """The signed note."""
        return f"{self.body().decode()}\n{_DASH} {self.origin} {to_base64(self.key_id + self.signature)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint that a text holds; MalformedError for anything that `text` would not write."""
        lines = text.split("\n")
        if len(lines) != 6 or lines[3] or lines[5]:
            raise MalformedError("checkpoint", "not origin, size, root, blank line and one signature line")
        origin = check_name(lines[0])
        prefix = f"{_DASH} {origin} "
        if not lines[4].startswith(prefix):
            raise MalformedError(
                "checkpoint", "signature line is not the log's", expected=prefix, got=lines[4]
            )
        signature = from_base64("checkpoint", lines[4].removeprefix(prefix), 4 + 64)
        return cls(
            origin,
            parse_count("checkpoint", lines[1]),
            from_base64("checkpoint", lines[2], HASH_BYTES),
            signature[:4],
            signature[4:],
        )

    def verify(self, key: VerifierKey) -> None:
        """Nothing if `key` signed this checkpoint of its log; VerificationError with both values if not."""
        if self.origin != key.name:
            raise VerificationError("checkpoint", "it is another log's", expected=key.name, got=self.origin)
        expected = key_id(key.name, key.public)
        if self.key_id != expected:
            raise VerificationError(
                "checkpoint", "signed by another key", expected=expected.hex(), got=self.key_id.hex()
            )
        try:
            key.verify(self.body(), self.signature)
        except InvalidSignature as error:
            raise VerificationError(
                "checkpoint",
                "the signature does not belong to this text",
                expected=f"a signature by {key}",
                got=to_base64(self.signature),
            ) from error
