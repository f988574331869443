"""Names and words that people give: what nobody sees in them would make one look like another."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator

from vtn.api_route import Id

# C controls, F formats (bidi marks and overrides, zero-width letters), O private and unassigned, S halves
INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})
# letters and marks by their category that nobody sees all the same: what Unicode lets fonts leave out
# (Default_Ignorable_Code_Point), and the empty cell of Braille
_UNSEEN = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xE0100, 0xE01EF),
)


def is_hidden(letter: str) -> bool:
    """Whether nobody sees it."""
    unseen = any(first <= ord(letter) <= last for first, last in _UNSEEN)
    return unseen or unicodedata.category(letter) in INVISIBLE


def seen(text: str) -> str:
    """The text; ValueError where it holds what nobody sees, or nothing else."""
    hidden = next(filter(is_hidden, text), None)
    if hidden is not None:
        raise ValueError(f"it holds the invisible character U+{ord(hidden):04X}")
    if not text.strip():
        raise ValueError("it is empty")
    return text


Name = Annotated[Id, AfterValidator(seen)]
