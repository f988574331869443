import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flexpact.clock import Clock, ClockError, Course

START = datetime(2026, 1, 20, tzinfo=UTC)


def test_the_real_clock_is_the_machines_in_utc() -> None:
    before = datetime.now(UTC)
    now = Clock.real()()
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("real", id="the real clock"),
        pytest.param("2026-01-20T00:00:00Z@1768000000.25x288", id="a running course"),
        pytest.param("2026-01-20T00:00:00Z@heldx1440", id="a held course"),
    ],
)
def test_a_clock_writes_the_text_it_was_read_from(text: str) -> None:
    assert str(Clock.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a clock"),
        ("tomorrow", "not a clock"),
        ("2026-01-20T00:00:00@5x1", "not a clock"),
        ("2026-13-20T00:00:00Z@5x1", "not a time"),
        ("2026-01-20T00:00:00Z@5x0", "above 0"),
        ("@/nowhere/clock", "/nowhere/clock"),
    ],
)
def test_a_text_that_names_no_clock_is_refused_with_its_reason(text: str, says: str) -> None:
    with pytest.raises(ClockError, match=says):
        Clock.parse(text)


def test_time_stands_still_until_the_start_and_then_runs_at_the_speed() -> None:
    course = Course.parse("2026-01-20T00:00:00Z@1000x288")
    assert course.at(999.0) == START
    assert course.at(1000.0) == START
    assert course.at(1010.0) == START + timedelta(seconds=2880)


def test_two_processes_with_the_same_text_see_the_same_time() -> None:
    text = f"2026-01-20T00:00:00Z@{time.time() - 100:.3f}x60"
    first, second = Clock.parse(text), Clock.parse(text)
    assert first() <= second() <= first()


async def test_sleep_returns_after_the_seconds_of_its_own_clock() -> None:
    clock = Clock(Course(START, time.time(), 36000.0))
    began = clock()
    await clock.sleep(600)
    assert clock() - began >= timedelta(seconds=600)


async def test_sleeping_no_time_gives_way_to_others() -> None:
    clock = Clock.parse("2026-01-20T00:00:00Z@heldx1")
    seen: list[str] = []

    async def other() -> None:
        seen.append("other")

    task = asyncio.create_task(other())
    await clock.sleep(0)
    await task
    assert seen == ["other"]


async def test_a_held_clock_runs_when_its_file_gives_a_start(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    path.write_text("2026-01-20T00:00:00Z@heldx3600")
    clock = Clock.parse(f"@{path}")
    assert clock.held
    assert clock() == START
    sleeper = asyncio.create_task(clock.sleep(60))
    path.write_text(f"2026-01-20T00:00:00Z@{time.time():.6f}x3600")
    await sleeper
    assert not clock.held
    assert clock() >= START + timedelta(seconds=60)
    assert str(clock) == f"@{path}"
