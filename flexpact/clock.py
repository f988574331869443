"""The clock that the edges are handed: real, or simulated at a multiple of real time.

This is the only module that reads the time of day. Every process of one run gets the same text (`--clock`),
so a process that is started again goes on in the same simulated time.
"""

import asyncio
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_TEXT = re.compile(r"(?P<sim>[0-9T:.-]+Z)@(?P<real>[0-9]+(?:\.[0-9]+)?|held)x(?P<speed>[0-9]+(?:\.[0-9]+)?)")
LOOK_S = 1.0
"""How often a sleeper looks whether the machine's clock was put right."""
STEP_S = 2.0
"""A clock that moved against the machine's monotonic one by more than this was put right, not just tuned."""
_HELD_LOOK_S = 0.05  # real seconds between two looks at a file whose clock is still held
_EXAMPLE = "2026-01-20T00:00:00Z@1768000000x288"


class ClockError(ValueError):
    """The text names no clock; write `real`, `START@UNIX_SECONDSxSPEED`, `START@heldxSPEED` or `@FILE`."""


@dataclass(frozen=True, slots=True)
class Course:
    """How simulated time runs: `sim_start` until the real instant, then `speed` simulated seconds each."""

    sim_start: datetime
    real_start_s: float | None  # unix seconds; None: held at sim_start
    speed: float

    def __str__(self) -> str:
        start = self.sim_start.astimezone(UTC).isoformat().replace("+00:00", "Z")
        real = "held" if self.real_start_s is None else f"{self.real_start_s:.6f}".rstrip("0").rstrip(".")
        return f"{start}@{real}x{self.speed:g}"

    def at(self, real_s: float) -> datetime:
        """Return the simulated time at `real_s` (unix seconds)."""
        if self.real_start_s is None or real_s <= self.real_start_s:
            return self.sim_start
        return self.sim_start + timedelta(seconds=(real_s - self.real_start_s) * self.speed)

    @classmethod
    def parse(cls, text: str) -> "Course":
        """Read `START@UNIX_SECONDSxSPEED` or `START@heldxSPEED`; `ClockError` says what is wrong."""
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ClockError(f"{text!r} is not a clock: expected `real` or a text like {_EXAMPLE}")
        try:
            sim_start = datetime.fromisoformat(match["sim"])
        except ValueError as error:
            raise ClockError(f"{match['sim']!r} is not a time: {error}") from None
        speed = float(match["speed"])
        if speed <= 0:
            raise ClockError(f"the speed of a clock is above 0, got {match['speed']}")
        return cls(sim_start, None if match["real"] == "held" else float(match["real"]), speed)


class Clock:
    """A callable that returns the present as aware UTC, and a `sleep` in seconds of the same clock."""

    def __init__(self, course: Course | None = None, path: Path | None = None) -> None:
        self._course = course
        self._path = path

    @classmethod
    def real(cls) -> "Clock":
        """Return the machine's own clock."""
        return cls()

    @classmethod
    def parse(cls, text: str) -> "Clock":
        """Return the clock that `text` names: `real`, a course, or `@FILE`, a file that holds a course.

        A held clock stands still. When the file's text is replaced by one with a start, the clock begins to
        run; from then on the file is not read again.
        """
        if text == "real":
            return cls()
        if text.startswith("@"):
            path = Path(text[1:])
            return cls(_read(path), path)
        return cls(Course.parse(text))

    def __str__(self) -> str:
        if self._path is not None:
            return f"@{self._path}"
        return "real" if self._course is None else str(self._course)

    def __call__(self) -> datetime:
        """Return the present, aware UTC."""
        course = self._current()
        return datetime.now(UTC) if course is None else course.at(time.time())

    @property
    def speed(self) -> float:
        """Simulated seconds in one real second; 1 for the real clock."""
        course = self._course
        return 1.0 if course is None else course.speed

    @property
    def held(self) -> bool:
        """Whether the clock stands still, waiting for its file to give a start."""
        course = self._current()
        return course is not None and course.real_start_s is None

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` of this clock have passed; at once for 0 and less.

        They are counted beside the machine's clock, so that one set back keeps nobody asleep; when it is put
        right by more than two seconds, sleepers return within a second, to look at what is due now.
        """
        if self._course is None:
            await _sleep_beside(seconds)
            return
        until = self() + timedelta(seconds=max(0.0, seconds))
        await asyncio.sleep(0)
        while (left_s := (until - self()).total_seconds()) > 0:
            course = self._current()
            if course is None or course.real_start_s is None:
                await asyncio.sleep(_HELD_LOOK_S)
                continue
            not_begun_s = max(0.0, course.real_start_s - time.time())
            await asyncio.sleep(not_begun_s + left_s / course.speed)

    def _current(self) -> Course | None:
        """Return the course, read again from the file as long as it is held."""
        if self._path is not None and self._course is not None and self._course.real_start_s is None:
            self._course = _read(self._path)
        return self._course


async def _sleep_beside(seconds: float) -> None:
    """Wait so many seconds of the monotonic clock, or until the clock of the day has moved against it."""
    ends, apart = time.monotonic() + max(0.0, seconds), _apart()
    await asyncio.sleep(0)
    while (  # noqa: ASYNC110 - a clock that is set tells nobody
        left_s := ends - time.monotonic()
    ) > 0 and abs(_apart() - apart) <= STEP_S:
        await asyncio.sleep(min(left_s, LOOK_S))


def _apart() -> float:
    return time.time() - time.monotonic()


def _read(path: Path) -> Course:
    try:
        return Course.parse(path.read_text(encoding="ascii"))
    except OSError as error:
        raise ClockError(f"the clock file {path} cannot be read: {error.strerror}") from None
