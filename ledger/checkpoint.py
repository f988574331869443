"""Checkpoints: the signed head of the log, as a C2SP `tlog-checkpoint` in a C2SP `signed-note`. Frozen.

The text is origin, tree size, root hash; then a blank line and the log's own Ed25519 signature line, then
the lines of witnesses (C2SP `tlog-cosignature`, Ed25519 with a time), in the order in which they came. Read
strictly: a text that differs in any byte from what its values would be written as is refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import KeyFileError, MalformedError, VerificationError
from ledger.keyfile import read_secret, write_secret
from ledger.merkle import HASH_BYTES

ED25519 = b"\x01"
"""The signature type byte that C2SP signed-note assigns to plain Ed25519: a log's own key."""
COSIGNATURE = b"\x04"
"""The one of timestamped Ed25519 cosignatures: a witness's key."""
KINDS = {ED25519: "a log", COSIGNATURE: "a witness"}
MAX_SIGNATURES = 16
"""Signature lines of a checkpoint, the log's own among them: as many as C2SP asks every reader to take."""
MAX_SIZE = 2**63 - 1
_DASH = "\u2014"
_PRIVATE = "PRIVATE+KEY"
_ID_BYTES, _TIME_BYTES, _SIGNATURE_BYTES = 4, 8, 64


