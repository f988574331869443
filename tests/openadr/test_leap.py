"""A leap second is the start of the next minute, wherever it stands."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from openadr import DistributeEvent, decode, encode
from openadr.errors import SchemaInvalid
from openadr.leap import without_leap_seconds
from tests.ven.messages import distribute, make_event


def begun_at(text: bytes) -> bytes:
    raw = encode(distribute(make_event(), make_event("e2")))
    return re.sub(rb"(<[^>]*date-time>)[^<]*(<)", lambda found: found[1] + text + found[2], raw, count=1)


@pytest.mark.goal(77)
@pytest.mark.parametrize(
    ("text", "start"),
    [
        (b"2026-06-30T23:59:60Z", datetime(2026, 7, 1, tzinfo=UTC)),
        (b"2026-12-31T23:59:60Z", datetime(2027, 1, 1, tzinfo=UTC)),
        (b"2026-12-31T12:34:60.25Z", datetime(2026, 12, 31, 12, 35, tzinfo=UTC)),
        (b"\n 2026-12-31T12:34:60 ", datetime(2026, 12, 31, 12, 35, tzinfo=UTC)),
    ],
)
def test_goals_77_a_leap_second_is_the_start_of_the_next_minute(text: bytes, start: datetime) -> None:
    message = decode(without_leap_seconds(begun_at(text)))
    assert isinstance(message, DistributeEvent)
    assert [event.event_id for event in message.events] == ["e1", "e2"]
    assert message.events[0].dtstart == start


@pytest.mark.parametrize("text", [b"2026-13-31T23:59:60Z", b"9999-12-31T23:59:60Z", b"2026-12-31T23:60:60Z"])
def test_no_such_minute_is_left_to_the_schema(text: bytes) -> None:
    assert without_leap_seconds(begun_at(text)) == begun_at(text)
    with pytest.raises(SchemaInvalid):
        decode(without_leap_seconds(begun_at(text)))


def test_a_name_that_looks_like_a_leap_second_stays_a_name() -> None:
    name = "2016-12-31T23:59:60Z"
    raw = encode(distribute(make_event(name), request_id=name))
    assert name.encode() in raw
    assert without_leap_seconds(raw) == raw


def test_a_time_may_declare_its_namespace() -> None:
    declared = b'<a:date-time xmlns:a="u">2016-12-31T23:59:60Z</a:date-time>'
    assert without_leap_seconds(declared) == b'<a:date-time xmlns:a="u">2017-01-01T00:00:00Z</a:date-time>'


def test_everything_else_is_left_as_it_is() -> None:
    for raw in (b"<a>PT60S</a>", b"<a b='x:60'>at 10:60</a>", b"2026-12-31T23:59:60Z", b"\xff:60"):
        assert without_leap_seconds(raw) == raw
