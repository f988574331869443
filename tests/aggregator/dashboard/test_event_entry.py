"""The times that somebody types for an event, in a zone whose clocks are put back and forward."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from aggregator.dashboard.event_entry import _kilowatts, errors_of
from aggregator.profile import Period

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 10, 24, 12, tzinfo=UTC)
TWICE = "2026-10-25"  # 02:00 to 03:00 comes twice: from 00:00 and from 01:00 UTC


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"{TWICE}T{clock}+00:00")


def period(start: str, end: str, sent: Period | None = None, day: str = TWICE) -> Period:
    fields = {"day": day, "start": start, "end": end, "power_kw": "3"}
    entry, problems = errors_of(fields, BERLIN, NOW, sent)
    assert entry is not None, problems
    return entry.period


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (Period(at("01:15"), at("01:45")), ("02:15", "02:45")),
        (Period(at("00:45"), at("01:15")), ("02:45", "02:15")),
        (Period(at("00:15"), at("01:15")), ("02:15", "02:15")),
        (Period(at("00:15"), at("01:45")), ("02:15", "02:45")),
        (Period(at("17:30:25"), at("18:00:05")), ("18:30", "19:00")),
        (Period(at("17:30:10"), at("17:30:50")), ("18:30", "18:30")),
        (Period(at("22:30:10"), at("22:30:10") + timedelta(hours=2)), ("23:30", "01:30")),
    ],
)
def test_times_that_are_left_as_they_are_shown_stay_those_of_the_event(
    sent: Period, shown: tuple[str, str]
) -> None:
    assert period(*shown, sent) == sent


def test_of_the_two_times_the_one_that_is_not_typed_anew_stays() -> None:
    later = Period(at("01:15:20"), at("01:45:40"))
    assert period("02:15", "02:50", later) == Period(at("01:15:20"), at("01:50"))
    assert period("02:15", "03:30", later) == Period(at("01:15:20"), at("02:30"))
    assert period("01:30", "02:45", later) == Period(at("23:30") - timedelta(days=1), at("01:45:40"))


def test_without_an_event_the_first_of_two_instants_is_meant() -> None:
    assert period("02:15", "02:45") == Period(at("00:15"), at("00:45"))
    assert period("02:15", "02:45", day="2026-10-26").start == at("01:15") + timedelta(days=1)


@pytest.mark.parametrize(
    ("typed", "watts"), [("4", 4000), ("4.5", 4500), ("4,5", 4500), (".5", 500), (" 7. ", 7000), ("0.001", 1)]
)
def test_power_is_a_plain_number_of_kw(typed: str, watts: int) -> None:
    assert int(_kilowatts(typed) * 1000) == watts


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "x",
        "1_000",
        "1e3",
        "\u0664",
        "NaN",
        "Infinity",
        "1.2.3",
        "1,000.5",
        "0x1",
        "-1",
        "0",
        "0.0001",
        "1000001",
    ],
)
def test_what_is_no_plain_number_of_kw_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="kW"):
        _kilowatts(typed)
