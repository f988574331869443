"""When a VEN speaks next by itself: the pauses of a session. No clock: times are given."""

from datetime import UTC, datetime, timedelta

DRAIN_LIMIT = 32
"""Polls in a row before the VEN waits although the VTN still has something (POLL-03)."""
STALE_LIMIT = 2
"""Polls in a row that bring what is known, before the VEN waits: some VTNs repeat all at each poll."""


class Rhythm:
    """The pause that a session makes, and how many polls in a row had none."""

    def __init__(self) -> None:
        """Begins without a pause."""
        self.until: datetime | None = None
        """The end of the pause; None: there is none."""
        self._since = datetime.min.replace(tzinfo=UTC)
        self._drained = self._stale = 0
        self._known: type[object] | None = None

    def pause(self, seconds: float, now: datetime) -> None:
        """Waits so long from now on, in place of any pause before."""
        self.until = now + timedelta(seconds=seconds)
        self._since = now

    def end(self) -> None:
        """Ends the pause."""
        self.until = None

    def set_back(self, now: datetime) -> bool:
        """Whether the clock was set back since the pause began: that must not make it longer."""
        return self.until is not None and now < self._since

    def polled(self, *, idle: bool, known: type[object] | None) -> bool:
        """Whether to wait after a poll: it brought nothing (`idle`), or too many in a row brought more, or a
        message of the same kind in which all is `known`.
        """
        self._drained = 0 if idle else (self._drained + 1) % DRAIN_LIMIT
        self._stale = 0 if known is None else self._stale * (known is self._known) + 1
        self._known = known
        if self._stale >= STALE_LIMIT:
            self._drained = 0
        return not self._drained
