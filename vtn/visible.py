"""Names and words that people give: what nobody sees in them would make one look like another."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator

from vtn.api_route import Id

# C controls, F formats (bidi marks and overrides, zero-width letters), O private, S halves
INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def seen(text: str) -> str:
    """The text; ValueError where it holds what nobody sees, or nothing else."""
    hidden = next((letter for letter in text if unicodedata.category(letter) in INVISIBLE), None)
    if hidden is not None:
        raise ValueError(f"it holds the invisible character U+{ord(hidden):04X}")
    if not text.strip():
        raise ValueError("it is empty")
    return text


Name = Annotated[Id, AfterValidator(seen)]
