"""Names that people give: seen as they are, and never two that look like one by invisible letters."""

from __future__ import annotations

import re
import unicodedata

from aggregator.access.errors import FieldError
from vtn.visible import is_hidden

LONGEST = 64
_SPACES = re.compile("[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")  # of any width, never a new line


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


def compared(name: str) -> str:
    """The name as it is compared: letters of other widths and capitals are the same name."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.strip()).casefold())
