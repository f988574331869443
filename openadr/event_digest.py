"""What both sides agree that an event says: one hash, made from what was published and from what has come.

Left out is what follows from the clock of the sending alone: createdDateTime, the status but for a
cancellation, the current value of a signal. All else is content, the number of the modification included.
"""

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

from openadr.codec import encode
from openadr.enums import EventStatus
from openadr.event import DistributeEvent, Event

_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def as_agreed(event: Event) -> Event:
    """The event without what follows from the clock."""
    status = EventStatus.CANCELLED if event.is_cancelled else EventStatus.FAR
    descriptor = replace(event.descriptor, event_status=status, created_date_time=_ANY_TIME)
    signals = tuple(replace(signal, current_value=None) for signal in event.signals)
    return replace(event, descriptor=descriptor, signals=signals)


def event_sha256(event: Event) -> bytes:
    """The hash of an event as it came; EncodeError where it holds what the schema does not allow."""
    message = DistributeEvent(request_id="0", vtn_id="0", events=(as_agreed(event),))
    return sha256(encode(message)).digest()
