"""What a user reads: his language, his zone, exact money, and the two odd days of a year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from aggregator.dashboard.wording import Wording, preferred

NBSP = "\u00a0"
NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def plain(text: str) -> str:
    """The text with ordinary spaces."""
    return text.replace(NBSP, " ").replace("\u202f", " ")


def words(language: str = "en", zone: str = "Europe/Berlin") -> Wording:
    return Wording(language, ZoneInfo(zone), NOW)


@pytest.mark.parametrize(
    ("utc", "shown"),
    [
        ("2026-03-29T00:30", "29 Mar 2026, 01:30 CET"),
        ("2026-03-29T01:00", "29 Mar 2026, 03:00 CEST"),
        ("2026-10-25T00:30", "25 Oct 2026, 02:30 CEST"),
        ("2026-10-25T01:30", "25 Oct 2026, 02:30 CET"),
    ],
    ids=["before spring", "the hour that is left out", "the hour that comes twice", "its second time"],
)
def test_an_instant_is_told_with_its_zone(utc: str, shown: str) -> None:
    assert plain(words().moment(datetime.fromisoformat(utc).replace(tzinfo=UTC))) == shown


def test_a_span_over_the_change_of_clocks_names_both_zones() -> None:
    start = datetime(2026, 10, 25, 0, tzinfo=UTC)
    assert plain(words().span(start, start + timedelta(hours=2))) == (
        "25 Oct 2026, 02:00 CEST \u2013 25 Oct 2026, 03:00 CET"
    )
    assert plain(words().span(NOW, NOW + timedelta(hours=2))) == "20 Jan 2026, 13:00\u201315:00 CET"


@pytest.mark.parametrize(
    ("language", "day", "power", "money"),
    [
        ("en", "20 Jan 2026", "1.24 MW", "€1,234.56"),
        ("de", "20.01.2026", "1,24 MW", "1.234,56 €"),
        ("ko", "2026. 1. 20.", "1.24 MW", "€1,234.56"),
    ],
)
def test_days_and_numbers_are_written_as_the_language_does(
    language: str, day: str, power: str, money: str
) -> None:
    said = words(language)
    assert (said.day(NOW), plain(said.power(1236)), plain(said.money(123456, "EUR"))) == (day, power, money)


def test_zones_without_letters_are_told_by_their_offset() -> None:
    assert plain(words(zone="Asia/Kathmandu").moment(NOW)) == "20 Jan 2026, 17:45 UTC+05:45"


@pytest.mark.parametrize(
    ("kw", "shown"),
    [
        (0, "0.00 kW"),
        (4.444, "4.44 kW"),
        (44.44, "44.4 kW"),
        (-444.4, "-444 kW"),
        (None, "\u2013"),
        (float("nan"), "\u2013"),
    ],
)
def test_power_has_a_unit_and_as_many_digits_as_mean_something(kw: float | None, shown: str) -> None:
    assert plain(words().power(kw)) == shown


@pytest.mark.parametrize("nearly", [-0.0, -0.0004, Decimal("-0.0004")])
def test_what_is_nothing_when_it_is_rounded_has_no_minus(nearly: float | Decimal) -> None:
    assert plain(words().percent(nearly, 1)) == "0.0 %"
    assert plain(words().percent(nearly)) == "0%"
    assert plain(words().power(nearly)) == "0.00 kW"
    assert plain(words().number(-0.6, 0)) == "-1"


def test_money_is_never_a_float() -> None:
    with pytest.raises(TypeError, match="money is an int or a Decimal of minor units, not float"):
        words().money(1.5, "EUR")  # type: ignore[arg-type]
    assert words().money(Decimal(-150), "KRW") == "-₩150"


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        words().moment(datetime(2026, 1, 20))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("length", "shown"),
    [(0, "0 s"), (59, "59 s"), (5400, "1 h 30 min"), (90_061, "1 d 1 h"), (-60, "\u22121 min")],
)
def test_a_length_is_told_by_its_two_largest_parts(length: float, shown: str) -> None:
    assert plain(words().duration(length)) == shown


def test_past_and_future_are_told_from_now() -> None:
    assert words().ago(NOW - timedelta(minutes=3)) == "3 minutes ago"
    assert words("de").ago(NOW + timedelta(hours=2)) == "in 2 Stunden"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr, ko;q=0.7, en;q=0.3", "ko"),
        ("en;q=0.1, de;q=0", "en"),
        ("fr", "en"),
        ("", "en"),
        (";;q=x,,=", "en"),
    ],
)
def test_the_browsers_best_language_of_ours_is_taken(header: str, language: str) -> None:
    assert preferred(header) == language


@pytest.mark.parametrize(
    ("day", "clock", "utc"),
    [
        ("2026-01-20", "17:00", "2026-01-20T16:00"),
        ("2026-07-20", " 7:05", "2026-07-20T05:05"),
        ("2026-10-25", "02:30", "2026-10-25T00:30"),
    ],
    ids=["winter", "summer", "the first of two"],
)
def test_a_local_day_and_time_are_an_instant(day: str, clock: str, utc: str) -> None:
    assert words().instant(day, clock) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "clock", "error"),
    [
        ("2026-03-29", "02:30", "does not exist"),
        ("2026-01-20", "5 pm", "24 hours"),
        ("2026-01-20", "24:00", "24 hours"),
        ("2026-01-20", "1\u0661:00", "24 hours"),
        ("2026-02-30", "10:00", "a day is written"),
        ("0001-01-01", "00:10", "a day is written"),
        ("", "10:00", "a day is written"),
    ],
)
def test_what_is_no_local_time_is_refused(day: str, clock: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        words().instant(day, clock)
