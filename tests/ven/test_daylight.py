"""Summer time, winter time and a second 60: everything is in UTC, wherever the box stands (GOALS 77)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from openadr import decode, encode
from openadr.enums import EventStatus
from openadr.errors import SchemaInvalid
from openadr.interval import parse_instant
from openadr.timeline import Timeline, event_status
from tests.ven.conversation import names, ready, talk
from tests.ven.messages import HOUR, distribute, make_event, ok
from tests.ven.site import NOW
from tests.ven.test_clock import starts
from tests.ven.test_report import Desk, held
from ven.event import followed

MINUTE = timedelta(minutes=1)
CHANGES = {
    # zone and the instant at which its clocks change
    "Amsterdam, to summer": ("Europe/Amsterdam", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Amsterdam, to winter": ("Europe/Amsterdam", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "Los Angeles, to summer": ("America/Los_Angeles", datetime(2026, 3, 8, 10, tzinfo=UTC)),
    "Los Angeles, to winter": ("America/Los_Angeles", datetime(2026, 11, 1, 9, tzinfo=UTC)),
}


@pytest.fixture(params=CHANGES.values(), ids=CHANGES)
def change(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[datetime]:
    """The machine is in that zone; the instant at which its clocks change."""
    zone, instant = request.param
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    before, after = (time.localtime((instant + step).timestamp()).tm_isdst for step in (-MINUTE, MINUTE))
    assert before != after  # the zone is known here
    yield instant
    monkeypatch.undo()
    time.tzset()


@pytest.mark.goal(77)
def test_an_event_over_a_change_of_the_clocks_holds_for_its_hour_once(change: datetime) -> None:
    start = change - timedelta(minutes=30)
    event = make_event(start=start)
    session = ready()
    asked = talk(session, distribute(event), ok(), ok(), now=start - 2 * HOUR)
    assert names(asked) == ["Poll", "CreatedEvent", "Poll"]
    (kept,) = followed(session.saved.events.values())
    timeline = Timeline.from_events([kept])
    minutes = [start + number * MINUTE for number in range(-90, 150)]
    assert [at for at in minutes if timeline.at(at)] == minutes[90:150]
    assert timeline.next_change(start - HOUR) == start
    assert timeline.next_change(start) == start + HOUR
    states = [event_status(event, start + step) for step in (-MINUTE, timedelta(0), HOUR - MINUTE, HOUR)]
    active = EventStatus.ACTIVE
    assert states == [EventStatus.FAR, active, active, EventStatus.COMPLETED]


@pytest.mark.goal(77)
def test_a_day_of_23_or_25_hours_is_reported_hour_by_hour(change: datetime) -> None:
    start = change - 12 * HOUR
    desk = Desk(held(start=start, back=HOUR))
    made = [each for number in range(1, 26) for each in starts(desk.make(start + number * HOUR))]
    assert made == [start + number * HOUR for number in range(25)]


@pytest.mark.goal(77)
def test_a_second_60_is_refused_by_the_schema_and_read_as_the_next_minute_elsewhere() -> None:
    start = NOW.replace(minute=0, second=0) + 3 * HOUR
    raw = encode(distribute(make_event(start=start)))
    written = start.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    leap = (start - MINUTE).strftime("%Y-%m-%dT%H:%M:60Z").encode()
    assert written in raw
    with pytest.raises(SchemaInvalid, match=":60Z is not a valid value"):
        decode(raw.replace(written, leap))
    assert parse_instant(leap.decode()) == start  # where a schema lets it through
