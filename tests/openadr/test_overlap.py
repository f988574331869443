"""Overlap of events: the worked example, and the corners of it."""

from dataclasses import replace
from datetime import datetime

import pytest

from openadr import ActivePeriod, Duration, Event
from openadr.enums import EventStatus
from openadr.overlap import effective_end, overlap, overlapping
from tests.openadr.samples.event import event
from tests.openadr.samples.parts import HOUR, at, minutes


def timed(
    name: str,
    start: datetime,
    length: Duration = HOUR,
    start_after: Duration | None = None,
    status: EventStatus = EventStatus.FAR,
) -> Event:
    period = ActivePeriod(dtstart=start, duration=length, start_after=start_after)
    return event(name, period=period, status=status)


FIRST = timed("first", at(12), start_after=minutes(10))
CANCELLED = timed("first", at(12), start_after=minutes(10), status=EventStatus.CANCELLED)
ACKNOWLEDGED = {"first": at(12, 20)}


def test_evt_33_the_effective_end_counts_the_random_start() -> None:
    assert effective_end(FIRST) == at(13, 10)
    assert effective_end(timed("plain", at(12))) == at(13)
    assert effective_end(timed("open", at(12), Duration(0))) is None


def test_evt_33_a_cancelled_event_ends_with_its_acknowledgement() -> None:
    assert effective_end(CANCELLED, at(12, 20)) == at(12, 30)
    assert effective_end(CANCELLED) == at(13, 10)  # the VEN may not know
    assert effective_end(FIRST, at(12, 20)) == at(13, 10)  # not cancelled: an answer ends nothing
    assert effective_end(CANCELLED, at(15)) == at(13, 10)
    open_ended = timed("first", at(12), Duration(0), status=EventStatus.CANCELLED)
    assert effective_end(open_ended, at(14)) == at(14)


@pytest.mark.parametrize(
    ("start", "expected"),
    [(at(13, 10), False), (at(13, 9), True), (at(12), True), (at(11), False), (at(11, 1), True)],
    ids=["touches the end", "a minute inside", "same start", "touches the start", "starts before"],
)
def test_evt_33_worked_example(start: datetime, expected: bool) -> None:
    second = timed("second", start)
    assert overlap(FIRST, second) is expected
    assert overlap(second, FIRST) is expected


@pytest.mark.parametrize(
    ("start", "expected"),
    [(at(12, 30), False), (at(12, 29), True)],
    ids=["after the stop", "before the stop"],
)
def test_evt_33_beside_a_cancelled_event(start: datetime, expected: bool) -> None:
    assert overlap(CANCELLED, timed("second", start), ACKNOWLEDGED) is expected


def test_evt_33_an_event_cancelled_before_it_began_overlaps_with_nothing() -> None:
    known = {"first": at(11)}
    assert not overlap(CANCELLED, timed("second", at(11, 30), minutes(120)), known)
    assert overlap(CANCELLED, timed("second", at(11, 30), minutes(120)))


def test_evt_33_an_open_ended_event_overlaps_with_all_that_follows() -> None:
    open_ended = timed("open", at(12), Duration(0))
    assert overlap(open_ended, timed("late", at(23)))
    assert not overlap(open_ended, timed("early", at(11)))


def test_evt_33_names_the_others_and_not_the_event_itself() -> None:
    moved = replace(FIRST, active_period=replace(FIRST.active_period, dtstart=at(12, 30)))
    others = [timed("b", at(13)), FIRST, timed("a", at(12, 45)), timed("c", at(14))]
    assert [item.event_id for item in overlapping(moved, others)] == ["b", "a"]