def to_base64(raw: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(raw).decode("ascii")


def from_base64(step: str, text: str, length: int | None = None) -> bytes:
    """The bytes behind base64 text; MalformedError unless it is the one way to write them."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(step, f"not base64: {text[:80]!r}") from error
    if to_base64(raw) != text:
        raise MalformedError(step, f"not the one base64 form of its bytes: {text[:80]!r}")
    if length is not None and len(raw) != length:
        raise MalformedError(step, "wrong length", expected=f"{length} bytes", got=f"{len(raw)} bytes")
    return raw


def parse_count(step: str, text: str) -> int:
    """A decimal number without sign or leading zero, below 2^63."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or (text[0] == "0" and text != "0"):
        raise MalformedError(step, f"not a plain decimal number: {text[:80]!r}")
    if int(text) > MAX_SIZE:
        raise MalformedError(step, f"number is above {MAX_SIZE}: {text}")
    return int(text)


def check_name(name: str) -> str:
    """The key name or origin, if C2SP signed-note allows it (no space, no plus) and TOML needs no escape
    for it.
    """
    if not name or not name.isprintable() or any(letter.isspace() or letter in '+"\\' for letter in name):
        raise MalformedError(
            "checkpoint",
            f"a log's name is printable text without space, plus, quote or backslash: {name[:80]!r}",
        )
    return name


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a log's or a witness's key; its text form is `name+id+key`, as in other
    transparency logs.
    """

    name: str
    public: bytes
    kind: bytes = ED25519

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{to_base64(self.kind + self.public)}"

    @property
    def id(self) -> bytes:
        """The four bytes that name the key in a signature line: SHA-256(name || LF || kind || key)[:4]."""
        return sha256(self.name.encode() + b"\n" + self.kind + self.public).digest()[:4]

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key in its text form; MalformedError if any part does not belong to the others."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise MalformedError("key", f"not of the form name+id+key: {text!r}")
        raw = from_base64("key", parts[2], 1 + HASH_BYTES)
        key = cls(check_name(parts[0]), raw[1:], raw[:1])
        if str(key) != text:
            raise MalformedError("key", "its parts do not belong together", expected=str(key), got=text)
        if key.kind not in KINDS:
            known = " or ".join(kind.hex() for kind in KINDS)
            raise MalformedError("key", "kind is not known", expected=known, got=key.kind.hex())
        return key

    def verify(self, text: bytes, signature: bytes) -> None:
        """Nothing if this key signed `text`, else InvalidSignature."""
        Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)


class NoteSigner(Protocol):
    """A key that signs notes under a name, wherever its private half lies."""

    @property
    def name(self) -> str:
        """The log's or the witness's name."""

    @property
    def kind(self) -> bytes:
        """`ED25519` or `COSIGNATURE`."""

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""

    def sign(self, text: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `text`."""


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A log's own key, or a witness's, kept in a file; its file form is `PRIVATE+KEY+name+id+seed`, as in
    other transparency logs.
    """

    name: str
    seed: bytes
    kind: bytes = ED25519

    @classmethod
    def generate(cls, name: str, kind: bytes = ED25519) -> SigningKey:
        """A fresh key for the log, or the witness, of that name."""
        return cls(check_name(name), Ed25519PrivateKey.generate().private_bytes_raw(), kind)

    @classmethod
    def load(cls, path: Path, *kinds: bytes) -> SigningKey:
        """The key in a file; KeyFileError if it is absent, open to others, or of none of these kinds (of
        itself: a log's).
        """
        text = read_secret(path)
        if not text.startswith(_PRIVATE + "+"):
            raise KeyFileError(f"{path} holds no log key")
        name, _, rest = text.removeprefix(_PRIVATE + "+").partition("+")
        try:
            raw = from_base64("key", rest.partition("+")[2], 1 + HASH_BYTES)
            key = cls(check_name(name), raw[1:], raw[:1])
        except MalformedError as error:
            raise KeyFileError(f"{path} holds no log key") from error
        if key._text() != text:
            raise KeyFileError(f"{path} holds a log key whose parts do not belong together")
        wanted = kinds or (ED25519,)
        if key.kind not in wanted:
            holds = KINDS.get(key.kind, "nobody known")
            raise KeyFileError(f"{path} holds the key of {holds}, not of {KINDS[wanted[0]]}")
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
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return VerifierKey(self.name, public, self.kind)

    def _text(self) -> str:
        return f"{_PRIVATE}+{self.name}+{self.verifier.id.hex()}+{to_base64(self.kind + self.seed)}"


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A witness's line under a checkpoint: at `time` (seconds since 1970) it had seen no larger one, and
    each one that it saw extended those before.
    """

    name: str
    key_id: bytes
    time: int
    signature: bytes

    @classmethod
    def sign(cls, checkpoint: Checkpoint, key: NoteSigner, at: datetime) -> Cosignature:
        """The line of the witness with that key, at that time (its fraction of a second is dropped)."""
        if key.kind != COSIGNATURE:
            raise ValueError(f"a witness signs with a key of its own kind, not with {key.name}'s")
        time = int(at.timestamp())
        return cls(key.name, key.verifier.id, time, key.sign(_cosigned(checkpoint, time)))

    def line(self) -> str:
        """The signature line, without its end."""
        raw = self.key_id + self.time.to_bytes(_TIME_BYTES, "big") + self.signature
        return _line(self.name, raw)

    @classmethod
    def parse(cls, line: str) -> Cosignature:
        """The cosignature in a line; MalformedError for anything that `line` would not write."""
        name, signature = _split_line(line)
        raw = from_base64("checkpoint", signature, _ID_BYTES + _TIME_BYTES + _SIGNATURE_BYTES)
        time = int.from_bytes(raw[_ID_BYTES:][:_TIME_BYTES], "big")
        if time > MAX_SIZE:
            raise MalformedError(
                "checkpoint", "time of a cosignature", expected=f"at most {MAX_SIZE}", got=str(time)
            )
        return cls(name, raw[:_ID_BYTES], time, raw[_ID_BYTES + _TIME_BYTES :])

    def verify(self, checkpoint: Checkpoint, key: VerifierKey) -> None:
        """Nothing if the witness with that key made this line for that checkpoint, else VerificationError."""
        try:
            key.verify(_cosigned(checkpoint, self.time), self.signature)
        except InvalidSignature as error:
            raise VerificationError(
                "witness",
                "the cosignature does not belong to this checkpoint",
                expected=f"a cosignature by {key}",
                got=to_base64(self.signature),
            ) from error


def _cosigned(checkpoint: Checkpoint, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n".encode() + checkpoint.body()


def _line(name: str, raw: bytes) -> str:
    return f"{_DASH} {name} {to_base64(raw)}"


def _split_line(line: str) -> tuple[str, str]:
    """The name and the base64 of a signature line."""
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH:
        raise MalformedError("checkpoint", f"not a signature line: {line[:80]!r}")
    return check_name(parts[1]), parts[2]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log at one size, signed: `key_id` and `signature` are those of the log's own line."""

    origin: str
    size: int
    root: bytes
    key_id: bytes
    signature: bytes
    cosignatures: tuple[Cosignature, ...] = ()

    @classmethod
    def sign(cls, size: int, root: bytes, key: NoteSigner) -> Checkpoint:
        """The checkpoint of a log of that size and root, signed with the log's key, which bears its name."""
        if key.kind != ED25519:
            raise ValueError(f"a log signs with a key of its own kind, not with {key.name}'s")
        unsigned = cls(key.name, size, root, key.verifier.id, b"")
        return replace(unsigned, signature=key.sign(unsigned.body()))

    def with_cosignature(self, made: Cosignature) -> Checkpoint:
        """This checkpoint with a witness's line, in place of an earlier one by the same key.

        ValueError if there is no room for one more.
        """
        lines = [line for line in self.cosignatures if (line.name, line.key_id) != (made.name, made.key_id)]
        if len(lines) >= MAX_SIGNATURES - 1:
            raise ValueError(f"a checkpoint has at most {MAX_SIGNATURES} signature lines")
        return replace(self, cosignatures=(*lines, made))

    def body(self) -> bytes:
        """The note text: what is signed."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n".encode()

    def text(self) -> str:
        """The signed note."""
        own = _line(self.origin, self.key_id + self.signature)
        lines = [own, *(cosignature.line() for cosignature in self.cosignatures)]
        return "\n".join([self.body().decode(), *lines]) + "\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint that a text holds; MalformedError for anything that `text` would not write."""
        lines = text.split("\n")
        if len(lines) < 6 or lines[3] or lines[-1] or not all(lines[4:-1]):
            raise MalformedError("checkpoint", "not origin, size, root, blank line and signature lines")
        if len(lines) - 5 > MAX_SIGNATURES:
            raise MalformedError(
                "checkpoint",
                "too many signature lines",
                expected=f"at most {MAX_SIGNATURES}",
                got=str(len(lines) - 5),
            )
        origin = check_name(lines[0])
        signer, line = _split_line(lines[4])
        if signer != origin:
            raise MalformedError(
                "checkpoint", "the first signature line is not the log's", expected=origin, got=signer
            )
        signature = from_base64("checkpoint", line, _ID_BYTES + _SIGNATURE_BYTES)
        return cls(
            origin,
            parse_count("checkpoint", lines[1]),
            from_base64("checkpoint", lines[2], HASH_BYTES),
            signature[:_ID_BYTES],
            signature[_ID_BYTES:],
            _cosignatures(lines[5:-1]),
        )

    def verify(self, key: VerifierKey) -> None:
        """Nothing if `key` signed this checkpoint of its log; VerificationError with both values if not."""
        if self.origin != key.name:
            raise VerificationError("checkpoint", "it is another log's", expected=key.name, got=self.origin)
        if self.key_id != key.id:
            raise VerificationError(
                "checkpoint", "signed by another key", expected=key.id.hex(), got=self.key_id.hex()
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


def _cosignatures(lines: Sequence[str]) -> tuple[Cosignature, ...]:
    found = tuple(Cosignature.parse(line) for line in lines)
    names = {(line.name, line.key_id) for line in found}
    if len(names) != len(found):
        raise MalformedError(
            "checkpoint", "a witness has two lines", expected=f"{len(found)} witnesses", got=str(len(names))
        )
    return found
