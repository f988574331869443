"""What a VEN remembers over a restart, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from openadr import CreateOpt, Message
from ven.event import HeldEvent
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
    barred_until: datetime | None = None
    """Set when the registration was ended: no new one before."""
    events: Mapping[str, HeldEvent] = field(default_factory=dict)
    requests: Mapping[str, HeldRequest] = field(default_factory=dict)
    answers: tuple[Message, ...] = ()
    """What the VTN has not acknowledged, in order."""
    opts: tuple[CreateOpt, ...] = ()
    """Schedules and qualified events that the VTN was told of, oldest first."""
