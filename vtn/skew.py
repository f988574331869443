"""How far the clocks of VENs are from ours, as far as their messages tell: in memory, for people (GEN-20)."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from openadr import Message
from openadr.clock import written_at

log = structlog.get_logger(__name__)


class Skews:
    """The newest difference of each VEN: positive where its clock is ahead of ours.

    A VEN seems late by the time that its message was under way or had to wait.
    """

    def __init__(self, tolerated_s: float) -> None:
        """`tolerated_s`: seconds of difference without a warning."""
        self._tolerated = timedelta(seconds=tolerated_s)
        self._by_ven: dict[str, timedelta] = {}

    def note(self, ven_id: str, message: Message, now: datetime) -> None:
        """Measure by what the message says of the instant at which it was made, if it does."""
        written = written_at(message)
        if written is None:
            return
        before = self._by_ven.get(ven_id, timedelta(0))
        self._by_ven[ven_id] = skew = written - now
        if abs(skew) > self._tolerated >= abs(before):
            log.warning("the clock of a VEN differs from ours", ven_id=ven_id, seconds=skew.total_seconds())

    def by_ven(self) -> dict[str, timedelta]:
        """The newest difference of every VEN that has told its time."""
        return dict(self._by_ven)
