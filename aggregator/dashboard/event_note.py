"""What people write about an event: a reason that VENs are sent as it is."""

from __future__ import annotations

import unicodedata

from aggregator.dashboard.marked import marked as _

LONGEST = 250
_HIDDEN = frozenset({"Cc", "Cf", "Zl", "Zp"})  # control characters, and those that turn text around


def reason_of(typed: str) -> tuple[str | None, str]:
    """The reason, None where there is none; and what is wrong with it, or an empty text."""
    reason = typed.strip()
    if len(reason) > LONGEST:
        return None, _("At most 250 characters.")
    if any(unicodedata.category(letter) in _HIDDEN for letter in reason):
        return None, _("The text has characters that cannot be seen, or turn it around.")
    return reason or None, ""
