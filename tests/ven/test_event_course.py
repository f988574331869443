"""The course of an event that is followed: its random start, its intervals, its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from openadr import Event
from openadr.enums import EventStatus
from openadr.interval import END_OF_TIME, Duration
from tests.ven.listener import Listener
from tests.ven.messages import HOUR, cancelled, distribute, make_event, signal
from tests.ven.site import NOW
from ven.event import followed, prune


def test_vex_18_the_random_start_is_drawn_once_and_kept_over_modifications() -> None:
    draws = iter((0.5, 0.25))
    listener = Listener(draw=lambda: next(draws))
    wide = timedelta(minutes=10)
    listener.told(make_event(start_after=wide))
    listener.told(make_event(modification=1, start=NOW + 2 * HOUR, start_after=wide))
    held = listener.held["e1"]
    assert held.offset == timedelta(minutes=5)
    assert held.start == NOW + 2 * HOUR + timedelta(minutes=5)
    assert held.end == held.start + HOUR
    assert listener.timeline.at(NOW + 2 * HOUR + timedelta(minutes=4)) is None
    assert listener.timeline.at(NOW + 3 * HOUR + timedelta(minutes=4)) is not None
    listener.told(make_event(modification=2, start_after=timedelta(minutes=40)))
    assert listener.held["e1"].offset == timedelta(minutes=10)  # drawn anew


@pytest.mark.parametrize(("draw", "offset_s"), [(0.0, 0), (0.9999999, 600)])
def test_vex_18_the_random_start_reaches_both_ends(draw: float, offset_s: int) -> None:
    listener = Listener(draw=lambda: draw)
    listener.told(make_event(start_after=timedelta(minutes=10)))
    assert listener.held["e1"].offset == timedelta(seconds=offset_s)


@pytest.mark.parametrize("explicit", [True, False], ids=["cancelled", "left out"])
def test_vex_19_a_running_randomised_event_ends_spread_over_its_tolerance(explicit: bool) -> None:
    listener = Listener()
    event = make_event(start=NOW - HOUR / 2, start_after=timedelta(minutes=10))
    listener.told(event, now=NOW - HOUR)
    listener.hear(distribute(cancelled(event)) if explicit else distribute())
    timeline = listener.timeline
    assert timeline.at(NOW + timedelta(minutes=4, seconds=59)) is not None
    assert timeline.at(NOW + timedelta(minutes=5)) is None


def test_vex_19_a_randomised_event_that_returns_after_it_was_left_out_runs_on() -> None:
    listener = Listener()
    event = make_event(start=NOW - HOUR / 2, start_after=timedelta(minutes=10))
    listener.told(event, now=NOW - HOUR)
    listener.hear(distribute())
    listener.told(event)
    assert listener.held["e1"].offset == timedelta(minutes=5)
    assert listener.timeline.at(NOW + timedelta(minutes=30)) is not None


def test_vex_24_an_open_ended_event_runs_until_it_is_cancelled() -> None:
    listener = Listener()
    event = make_event(length=timedelta(0))
    listener.told(event)
    assert listener.timeline.at(NOW + timedelta(days=400)) is not None
    listener.told(cancelled(event), now=NOW + timedelta(days=2))
    assert listener.timeline.at(NOW + timedelta(days=3)) is None


def test_vex_25_at_the_edge_of_two_events_the_later_one_rules() -> None:
    listener = Listener()
    listener.told(make_event("e1"), make_event("e2", start=NOW + 2 * HOUR, signals=(signal(values=(2.0,)),)))
    setpoint = listener.timeline.at(NOW + 2 * HOUR)
    assert setpoint is not None
    assert setpoint.event.event_id == "e2"


def test_an_event_is_kept_for_a_day_after_its_end_and_an_open_one_for_ever() -> None:
    listener = Listener()
    listener.told(make_event("e1"), make_event("e2", length=timedelta(0)))
    end = NOW + 2 * HOUR
    assert set(prune(listener.held, end + timedelta(hours=23))) == {"e1", "e2"}
    assert set(prune(listener.held, end + timedelta(days=1))) == {"e2"}


def test_vex_20_completed_does_not_end_an_event() -> None:
    listener = Listener()
    event = make_event(start=NOW - HOUR / 2, start_after=timedelta(minutes=40))
    listener.told(event, now=NOW - HOUR)
    done = replace(event, descriptor=replace(event.descriptor, event_status=EventStatus.COMPLETED))
    listener.told(done, now=NOW + HOUR / 2)  # over for the VTN, 20 minutes are left here
    assert listener.timeline.at(NOW + HOUR / 2 + timedelta(minutes=19)) is not None
    assert listener.timeline.at(NOW + HOUR / 2 + timedelta(minutes=20)) is None


def test_vex_21_the_site_follows_intervals_values_and_ramps() -> None:
    listener = Listener()
    event = make_event(signals=(signal(values=(1.0, 3.0)),))
    period = replace(event.active_period, ramp_up=Duration(600), recovery=Duration(-600))
    listener.told(replace(event, active_period=period))
    start = NOW + HOUR
    seen = [listener.timeline.at(start + timedelta(minutes=minute)) for minute in (-1, 0, 29, 30, 59, 60)]
    assert [setpoint and setpoint.value("SIMPLE") for setpoint in seen] == [None, 1.0, 1.0, 3.0, 3.0, None]
    up = listener.timeline.ramp(start - timedelta(minutes=5))
    down = listener.timeline.ramp(start + timedelta(minutes=55))
    assert up is not None
    assert down is not None
    assert (up.rising, up.share(start - timedelta(minutes=5))) == (True, 0.5)
    assert (down.rising, down.share(start + timedelta(minutes=55))) == (False, 0.5)


FAR_AWAY = END_OF_TIME - timedelta(hours=1)
TWO_CENTURIES = replace(make_event().active_period, start_after=Duration(36_600 * 86_400, months=1200))


@pytest.mark.parametrize(
    "event",
    [
        make_event(start=FAR_AWAY, start_after=timedelta(hours=3)),
        make_event(start=FAR_AWAY, length=timedelta(days=9000)),
        make_event(start=datetime(1000, 1, 1, tzinfo=UTC), length=timedelta(0)),
        make_event(start_after=timedelta(days=36_000)),
        replace(make_event(), active_period=TWO_CENTURIES),
    ],
    ids=["random start", "length", "open-ended since long ago", "a century of random start", "two of them"],
)
def test_no_event_makes_the_calendar_overflow(event: Event) -> None:
    listener = Listener(draw=lambda: 0.999)
    for told in (event, cancelled(event)):
        listener.told(told)
        assert followed(listener.held.values()) is not None
        listener.held = prune(listener.held, NOW)
        assert list(listener.held) == ["e1"]
