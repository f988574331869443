"""Time on the wire: durations, instants and periods.

Invariants: an instant is an aware UTC datetime of whole seconds; a duration is whole seconds and whole months
of one sign; nothing here guesses (GEN-06, GEN-07). One parser for each, used for every text that comes in.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from openadr.errors import InvalidData
from openadr.wire import xml

MAX_SECONDS = 100 * 366 * 86_400
MAX_MONTHS = 100 * 12
END_OF_TIME = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

_DURATION = re.compile(
    r"([+-]?)P(?:(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?|(\d+)W)",
    re.ASCII,
)
_BARE_WEEKS = re.compile(r"(\d+)W", re.ASCII)
_INSTANT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d*)?Z?", re.ASCII)
_PLAIN_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)  # as nearly all are written
_MAX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time: whole `seconds` (days and weeks included) and calendar `months` (years included).

    Both parts have the same sign. A negative duration is legal for ramp-up and recovery only (EVT-19); zero
    means open-ended for an event and an availability, one shot for a report (EVT-22, OPT-10, RPT-16).
    """

    seconds: int
    months: int = 0

    def __post_init__(self) -> None:
        if self.seconds * self.months < 0:
            raise ValueError(f"parts of a duration differ in sign: {self.months} months, {self.seconds} s")
        if abs(self.seconds) > MAX_SECONDS or abs(self.months) > MAX_MONTHS:
            raise ValueError(f"duration is longer than 100 years: {self.months} months, {self.seconds} s")

    @classmethod
    def of(cls, delta: timedelta) -> "Duration":
        """The duration of a timedelta; a fraction of a second is refused (the wire has whole numbers)."""
        if delta.microseconds:
            raise ValueError(f"a duration has whole seconds, not {delta}")
        return cls(delta.days * 86_400 + delta.seconds)

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """The duration that an ISO 8601 text spells; InvalidData where it spells none.

        Accepted: sign, years, months, days, `T` with hours, minutes, seconds, or weeks (`P1W`, and `1W`
        because the schema's pattern has it so). Refused, although that pattern admits them: `P`, `PT`, `P5H`
        (Appendix D.11).
        """
        match = _DURATION.fullmatch(text)
        if match is None:
            bare = _BARE_WEEKS.fullmatch(text)
            if bare is None:
                raise InvalidData(f"not a duration: {text[:40]!r}", rule="GEN-07")
            return cls._bounded(0, _number(bare[1]) * 604_800, text)
        parts = match.groups()[1:]
        if not any(part is not None for part in parts):
            raise InvalidData(f"duration without a number: {text[:40]!r}", rule="GEN-07")
        years, months, days, hours, minutes, seconds, weeks = (_number(part) for part in parts)
        total = ((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + seconds
        sign = -1 if match[1] == "-" else 1
        return cls._bounded(sign * (years * 12 + months), sign * total, text)

    @classmethod
    def _bounded(cls, months: int, seconds: int, text: str) -> "Duration":
        try:
            return cls(seconds, months)
        except ValueError:
            raise InvalidData(f"duration is longer than 100 years: {text[:40]!r}", rule="GEN-07") from None

    def __str__(self) -> str:
        """ISO 8601 text that the schema accepts: `P7D`, never `P1W` (GEN-07)."""
        negative = self.seconds < 0 or self.months < 0
        days, rest = divmod(abs(self.seconds), 86_400)
        hours, rest = divmod(rest, 3600)
        minutes, seconds = divmod(rest, 60)
        years, months = divmod(abs(self.months), 12)
        date = _parts((years, "Y"), (months, "M"), (days, "D"))
        time = _parts((hours, "H"), (minutes, "M"), (seconds, "S"))
        if not date and not time:
            return "PT0S"
        return ("-P" if negative else "P") + date + ("T" + time if time else "")

    def __bool__(self) -> bool:
        return bool(self.seconds or self.months)

    @property
    def is_negative(self) -> bool:
        """Whether it points into the past."""
        return self.seconds < 0 or self.months < 0

    def to_timedelta(self) -> timedelta:
        """The same as a timedelta; ValueError where it has calendar months, whose length is not fixed."""
        if self.months:
            raise ValueError(f"{self} has calendar months: use after(start)")
        return timedelta(seconds=self.seconds)

    def after(self, start: datetime) -> datetime:
        """The instant this long after `start`; the 31st becomes the last day of a shorter month.

        Clamped to the year 9999, so that no message can make the calendar overflow.
        """
        try:
            return _add_months(start, self.months) + timedelta(seconds=self.seconds)
        except (OverflowError, ValueError):
            return END_OF_TIME if not self.is_negative else datetime.min.replace(tzinfo=UTC)


ZERO = Duration(0)


def _number(digits: str | None) -> int:
    if digits is None:
        return 0
    if len(digits) > _MAX_DIGITS:
        raise InvalidData(f"number with {len(digits)} digits in a duration", rule="GEN-07")
    return int(digits)


def _parts(*parts: tuple[int, str]) -> str:
    return "".join(f"{number}{letter}" for number, letter in parts if number)


def _add_months(start: datetime, months: int) -> datetime:
    if not months:
        return start
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    first_of_next = datetime(year + (month == 11), (month + 1) % 12 + 1, 1, tzinfo=UTC)
    last_day = (first_of_next - timedelta(days=1)).day
    return start.replace(year=year, month=month + 1, day=min(start.day, last_day))


def parse_instant(text: str) -> datetime:
    """The instant that a date-time text of the schema spells, aware UTC; InvalidData where it spells none.

    A missing `Z` is read as UTC (Appendix D.12; the checker warns by GEN-06), a fraction is cut off,
    `24:00:00` is the next midnight and `:60` the start of the next minute. A numeric offset is refused, as
    the schema does.
    """
    if _PLAIN_INSTANT.fullmatch(text):
        with suppress(ValueError):  # 24:00:00, :60, or no such day
            return datetime.fromisoformat(text)
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise InvalidData(f"not a UTC date-time: {text[:40]!r}", rule="GEN-06")
    year, month, day, hour, minute, second = (int(part) for part in match.groups())
    carry = timedelta(0)
    if hour == 24 and minute == second == 0:
        hour, carry = 0, timedelta(days=1)
    if second == 60:
        second, carry = 59, timedelta(seconds=1)
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC) + carry
    except (ValueError, OverflowError):
        raise InvalidData(f"no such instant: {text[:40]!r}", rule="GEN-06") from None


def format_instant(instant: datetime) -> str:
    """`2026-03-01T17:00:00Z`; fractions are cut off, a naive datetime is refused (GEN-06)."""
    if instant.tzinfo is not UTC:
        if instant.tzinfo is None:
            raise ValueError(f"naive datetime: {instant.isoformat()}")
        instant = instant.astimezone(UTC)
    return instant.replace(tzinfo=None, microsecond=0).isoformat() + "Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivePeriod:
    """A start and a length: of an event, of an availability, or of the time that a report request asks for.

    The last four belong to events only (OPT-03, RPT-14). `start_after` is the width of the random start
    (VEX-18).
    """

    dtstart: datetime = field(metadata=xml("xcal:dtstart/xcal:date-time"))
    duration: Duration = field(metadata=xml("xcal:duration/xcal:duration"))
    start_after: Duration | None = field(
        default=None, metadata=xml("xcal:tolerance/xcal:tolerate/xcal:startafter")
    )
    notification: Duration | None = field(default=None, metadata=xml("ei:x-eiNotification/xcal:duration"))
    ramp_up: Duration | None = field(default=None, metadata=xml("ei:x-eiRampUp/xcal:duration"))
    recovery: Duration | None = field(default=None, metadata=xml("ei:x-eiRecovery/xcal:duration"))

    @property
    def end(self) -> datetime | None:
        """End of the period without randomisation (exclusive), None where it is open-ended (duration 0)."""
        return self.duration.after(self.dtstart) if self.duration else None
