"""Names that people give: seen as they are, and never two that look like one by invisible letters."""

from __future__ import annotations

import re
import unicodedata

from aggregator.access.errors import FieldError

LONGEST = 64
_SPACES = re.compile("[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")  # of any width, never a new line
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


def checked(field: str, text: str, longest: int = LONGEST) -> str:
    """The name with single spaces in it and none around it; FieldError where it has letters that cannot be
    seen, or is empty.
    """
    name = unicodedata.normalize("NFC", _SPACES.sub(" ", text).strip())
    if not name:
        raise FieldError(field, "it is empty")
    return seen(field, name, longest)


def seen(field: str, text: str, longest: int) -> str:
    """The text as it is; FieldError where it is too long, or has letters that cannot be seen."""
    if len(text) > longest:
        raise FieldError(field, f"it has {len(text)} letters, at most {longest} are taken")
    hidden = next((letter for letter in text if is_hidden(letter)), None)
    if hidden is not None:
        raise FieldError(field, f"it holds the invisible character U+{ord(hidden):04X}")
    return text


def is_hidden(letter: str) -> bool:
    """Whether nobody sees it."""
    unseen = any(first <= ord(letter) <= last for first, last in _UNSEEN)
    return unseen or unicodedata.category(letter) in INVISIBLE


def compared(name: str) -> str:
    """The name as it is compared: letters of other widths and capitals are the same name."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.strip()).casefold())
