"""How a site passes into an event and out of it."""

from datetime import datetime

import pytest

from openadr import ActivePeriod, Duration, Event
from openadr.interval import END_OF_TIME
from openadr.ramp import ramps
from openadr.timeline import Timeline
from tests.openadr.samples.event import event
from tests.openadr.samples.parts import at, minutes

TEN, MINUS_TEN = minutes(10), minutes(-10)


def ramped(
    ramp_up: Duration | None = None,
    recovery: Duration | None = None,
    start: datetime | None = None,
    length: Duration | None = None,
    name: str = "e",
) -> Event:
    period = ActivePeriod(
        dtstart=start or at(17),
        duration=minutes(60) if length is None else length,
        ramp_up=ramp_up,
        recovery=recovery,
    )
    return event(name, period=period)


SPANS = {
    "ramp-up before the start": (ramped(TEN), [(at(16, 50), at(17), True)]),
    "ramp-up inside": (ramped(MINUS_TEN), [(at(17), at(17, 10), True)]),
    "recovery after the end": (ramped(None, TEN), [(at(18), at(18, 10), False)]),
    "recovery inside": (ramped(None, MINUS_TEN), [(at(17, 50), at(18), False)]),
    "both": (ramped(TEN, TEN), [(at(16, 50), at(17), True), (at(18), at(18, 10), False)]),
    "none": (ramped(), []),
    "of length 0": (ramped(Duration(0), Duration(0)), []),
    "no recovery without an end": (ramped(None, TEN, length=Duration(0)), []),
    "at the end of the calendar": (ramped(None, TEN, start=END_OF_TIME), []),
}


@pytest.mark.parametrize(("made", "expected"), SPANS.values(), ids=SPANS.keys())
def test_vex_21_ramps_lie_where_their_sign_says(
    made: Event, expected: list[tuple[datetime, datetime, bool]]
) -> None:
    assert [(ramp.start, ramp.end, ramp.rising) for ramp in ramps(made)] == expected


def test_vex_21_a_ramp_goes_in_a_straight_line() -> None:
    up, down = ramps(ramped(TEN, MINUS_TEN))
    assert [up.share(at(16, minute)) for minute in (40, 50, 55)] == [0.0, 0.0, 0.5]
    assert [down.share(at(17, minute)) for minute in (50, 55)] == [1.0, 0.5]
    assert (up.share(at(17)), down.share(at(18)), down.share(at(19))) == (1.0, 0.0, 0.0)


def test_vex_21_the_timeline_says_which_ramp_is_under_way() -> None:
    timeline = Timeline.from_events([ramped(TEN, MINUS_TEN)])
    found = [
        timeline.ramp(at(16, 49)),
        timeline.ramp(at(16, 50)),
        timeline.ramp(at(17)),
        timeline.ramp(at(18)),
    ]
    assert [ramp is not None for ramp in found] == [False, True, False, False]
    inside = timeline.ramp(at(17, 55))
    assert inside is not None
    assert inside.share(at(17, 55)) == 0.5


def test_vex_21_no_ramp_while_another_event_rules() -> None:
    first, second = ramped(name="first"), ramped(TEN, start=at(18), name="second")
    timeline = Timeline.from_events([first, second])
    assert timeline.ramp(at(17, 55)) is None
    alone = Timeline.from_events([second]).ramp(at(17, 55))
    assert alone is not None
    assert alone.event is second
