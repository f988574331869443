from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from flexpact.demo.errors import DemoError
from flexpact.demo.plan import Options, make_plan

OPTIONS = Options(out=Path("out"))


def test_the_day_asks_at_two_for_five_to_seven() -> None:
    plan = make_plan(OPTIONS)
    assert plan.asked - plan.start == timedelta(hours=14)
    assert plan.event_start - plan.start == timedelta(hours=17)
    assert plan.event_end - plan.event_start == timedelta(hours=2)
    assert plan.end - plan.start == timedelta(days=1)
    assert plan.speed == 288
    assert plan.zone == "UTC"
    assert plan.households == 60


def test_the_window_lasts_six_hours_and_announces_two_hours_ahead() -> None:
    plan = make_plan(Options(out=Path("out"), window=True))
    assert plan.end - plan.start == timedelta(hours=6)
    assert plan.event_start - plan.asked == timedelta(hours=2)
    assert plan.start < plan.asked
    assert plan.event_end + timedelta(minutes=30) < plan.end
    assert plan.speed == 60


def test_a_chosen_speed_wins() -> None:
    assert make_plan(Options(out=Path("out"), speed=1440.0)).speed == 1440


def test_a_meter_files_first_whole_local_day_after_the_history_is_played() -> None:
    zone = timezone(timedelta(hours=1))
    plan = make_plan(OPTIONS, datetime(2018, 10, 29, tzinfo=zone))
    assert plan.start == datetime(2018, 11, 25, 23, tzinfo=UTC)
    assert plan.zone == "Etc/GMT-1"
    later = make_plan(OPTIONS, datetime(2018, 10, 29, 0, 15, tzinfo=zone))
    assert later.start == plan.start + timedelta(days=1)


def test_west_of_greenwich_the_zones_name_has_a_plus() -> None:
    zone = timezone(timedelta(hours=-8))
    assert make_plan(OPTIONS, datetime(2018, 10, 29, tzinfo=zone)).zone == "Etc/GMT+8"


def test_an_offset_that_is_not_of_whole_hours_is_refused() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    with pytest.raises(DemoError, match="5:30:00 from UTC"):
        make_plan(OPTIONS, datetime(2018, 10, 29, tzinfo=zone))
