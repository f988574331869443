"""Which setpoint holds at an instant."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openadr import ActivePeriod, Duration, Event, ItemBase, Signal, SignalInterval
from openadr.enums import EventStatus, SignalName, SignalType, SiScaleCode
from openadr.timeline import Precedence, Timeline, event_status, in_order
from tests.openadr.samples.event import DISPATCH, event, steps
from tests.openadr.samples.parts import HOUR, at, minutes


def simple(*values: float, length: Duration) -> tuple[Signal, ...]:
    return (
        Signal(
            intervals=steps(*values, length=length),
            signal_name=SignalName.SIMPLE,
            signal_type=SignalType.LEVEL,
            signal_id="s",
        ),
    )


def level(timeline: Timeline, now: datetime) -> tuple[str, float] | None:
    setpoint = timeline.at(now)
    return None if setpoint is None else (setpoint.event.event_id, setpoint.values["SIMPLE"])


def test_nothing_holds_without_events() -> None:
    timeline = Timeline.from_events([])
    assert timeline.at(at(12)) is None
    assert timeline.next_change(at(12)) is None
    assert timeline.setpoints() == []


def test_an_event_holds_from_its_start_up_to_its_end() -> None:
    timeline = Timeline.from_events([event("a", start=at(17))])
    before, last = at(17) - timedelta(seconds=1), at(18) - timedelta(seconds=1)
    assert [level(timeline, now) for now in (before, at(17), last, at(18))] == [
        None,
        ("a", 1),
        ("a", 1),
        None,
    ]


def test_each_interval_has_its_value_and_its_edges() -> None:
    timeline = Timeline.from_events([event("a", start=at(17), signals=simple(1, 3, length=minutes(30)))])
    setpoint = timeline.at(at(17, 45))
    assert setpoint is not None
    assert (setpoint.values, setpoint.start, setpoint.end) == ({"SIMPLE": 3}, at(17, 30), at(18))
    changes, now = [], at(0)
    while (change := timeline.next_change(now)) is not None:
        changes.append(change)
        now = change
    assert changes == [at(17), at(17, 30), at(18)]


def test_intervals_of_one_value_are_one_setpoint() -> None:
    timeline = Timeline.from_events([event("a", start=at(17), signals=simple(2, 2, length=minutes(30)))])
    assert timeline.next_change(at(17)) == at(18)
    assert len(timeline.setpoints()) == 1


def test_at_a_common_edge_the_later_event_rules() -> None:
    timeline = Timeline.from_events([event("a", start=at(17)), event("b", start=at(18))])
    assert level(timeline, at(18)) == ("b", 1)
    assert timeline.next_change(at(17)) == at(18)


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        pytest.param((at(17), 2), (at(17, 30), 1), "b", id="the smaller number wins"),
        pytest.param((at(17), 1), (at(17, 30), 2), "a", id="whoever comes first"),
        pytest.param((at(17), 0), (at(17, 30), 9), "b", id="0 is no priority, the weakest"),
        pytest.param((at(17), None), (at(17, 30), 9), "b", id="none is the weakest too"),
        pytest.param((at(17), 1), (at(17, 30), 1), "a", id="of equals the earlier start wins"),
    ],
)
def test_of_overlapping_events_one_rules(
    first: tuple[datetime, int | None], second: tuple[datetime, int | None], winner: str
) -> None:
    events = [event("a", start=first[0], priority=first[1]), event("b", start=second[0], priority=second[1])]
    for order in (events, events[::-1]):
        found = level(Timeline.from_events(order), at(17, 45))
        assert found is not None
        assert found[0] == winner


def test_a_short_event_interrupts_a_longer_one_of_less_priority() -> None:
    long = event("long", start=at(17), length=minutes(120), priority=2)
    short = event("short", start=at(17, 30), length=minutes(30), priority=1)
    timeline = Timeline.from_events([long, short])
    found = [level(timeline, at(hour, minute)) for hour, minute in ((17, 0), (17, 30), (18, 0), (19, 0))]
    assert found == [("long", 1), ("short", 1), ("long", 1), None]


@pytest.mark.parametrize("changes", [{"status": EventStatus.CANCELLED}, {"test_event": "true"}])
def test_cancelled_events_and_tests_hold_nothing(changes: dict[str, object]) -> None:
    assert Timeline.from_events([event("a", **changes)]).at(at(17)) is None  # type: ignore[arg-type]  # by name


def test_a_test_that_says_false_is_none() -> None:
    assert Timeline.from_events([event("a", test_event="false")]).at(at(17)) is not None


def test_an_open_ended_event_holds_until_it_is_cancelled() -> None:
    open_ended = event("a", start=at(17), length=Duration(0), signals=simple(2, length=Duration(0)))
    timeline = Timeline.from_events([open_ended])
    setpoint = timeline.at(at(17) + timedelta(days=3000))
    assert setpoint is not None
    assert (setpoint.values, setpoint.end) == ({"SIMPLE": 2}, None)
    assert timeline.next_change(at(17)) is None


def test_values_come_in_the_plain_unit_and_by_type() -> None:
    timeline = Timeline.from_events([event("a", start=at(17), signals=(DISPATCH,))])
    setpoint = timeline.at(at(17, 40))
    assert setpoint is not None
    assert setpoint.value(SignalName.LOAD_DISPATCH) == -3000.0
    assert setpoint.value(SignalName.LOAD_DISPATCH, SignalType.DELTA) == -3000.0
    assert setpoint.value(SignalName.LOAD_DISPATCH, SignalType.SETPOINT) is None
    assert setpoint.value(SignalName.SIMPLE) is None


def test_two_signals_of_one_name_are_told_apart_by_type() -> None:
    unit = ItemBase.power(scale=SiScaleCode.NONE)
    both = tuple(
        replace(
            DISPATCH,
            signal_id=kind,
            signal_type=kind,
            intervals=steps(value, length=minutes(60)),
            item_base=unit,
        )
        for kind, value in ((SignalType.DELTA, -5.0), (SignalType.SETPOINT, 7.0))
    )
    setpoint = Timeline.from_events([event("a", start=at(17), signals=both)]).at(at(17))
    assert setpoint is not None
    assert setpoint.values == {"LOAD_DISPATCH": -5.0}
    assert setpoint.value("LOAD_DISPATCH", SignalType.SETPOINT) == 7.0


def test_a_signal_without_an_interval_for_the_rest_says_nothing_there() -> None:
    short = event("a", start=at(17), signals=simple(1, length=minutes(30)))
    setpoint = Timeline.from_events([short]).at(at(17, 45))
    assert setpoint is not None
    assert setpoint.values == {}


def test_an_interval_without_duration_lasts_to_the_end() -> None:
    signal = replace(simple(1, length=minutes(1))[0], intervals=(SignalInterval(payload_float=2.0),))
    timeline = Timeline.from_events([event("a", start=at(17), signals=(signal,))])
    assert level(timeline, at(17, 59)) == ("a", 2.0)


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.integers(1, 8),
        st.integers(0, 3),
        st.lists(st.integers(0, 3), min_size=1, max_size=3),
    ),
    max_size=5,
)


@given(EVENTS, st.integers(-1, 90))
def test_the_timeline_agrees_with_asking_every_event(
    drawn: list[tuple[int, int, int, list[int]]], minute: int
) -> None:
    made = [
        event(
            f"e{number}",
            start=at(12) + timedelta(minutes=start),
            length=minutes(length * len(values)),
            priority=priority,
            signals=simple(*map(float, values), length=minutes(length)),
        )
        for number, (start, length, priority, values) in enumerate(drawn)
    ]
    now = at(12) + timedelta(minutes=minute)
    active = [item for item in made if item.dtstart <= now < (item.end or now)]
    expected = None
    if active:
        best = min(active, key=lambda item: (item.descriptor.priority or 99, item.dtstart, item.event_id))
        step = drawn[int(best.event_id[1:])]
        expected = (best.event_id, step[3][int((now - best.dtstart) / timedelta(minutes=step[1]))])
    timeline = Timeline.from_events(made)
    assert level(timeline, now) == expected
    change = timeline.next_change(now)
    if change is not None:
        assert level(timeline, change) != level(timeline, change - timedelta(seconds=1))


@pytest.mark.criterion("EVT-09")
@pytest.mark.parametrize(
    ("now", "status"),
    [
        (at(16, 49), EventStatus.FAR),
        (at(16, 50), EventStatus.NEAR),
        (at(17), EventStatus.ACTIVE),
        (at(17, 59), EventStatus.ACTIVE),
        (at(18), EventStatus.COMPLETED),
    ],
)
def test_status_follows_the_clock(now: datetime, status: EventStatus) -> None:
    period = ActivePeriod(dtstart=at(17), duration=minutes(60), ramp_up=minutes(10))
    assert event_status(event("a", period=period), now) is status


@pytest.mark.criterion("EVT-09")
def test_without_ramp_up_an_event_is_never_near() -> None:
    for ramp_up in (None, Duration(0), Duration(-600)):
        period = ActivePeriod(dtstart=at(17), duration=minutes(60), ramp_up=ramp_up)
        assert event_status(event("a", period=period), at(17) - timedelta(seconds=1)) is EventStatus.FAR


@pytest.mark.criterion("EVT-22", "VEX-24")
def test_cancelled_stays_cancelled_and_open_ended_stays_active() -> None:
    assert event_status(event("a", status=EventStatus.CANCELLED), at(17)) is EventStatus.CANCELLED
    open_ended = event("a", start=at(17), length=Duration(0))
    assert event_status(open_ended, at(17) + timedelta(days=99)) is EventStatus.ACTIVE


NOW = at(12)


def listed(*events: Event) -> list[str]:
    forwards = [item.event_id for item in in_order(events, NOW)]
    assert forwards == [item.event_id for item in in_order(reversed(events), NOW)]
    return forwards


def programme(
    name: str, minute: int, length: int, priority: int, status: EventStatus = EventStatus.FAR
) -> Event:
    return event(
        name, start=NOW + timedelta(minutes=minute), length=minutes(length), priority=priority, status=status
    )


def test_evt_16_worked_0510_active_by_priority_then_pending_by_start() -> None:
    events = (
        programme("A", 0, 20, 2),
        programme("B", 20, 20, 0),
        programme("C", 0, 20, 1),
        programme("D", 60, 20, 0),
    )
    assert listed(*events) == ["C", "A", "B", "D"]


def test_evt_16_worked_0520_equal_priority_by_start() -> None:
    events = (
        programme("A", 0, 20, 1),
        programme("B", 20, 30, 0),
        programme("C", -10, 20, 1),
        programme("D", 20, 20, 0),
    )
    assert listed(*events) == ["C", "A", "B", "D"]


def test_evt_16_worked_0525_a_cancelled_event_keeps_its_place() -> None:
    assert listed(programme("A", 40, 20, 0), programme("B", 0, 20, 1, EventStatus.CANCELLED)) == ["B", "A"]


def test_evt_16_active_without_priority_comes_after_every_priority() -> None:
    events = [programme(str(number), 0, 20, number) for number in (0, 1, 2, 9)]
    assert listed(*events) == ["1", "2", "9", "0"]


def test_evt_16_pending_events_ignore_priority() -> None:
    assert listed(programme("late", 20, 20, 1), programme("soon", 10, 20, 0)) == ["soon", "late"]


def cancelled_at(made: Event, minute: int) -> Event:
    moment = NOW + timedelta(minutes=minute)
    descriptor = replace(made.descriptor, event_status=EventStatus.CANCELLED, modification_date_time=moment)
    return replace(made, descriptor=descriptor)


def test_evt_16_an_event_cancelled_before_its_start_stays_among_the_pending() -> None:
    pending = cancelled_at(programme("was pending", -10, 60, 1), -20)
    assert listed(pending, programme("active", -5, 60, 9)) == ["active", "was pending"]
    active = cancelled_at(programme("was active", -10, 60, 1), -5)
    assert listed(active, programme("active", -5, 60, 9)) == ["was active", "active"]


def test_evt_16_completed_events_come_last() -> None:
    assert listed(programme("over", -60, 30, 1), programme("soon", 10, 20, 0)) == ["soon", "over"]


def test_vex_25_where_events_overlap_the_order_of_events_or_the_newest_rules() -> None:
    first = event("first", start=at(17), length=minutes(60), priority=1, signals=simple(1, length=HOUR))
    second = event("second", start=at(17, 30), length=minutes(60), signals=simple(2, length=HOUR))
    by_order = Timeline.from_events([first, second])
    newest = Timeline.from_events([first, second], Precedence.NEWEST)
    assert [level(by_order, at(17, minute)) for minute in (15, 45)] == [("first", 1), ("first", 1)]
    assert [level(newest, at(17, minute)) for minute in (15, 45)] == [("first", 1), ("second", 2)]
    assert level(by_order, at(18)) == level(newest, at(18)) == ("second", 2)
