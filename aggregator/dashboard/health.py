"""How a node is doing, from when it last spoke: one rule for all screens."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from aggregator import reach
from aggregator.dashboard.marked import marked as _

LATE_POLLS, SILENT_POLLS = reach.LATE_POLLS, reach.SILENT_POLLS


class Health(StrEnum):
    """States of a node, worst first."""

    SILENT = "silent"
    LATE = "late"
    WAITING = "waiting"  # enrolled, never registered
    SUSPENDED = "suspended"
    OK = "ok"


LABELS = {
    Health.SILENT: _("Silent"),
    Health.LATE: _("Late"),
    Health.WAITING: _("Not registered"),
    Health.SUSPENDED: _("Suspended"),
    Health.OK: _("In contact"),
}
KINDS = {
    Health.SILENT: "bad",
    Health.LATE: "warn",
    Health.WAITING: "wait",
    Health.SUSPENDED: "idle",
    Health.OK: "ok",
}
"""The kind of badge for each."""


class Known(Protocol):
    """What of a VEN is asked: a `Ven`, or a row with these columns."""

    @property
    def registration_id(self) -> str | None:
        """None until it registers."""

    @property
    def suspended_at(self) -> datetime | None:
        """Since when it is suspended."""

    @property
    def poll_period_s(self) -> int | None:
        """Its own rhythm, if it has one."""


def health(ven: Known, contact: datetime | None, poll_period_s: int, now: datetime) -> Health:
    """How the node is doing; `contact` is when it last spoke, `poll_period_s` the server's own rhythm."""
    if ven.suspended_at is not None:
        return Health.SUSPENDED
    if ven.registration_id is None:
        return Health.WAITING
    period = timedelta(seconds=ven.poll_period_s or poll_period_s)
    if contact is None or now - contact > SILENT_POLLS * period:
        return Health.SILENT
    return Health.LATE if now - contact > LATE_POLLS * period else Health.OK
