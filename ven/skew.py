"""How far the VTN's clock is ahead of ours (GEN-20)."""

import logging
from datetime import datetime, timedelta

from openadr import Message
from openadr.clock import written_at

log = logging.getLogger(__name__)


class Skew:
    """Measured at each message that says when it was made, the way of the message included."""

    def __init__(self, tolerated: timedelta) -> None:
        """A difference above `tolerated` is told in the log, once until it is less again."""
        self._tolerated = tolerated
        self.ahead = timedelta(0)
        """By the VTN's last message; negative: its clock is behind ours."""

    def measure(self, message: Message, now: datetime) -> None:
        """Takes note of a message that came at `now`."""
        written = written_at(message)
        if written is None:
            return
        before, self.ahead = self.ahead, written - now
        if abs(self.ahead) > self._tolerated >= abs(before):
            log.warning("the VTN's clock differs from ours by %.0f s", self.ahead.total_seconds())
