"""Events as they are sent, as bytes that were encoded before.

Rules: a fragment is found by the stored content itself, so nothing but the clock can make it stale, and each
knows from when until when it says the same; createdDateTime (EVT-03) and the venID are put in when it is
sent. The bytes are the ordinary encoder's.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime

from openadr import DistributeEvent, encode
from openadr.enums import ResponseRequired
from openadr.timeline import edges_of, listing_key
from vtn.bounded import Bounded
from vtn.event_content import as_of, parted, read

MAX_BYTES = 32 * 1024 * 1024
ALWAYS_BEFORE = datetime.min.replace(tzinfo=UTC)
ALWAYS_AFTER = datetime.max.replace(tzinfo=UTC)
_EVENT, _EVENT_END = b"<oadr:oadrEvent>", b"</oadr:oadrEvent>"
_CREATED, _CREATED_END = b"<ei:createdDateTime>", b"</ei:createdDateTime>"


@dataclass(frozen=True, slots=True)
class Fragment:
    """One event in `[since, until)`: what stands before createdDateTime, up to the venID, and after it.

    `place` orders the events of a list (EVT-16); `answered` says whether VENs answer it (EVT-32).
    """

    before: bytes
    between: bytes
    after: bytes
    since: datetime
    until: datetime
    place: tuple[int, int, datetime, str]
    answered: bool


_Key = tuple[bytes, bytes, bool]
_kept: Bounded[_Key, Fragment] = Bounded(MAX_BYTES)


def fragment(content: bytes, now: datetime, *, cancelled: bool) -> tuple[Fragment, bytes]:
    """The event of a stored content as it is sent now, and the venID in it."""
    head, ven_id, tail = parted(content)
    key = (head, tail, cancelled)
    found = _kept.get(key)
    if found is None or not found.since <= now < found.until:
        found = _made(content, now, cancelled=cancelled)
        _kept.put(key, found, 2 * len(content))  # the key, and what is sent, which is as long
    return found, ven_id


def _made(content: bytes, now: datetime, *, cancelled: bool) -> Fragment:
    event = as_of(read(content), now, cancelled=cancelled)
    whole = encode(DistributeEvent(request_id="0", vtn_id="0", events=(event,)))
    element = whole[whole.index(_EVENT) : whole.rindex(_EVENT_END) + len(_EVENT_END)]
    before, _, rest = element.partition(_CREATED)
    between, _, after = parted(rest[rest.index(_CREATED_END) :])
    instants = edges_of(event)
    index = bisect_right(instants, now)
    return Fragment(
        before=before + _CREATED,
        between=between,
        after=after,
        since=instants[index - 1] if index else ALWAYS_BEFORE,
        until=instants[index] if index < len(instants) else ALWAYS_AFTER,
        place=listing_key(event, now),
        answered=event.response_required is not ResponseRequired.NEVER,
    )
