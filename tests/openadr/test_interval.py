"""Durations and instants: one strict parser each (GOALS 21)."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openadr.errors import InvalidData
from openadr.interval import END_OF_TIME, ActivePeriod, Duration, format_instant, parse_instant

DAY = 86_400
DURATIONS = [  # text, seconds, months; None where the text is refused
    ("PT0S", 0, 0),
    ("P0D", 0, 0),
    ("PT1S", 1, 0),
    ("PT5M", 300, 0),
    ("PT60M", 3600, 0),
    ("PT1H", 3600, 0),
    ("PT1H30M", 5400, 0),
    ("PT1H0M1S", 3601, 0),
    ("P1D", DAY, 0),
    ("P1DT1S", DAY + 1, 0),
    ("P7D", 7 * DAY, 0),
    ("P1W", 7 * DAY, 0),
    ("1W", 7 * DAY, 0),
    ("P2W", 14 * DAY, 0),
    ("P1M", 0, 1),
    ("P1Y", 0, 12),
    ("P1Y2M3DT4H5M6S", 3 * DAY + 4 * 3600 + 5 * 60 + 6, 14),
    ("P1MT1M", 60, 1),
    ("PT0000001H", 3600, 0),
    ("+PT5M", 300, 0),
    ("-PT5M", -300, 0),
    ("-P1Y1D", -DAY, -12),
    ("P36525D", 36_525 * DAY, 0),
    ("", None, None),
    ("P", None, None),
    ("PT", None, None),
    ("P1DT", None, None),
    ("P5H", None, None),
    ("P1M5H", None, None),
    ("PT5M6H", None, None),
    ("P1W1D", None, None),
    ("-1W", None, None),
    ("PT0.5S", None, None),
    ("PT1,5H", None, None),
    ("PTS", None, None),
    ("pt5m", None, None),
    ("PT5M ", None, None),
    ("PT5Mx", None, None),
    ("--PT5M", None, None),
    ("P٣D", None, None),
    ("P101Y", None, None),
    ("P99999999999999D", None, None),
    ("PT" + "9" * 5000 + "S", None, None),
]


@pytest.mark.goal(21)
@pytest.mark.criterion("GEN-07")
@pytest.mark.parametrize(
    ("text", "seconds", "months"), DURATIONS, ids=[text[:20] for text, _, _ in DURATIONS]
)
def test_duration_of_text(text: str, seconds: int | None, months: int | None) -> None:
    if seconds is None or months is None:
        with pytest.raises(InvalidData):
            Duration.parse(text)
    else:
        assert Duration.parse(text) == Duration(seconds, months)


DATE = [("Y", 0, 12), ("M", 0, 1), ("D", DAY, 0)]
TIME = [("H", 3600, 0), ("M", 60, 0), ("S", 1, 0)]
WEEK = [("W", 7 * DAY, 0)]


def model(text: str) -> tuple[int, int] | None:
    """The same language, read step by step: (seconds, months), None where it is refused."""
    if text and not text.startswith(("P", "+", "-")):
        return take(text, WEEK)
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text.startswith(("+", "-")) else text
    if not body.startswith("P"):
        return None
    body = body[1:]
    if body.endswith("W"):
        found = take(body, WEEK)
    elif "T" in body:
        date, time = body.split("T", 1)
        parts = [take(date, DATE) if date else (0, 0), take(time, TIME)]
        found = None if None in parts else (parts[0][0] + parts[1][0], parts[0][1])  # type: ignore[index]  # no None
    else:
        found = take(body, DATE)
    return None if found is None else (sign * found[0], sign * found[1])


def take(text: str, units: list[tuple[str, int, int]]) -> tuple[int, int] | None:
    """Numbers, each with a letter, the letters in the order of `units`."""
    seconds = months = 0
    left = list(units)
    while text:
        digits = 0
        while digits < len(text) and text[digits] in "0123456789":
            digits += 1
        letter = text[digits : digits + 1]
        while left and left[0][0] != letter:
            left.pop(0)
        if not left or not digits:
            return None
        _, unit_seconds, unit_months = left.pop(0)
        seconds += int(text[:digits]) * unit_seconds
        months += int(text[:digits]) * unit_months
        text = text[digits + 1 :]
    return None if left == units else (seconds, months)


@pytest.mark.goal(21)
@settings(max_examples=300)
@given(
    st.text("PYMDTHSW0123+-", max_size=12) | st.from_regex(r"[+-]?P(\d{1,3}[YMDWHS]|T){0,5}", fullmatch=True)
)
def test_duration_agrees_with_an_independent_model(text: str) -> None:
    expected = model(text)
    try:
        found = Duration.parse(text)
    except InvalidData:
        assert expected is None or max(map(abs, expected)) > 1200
    else:
        assert (found.seconds, found.months) == expected


def test_the_model_and_the_table_agree() -> None:
    for text, seconds, months in DURATIONS:
        if text not in ("P101Y", "P99999999999999D") and len(text) < 100:
            assert model(text) == (None if seconds is None else (seconds, months)), text


@given(st.integers(-(10**9), 10**9), st.integers(0, 1200))
def test_a_duration_comes_back_from_its_text(seconds: int, months: int) -> None:
    duration = Duration(seconds, months if seconds >= 0 else -months)
    assert Duration.parse(str(duration)) == duration
    assert "W" not in str(duration), "P1W is not valid under the schema (GEN-07)"


def test_a_duration_of_both_signs_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in sign"):
        Duration(1, -1)


def test_a_fraction_of_a_second_is_no_duration() -> None:
    assert Duration.of(timedelta(days=1, seconds=1)) == Duration(DAY + 1)
    with pytest.raises(ValueError, match="whole seconds"):
        Duration.of(timedelta(milliseconds=1))


def test_calendar_months_have_no_fixed_length() -> None:
    assert Duration(60).to_timedelta() == timedelta(minutes=1)
    with pytest.raises(ValueError, match="calendar months"):
        Duration(0, 1).to_timedelta()


@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [
        ("2026-01-31T00:00:00Z", Duration(0, 1), "2026-02-28T00:00:00Z"),
        ("2024-01-31T00:00:00Z", Duration(0, 1), "2024-02-29T00:00:00Z"),
        ("2026-12-15T10:00:00Z", Duration(0, 1), "2027-01-15T10:00:00Z"),
        ("2026-03-31T00:00:00Z", Duration(0, -1), "2026-02-28T00:00:00Z"),
        ("2026-01-15T00:00:00Z", Duration(-60, -13), "2024-12-14T23:59:00Z"),
        ("2026-03-29T00:30:00Z", Duration(7200), "2026-03-29T02:30:00Z"),
        ("9999-12-31T23:00:00Z", Duration(7200), "9999-12-31T23:59:59Z"),
        ("9999-12-31T23:00:00Z", Duration(0, 1), "9999-12-31T23:59:59Z"),
        ("0001-01-01T00:00:00Z", Duration(-1), "0001-01-01T00:00:00Z"),
    ],
)
def test_the_instant_after(start: str, duration: Duration, end: str) -> None:
    assert format_instant(duration.after(parse_instant(start))) == end


def test_the_end_of_time_is_the_last_whole_second() -> None:
    assert format_instant(END_OF_TIME) == "9999-12-31T23:59:59Z"


@pytest.mark.goal(21)
@pytest.mark.criterion("GEN-06")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-07-01T08:00:00Z", "2026-07-01T08:00:00Z"),
        ("2026-07-01T08:00:00", "2026-07-01T08:00:00Z"),
        ("2026-07-01T08:00:00.999999999Z", "2026-07-01T08:00:00Z"),
        ("2026-07-01T08:00:00.Z", "2026-07-01T08:00:00Z"),
        ("2026-06-30T23:59:60Z", "2026-07-01T00:00:00Z"),
        ("2026-06-30T24:00:00Z", "2026-07-01T00:00:00Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
        ("0999-01-01T00:00:00Z", "0999-01-01T00:00:00Z"),
    ],
)
def test_instant_of_text(text: str, expected: str) -> None:
    assert format_instant(parse_instant(text)) == expected


@pytest.mark.goal(21)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-07-01",
        "2026-07-01T08:00Z",
        "2026-07-01T08:00:00+00:00",
        "2026-07-01T08:00:00+0000",
        "2026-07-01T08:00:00-01:00",
        "2026-07-01T08:00:00z",
        "2026-07-01t08:00:00Z",
        "2026-07-01 08:00:00Z",
        "2026-07-01T08:00:00ZZ",
        "2026-07-01T08:00:00Z\n",
        "-2026-07-01T08:00:00Z",
        "+2026-07-01T08:00:00Z",
        "12026-07-01T08:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-07-01T24:00:01Z",
        "2026-07-01T08:60:00Z",
        "2026-07-01T08:00:61Z",
        "9999-12-31T24:00:00Z",
        "٢026-07-01T08:00:00Z",
    ],
)
def test_text_that_is_no_utc_instant_is_refused(text: str) -> None:
    with pytest.raises(InvalidData) as caught:
        parse_instant(text)
    assert caught.value.rule == "GEN-06"


MARKS = {4: "-", 7: "-", 10: "T", 13: ":", 16: ":"}


def instant_model(text: str) -> datetime | None:
    """The same language, read step by step; None where it is refused."""
    numbers = [text[first:last] for first, last in ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))]
    rest = text[19:].removesuffix("Z")
    if rest.startswith("."):
        numbers.append(rest[1:] or "0")
    spelt = len(text) >= 19 and all(text[place] == mark for place, mark in MARKS.items())
    if (
        not spelt
        or rest[:1] not in ("", ".")
        or not all(each.isascii() and each.isdigit() for each in numbers)
    ):
        return None
    year, month, day, hour, minute, second = map(int, numbers[:6])
    is_day = year >= 1 and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]
    is_time = minute <= 59 and second <= 60 and (hour <= 23 or (hour, minute, second) == (24, 0, 0))
    if not (is_day and is_time):
        return None
    try:
        return datetime(year, month, day, tzinfo=UTC) + timedelta(hours=hour, minutes=minute, seconds=second)
    except OverflowError:
        return None


PARTS = st.tuples(
    st.sampled_from(["2026", "2024", "0000", "0001", "1900", "9999", "02026", "-026"]),
    st.sampled_from(["01", "02", "04", "12", "00", "13"]),
    st.sampled_from(["01", "28", "29", "30", "31", "00", "32"]),
    st.sampled_from(["00", "08", "23", "24", "25"]),
    st.sampled_from(["00", "59", "60"]),
    st.sampled_from(["00", "59", "60", "61"]),
    st.sampled_from(["Z", "", ".", ".5Z", ".999999999Z", "+00:00", "-08:00", "z", "ZZ", "Z ", " Z"]),
)


@pytest.mark.goal(21)
@given(
    st.one_of(
        PARTS.map(lambda p: f"{p[0]}-{p[1]}-{p[2]}T{p[3]}:{p[4]}:{p[5]}{p[6]}"),
        st.text("0123456789-:T.Z+ ", max_size=24),
    )
)
@settings(max_examples=400)
def test_instant_agrees_with_an_independent_model(text: str) -> None:
    expected = instant_model(text)
    try:
        found: datetime | None = parse_instant(text)
    except InvalidData:
        found = None
    assert found == expected


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), st.integers(-720, 720))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_an_instant_comes_back_from_its_text(naive: datetime, offset_minutes: int) -> None:
    local = naive.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    assert parse_instant(format_instant(local)) == local.replace(microsecond=0)


def test_a_naive_instant_is_not_written() -> None:
    with pytest.raises(ValueError, match="naive"):
        format_instant(datetime(2026, 7, 1))  # noqa: DTZ001 - on purpose


def test_a_period_of_duration_0_has_no_end() -> None:
    start = datetime(2026, 7, 1, tzinfo=UTC)
    assert ActivePeriod(dtstart=start, duration=Duration(0)).end is None
    assert ActivePeriod(dtstart=start, duration=Duration(60)).end == start + timedelta(minutes=1)
