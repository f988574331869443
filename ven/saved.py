"""What a VEN remembers over a restart, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from openadr import CreateOpt, Message
from ven.event import KEEP, HeldEvent, prune
from ven.registration import Registration
from ven.report import HeldRequest


@dataclass(frozen=True, slots=True)
class Saved:
    """All that a VEN must remember."""

    registration: Registration | None = None
    metadata: str = ""
    """Digest of the metadata that the VTN has accepted."""
    synced: bool = False
    """Whether the events were asked for since the registration (REG-11)."""
    renewing: bool = False
    """Whether the VTN has asked for a renewal that it has not granted yet (REG-16)."""
    leaving: bool = False
    """Whether the site wants the registration to end, and the VTN has not answered yet (REG-18)."""
    barred_until: datetime | None = None
    """Set when the registration was ended: no new one before."""
    pruned_at: datetime | None = None
    """When an event was last dropped because it was over."""
    events: Mapping[str, HeldEvent] = field(default_factory=dict)
    requests: Mapping[str, HeldRequest] = field(default_factory=dict)
    answers: tuple[Message, ...] = ()
    """What the VTN has not acknowledged, in order."""
    opts: tuple[CreateOpt, ...] = ()
    """Schedules and qualified events that the VTN was told of, oldest first."""


def steady(before: Saved, after: Saved) -> Saved:
    """`after`, but events that the VTN has only repeated, under another request id, as they were `before`.

    A VTN may repeat its whole list at each poll: that is no change, and nothing that a card must wear out by.
    """
    if after.events is before.events:
        return after
    events = {key: _unless_repeated(before.events.get(key), held) for key, held in after.events.items()}
    return replace(after, events=events)


def _unless_repeated(before: HeldEvent | None, after: HeldEvent) -> HeldEvent:
    return before if before is not None and replace(after, request_id=before.request_id) == before else after


def tidied(saved: Saved, now: datetime, pause: timedelta | None) -> Saved:
    """Without what is over, and what a clock that was ahead has done. `pause`: after a cancellation."""
    if saved.pruned_at is not None and saved.pruned_at - now > KEEP:
        # what was dropped then may not be over: the VTN is asked for its list again (POLL-10)
        saved = replace(saved, pruned_at=None, synced=False)
    if saved.barred_until is not None and pause is not None and saved.barred_until - now > pause:
        saved = replace(saved, barred_until=now + pause)  # also where another pause was set meanwhile
    kept = prune(saved.events, now)
    return saved if len(kept) == len(saved.events) else replace(saved, events=kept, pruned_at=now)
