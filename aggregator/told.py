"""Sentences that keep the values that stand in them.

Whoever shows one words it for its reader: his language, his time zone. In plain English, as the API, the
command line and the database have it, instants are UTC and say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

from aggregator.profile import Period

Value = int | float | str | date | datetime | Period
Values = Mapping[str, Value]


def in_english(message: str, values: Values) -> str:
    """The message with its values; those whose name ends with `_w` are W, with `_kw` kW."""
    return message % {name: _plain(name, value) for name, value in values.items()} if values else message


def instant(at: datetime) -> str:
    """2026-01-20T17:00:00Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _plain(name: str, value: Value) -> str:
    if isinstance(value, Period):
        return f"{instant(value.start)} to {instant(value.end)}"
    if isinstance(value, datetime):
        return instant(value)
    if name.endswith("_kw"):
        return f"{value:g} kW"
    return f"{value} W" if name.endswith("_w") else str(value)
