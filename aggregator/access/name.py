"""Names that people give: seen as they are, and never two that look like one by invisible letters."""

from __future__ import annotations

import unicodedata

from aggregator.access.errors import FieldError

LONGEST = 64
# C controls, F formats (bidi marks and overrides, zero-width letters), O private and unassigned, S halves
INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})


def checked(field: str, text: str, longest: int = LONGEST) -> str:
    """The name without spaces around it; FieldError where it has letters that cannot be seen, or is empty."""
    name = unicodedata.normalize("NFC", text.strip())
    if not name:
        raise FieldError(field, "it is empty")
    if len(name) > longest:
        raise FieldError(field, f"it has {len(name)} letters, at most {longest} are taken")
    hidden = next((letter for letter in name if unicodedata.category(letter) in INVISIBLE), None)
    if hidden is not None:
        raise FieldError(field, f"it holds the invisible character U+{ord(hidden):04X}")
    return name


def compared(name: str) -> str:
    """The name as it is compared: letters of other widths and capitals are the same name."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.strip()).casefold())
