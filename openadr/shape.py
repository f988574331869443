"""Shapes of signed messages: what a message is without the texts that each sending has anew.

Those texts (digests, signature value, time and nonce) hold none but `_PLAIN` characters, which XML neither
escapes nor normalises: canonical XML copies them as they are, wherever they stand. So the canonical form of a
message is that of any other of its shape with these texts exchanged, and can be had without parsing it.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

Shape = tuple[bytes, ...]

_PLAIN = rb"[A-Za-z0-9+/=:.-]{1,1024}+"
_NAMES = rb"DigestValue|SignatureValue|timestamp|nonce"
_HOLE = re.compile(rb">(" + _PLAIN + rb")(?=</(?:[A-Za-z0-9_.-]++:)?(?:" + _NAMES + rb")>)")
_TOKEN = secrets.token_hex(16)  # so that no message can hold a marker
_MARKER = re.compile(rf"{_TOKEN}([0-9]{{4}})".encode())
MAX_HOLES = 16


def taken_apart(raw: bytes) -> tuple[Shape, list[bytes]]:
    """The shape of a message, and the texts that were in its holes."""
    parts = _HOLE.split(raw)
    return tuple(parts[::2]), parts[1::2]


def marked(shape: Shape) -> bytes:
    """A message of this shape with a marker in each hole."""
    return b">".join((shape[0], *(marker(at) + rest for at, rest in enumerate(shape[1:]))))


def marker(hole: int) -> bytes:
    """What stands in this hole of a marked message."""
    return f"{_TOKEN}{hole:04}".encode()


@dataclass(frozen=True, slots=True)
class Template:
    """Bytes with holes."""

    pieces: tuple[bytes, ...]
    holes: tuple[int, ...]

    @classmethod
    def read(cls, octets: bytes) -> "Template":
        """What bytes are that were made of a marked message."""
        parts = _MARKER.split(octets)
        return cls(tuple(parts[::2]), tuple(map(int, parts[1::2])))

    def filled(self, texts: Sequence[bytes]) -> bytes:
        """The bytes with these texts in the holes of the message."""
        if not self.holes:
            return self.pieces[0]
        filled = [self.pieces[0]]
        for hole, piece in zip(self.holes, self.pieces[1:], strict=True):
            filled += (texts[hole], piece)
        return b"".join(filled)
