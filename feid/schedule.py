"""The schedule that a node's devices hold: entries that expire, replaced as a whole, never in the past."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from feid.devices import Command

MAX_ENTRIES = 2000
MAX_AHEAD = timedelta(hours=24)


class ScheduleError(Exception):
    """A schedule is refused; nothing of it is held."""


class Schedule:
    """Entries of one node, from first to last.

    A new schedule replaces what was held from its earliest start on; what was done before stays history.
    An entry that arrives late acts from the first instant that is still to come, so the devices do the same
    whether a schedule comes early or just in time.
    """

    def __init__(self, device_ids: Iterable[str]) -> None:
        self._device_ids = frozenset(device_ids)
        self._entries: list[Command] = []

    def replace(self, commands: Sequence[Command], now: datetime) -> list[Command]:
        """Hold `commands` from their earliest start on, or from `now`; gives the entries that end later.

        ScheduleError names the device and what is wrong: unknown, overlapping, too many or too far ahead.
        """
        self._check(commands, now)
        since = max(now, min((command.start for command in commands), default=now))
        kept = [replace(entry, end=min(entry.end, since)) for entry in self._entries if entry.start < since]
        late = [replace(entry, start=max(entry.start, since)) for entry in commands if entry.end > since]
        held = [entry for entry in kept if entry.end > now] + late
        self._entries = sorted(held, key=lambda entry: (entry.start, entry.device_id))
        return list(self._entries)

    def in_force(self, at: datetime) -> list[Command]:
        """The entries that hold a device at an instant; those that have expired are forgotten."""
        self._entries = [entry for entry in self._entries if entry.end > at]
        return [entry for entry in self._entries if entry.start <= at]

    def next_change(self, at: datetime) -> datetime | None:
        """The next instant after `at` when an entry begins or ends."""
        moments = [moment for entry in self._entries for moment in (entry.start, entry.end) if moment > at]
        return min(moments, default=None)

    def _check(self, commands: Sequence[Command], now: datetime) -> None:
        if len(commands) > MAX_ENTRIES:
            raise ScheduleError(f"{len(commands)} entries are too many, at most {MAX_ENTRIES}")
        for command in commands:
            if command.device_id not in self._device_ids:
                raise ScheduleError(f"device_id {command.device_id!r} is not a device of this node")
            if command.end > now + MAX_AHEAD:
                limit = (now + MAX_AHEAD).isoformat()
                raise ScheduleError(f"{command.device_id}: end {command.end.isoformat()} is after {limit}")
        for one, other in pairwise(sorted(commands, key=lambda entry: (entry.device_id, entry.start))):
            if one.device_id == other.device_id and other.start < one.end:
                times = f"{other.start.isoformat()} begins before {one.end.isoformat()}"
                raise ScheduleError(f"{one.device_id}: entries overlap, the one from {times}")
