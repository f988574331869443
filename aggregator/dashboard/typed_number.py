"""Whole numbers as addresses and forms have them."""

from __future__ import annotations


def number_of(text: str, most: int) -> int | None:
    """The number that a text writes in digits, after zeros or not; None where it is none from 0 to `most`.

    Of digits without end not more are read than `most` has: Python refuses to, and no database keeps them.
    """
    digits = text.lstrip("0") or text[:1]
    if not (digits.isascii() and digits.isdigit()) or len(digits) > len(str(most)):
        return None
    number = int(digits)
    return number if number <= most else None
