"""When certificates end, and how much that matters: one rule for the list, a node's page and the API."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from vtn.certificate import NEVER, Enrolled

MONTH, WEEK, DAY = timedelta(days=30), timedelta(days=7), timedelta(days=1)


class Urgency(StrEnum):
    """How soon somebody must do something, the worst first."""

    OVER = "over"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    NONE = "none"


KINDS = {
    Urgency.OVER: "bad",
    Urgency.DAY: "bad",
    Urgency.WEEK: "warn",
    Urgency.MONTH: "info",
    Urgency.NONE: "ok",
}
"""The kind of badge for each."""


def urgency(ends_at: datetime | None, now: datetime) -> Urgency:
    """Of a certificate that ends then; None: nobody knows when."""
    if ends_at is None:
        return Urgency.NONE
    left = ends_at - now
    for limit, found in (
        (timedelta(0), Urgency.OVER),
        (DAY, Urgency.DAY),
        (WEEK, Urgency.WEEK),
        (MONTH, Urgency.MONTH),
    ):
        if left <= limit:
            return found
    return Urgency.NONE


def is_taken(one: Enrolled, now: datetime) -> bool:
    """Whether the node may come with it."""
    return one.valid_until is None or one.valid_until > now


def end_of(one: Enrolled) -> datetime | None:
    """When it stops being taken; None: not before it is replaced, as far as is known."""
    return None if one.ends_at == NEVER else one.ends_at
