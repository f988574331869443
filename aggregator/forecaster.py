"""The day-ahead forecast in a process of its own, which ends when it has answered.

Reason: scikit-learn and its parts hold 90 MB for as long as a process lives, and are needed for a second a
day. Text in, text out: nothing that can carry code crosses between the two processes.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from aggregator.errors import ForecastError
from aggregator.forecast import day_ahead, weekly_naive
from aggregator.profile import Calendar, LoadProfile

COMMAND = (sys.executable, "-m", "aggregator.forecaster")
LIMIT_S = 120.0  # real seconds; it takes two or three
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # the sums are small


async def portfolio_forecast(load: LoadProfile, day: date, calendar: Calendar) -> LoadProfile | None:
    """The day-ahead forecast, or the week before where readings are too few; None without either.

    ForecastError if the process of the forecast fails.
    """
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, **ONE_THREAD}
    )
    question = json.dumps({"load": _told(load), "day": day.isoformat(), "calendar": _told_calendar(calendar)})
    try:
        async with asyncio.timeout(LIMIT_S):
            answer, trouble = await child.communicate(question.encode())
    except TimeoutError as error:
        raise ForecastError(f"the forecast took longer than {LIMIT_S:g} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        raise ForecastError(f"the forecast failed: {trouble.decode(errors='replace')[-500:]}")
    made = json.loads(answer)
    return None if made is None else _heard(made)


def answer(question: str) -> str:
    """What the process of the forecast says to a question."""
    asked = json.loads(question)
    load, day = _heard(asked["load"]), date.fromisoformat(asked["day"])
    calendar = Calendar(
        ZoneInfo(asked["calendar"]["zone"]), frozenset(map(date.fromisoformat, asked["calendar"]["holidays"]))
    )
    try:
        return json.dumps(_told(day_ahead(load, day, calendar)))
    except ForecastError:
        naive = weekly_naive(load, day, calendar)
        return json.dumps(_told(naive) if naive.known() else None)


def _told(profile: LoadProfile) -> dict[str, object]:
    kw = [None if math.isnan(value) else value for value in profile.kw]
    return {"start": profile.start.isoformat(), "step_s": profile.step.total_seconds(), "kw": kw}


def _heard(told: dict[str, object]) -> LoadProfile:
    kw, step_s = told["kw"], told["step_s"]
    if not isinstance(kw, list) or not isinstance(step_s, int | float):
        raise TypeError("a profile is start, step_s and kw")
    values = tuple(math.nan if value is None else float(value) for value in kw)
    return LoadProfile(datetime.fromisoformat(str(told["start"])), timedelta(seconds=step_s), values)


def _told_calendar(calendar: Calendar) -> dict[str, object]:
    return {"zone": str(calendar.zone), "holidays": sorted(day.isoformat() for day in calendar.holidays)}


if __name__ == "__main__":
    sys.stdout.write(answer(sys.stdin.read()))
