"""What somebody types to ask for an event: local times, kW, names; checked field by field."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from aggregator.dashboard.marked import marked as _
from aggregator.dispatch import ReductionRequest
from aggregator.event_template import Content
from aggregator.profile import Period
from aggregator.request import Asked

MOST_NODES = 100  # named in the form; more by the API
MOST_KW = Decimal(1_000_000)
FARTHEST = timedelta(days=366)
LONGEST_NAME = 128
_KW = re.compile(r"[+-]?[0-9]{1,20}(?:[.,][0-9]{0,20})?|[.,][0-9]{1,20}")
_HIDDEN = frozenset({"Cc", "Cf", "Zl", "Zp"})  # control characters, and those that turn text around


def _day(typed: object) -> date:
    try:
        return date.fromisoformat(str(typed).strip())
    except ValueError:
        raise ValueError(_("This is no date: write it as 2026-01-31.")) from None


def _clock(typed: object) -> time:
    try:
        found = time.fromisoformat(str(typed).strip())
    except ValueError:
        raise ValueError(_("This is no time: write it as 17:30.")) from None
    if found.tzinfo is not None or found.second or found.microsecond:
        raise ValueError(_("Hours and minutes are enough."))
    return found


def _power(typed: object) -> Decimal | None:
    return _kilowatts(str(typed)) if str(typed or "").strip() else None


def _nodes(typed: object) -> dict[str, int] | None:
    lines = [line.strip() for line in str(typed or "").split("\n") if line.strip()]
    if len(lines) > MOST_NODES:
        raise ValueError(_("At most 100 nodes can be named here. The API takes more."))
    found: dict[str, int] = {}
    for line in lines:
        name, equals, kw = (part.strip() for part in line.rpartition("="))
        if not equals or not name:
            raise ValueError(_("Write one node in each line, as in: node-1 = 4.5"))
        if len(name) > LONGEST_NAME or any(unicodedata.category(letter) in _HIDDEN for letter in name):
            raise ValueError(_("A name has characters that cannot be seen, or too many."))
        if name in found:
            raise ValueError(_("A node is named twice."))
        found[name] = int(_kilowatts(kw) * 1000)
    return found or None


def _kilowatts(typed: str) -> Decimal:
    if not _KW.fullmatch(typed.strip()):  # not all that Decimal reads: 1_000, 1e3, digits of other scripts
        raise ValueError(_("This is no number of kW."))
    kw = Decimal(typed.strip().replace(",", "."))
    if kw < Decimal("0.001"):
        raise ValueError(_("At least one watt must be asked for: 0.001 kW."))
    if kw > MOST_KW:
        raise ValueError(_("At most 1,000,000 kW can be asked for."))
    return kw


class _Shape(BaseModel):
    """The fields that no day has, each for itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Annotated[time, BeforeValidator(_clock)]
    end: Annotated[time, BeforeValidator(_clock)]
    power_kw: Annotated[Decimal | None, BeforeValidator(_power)] = None
    nodes: Annotated[dict[str, int] | None, BeforeValidator(_nodes)] = None
    test_event: Annotated[bool, BeforeValidator(lambda typed: typed == "yes")] = False

    def problems(self) -> dict[str, str]:
        """What is wrong with what is asked for."""
        if self.power_kw is not None and self.nodes is not None:
            return {"power_kw": _("Give the power or name nodes, not both.")}
        if self.power_kw is None and self.nodes is None:
            return {"power_kw": _("How much less power is needed?")}
        return {}


class _Typed(_Shape):
    """All fields."""

    day: Annotated[date, BeforeValidator(_day)]


@dataclass(frozen=True, slots=True)
class EventEntry:
    """The fields as values; `nodes` are W by name, None where they are to be chosen."""

    period: Period
    power_w: int
    nodes: Mapping[str, int] | None
    test_event: bool

    @property
    def at_fault(self) -> str:
        """The field that is to blame where the request as a whole is refused."""
        return "nodes" if self.nodes else "power_kw"

    def asked(self, key: str | None) -> Asked:
        """The same as a request."""
        return Asked(ReductionRequest(self.period, self.power_w), self.nodes, self.test_event, key)


def errors_of(
    typed: Mapping[str, str], zone: ZoneInfo, now: datetime, sent: Period | None = None
) -> tuple[EventEntry | None, dict[str, str]]:
    """The entry, or a sentence for each field that cannot be taken; times that are typed as they are shown of
    the event that was `sent` mean its own instants, in an hour that comes twice and to the second.
    """
    try:
        fields = _Typed.model_validate(dict(typed))
    except ValidationError as error:
        return None, _sentences(error)
    problems: dict[str, str] = {}
    period = _period(fields, zone, now, sent, problems)
    problems |= fields.problems()
    if period is None or problems:
        return None, problems
    watts = sum((fields.nodes or {}).values()) or int((fields.power_kw or Decimal(0)) * 1000)
    return EventEntry(period, watts, fields.nodes, fields.test_event), {}


def content_of(typed: Mapping[str, str], zone: ZoneInfo) -> tuple[Content | None, dict[str, str]]:
    """The same of a template, which has no day."""
    try:
        fields = _Shape.model_validate(dict(typed))
    except ValidationError as error:
        return None, _sentences(error)
    if problems := fields.problems():
        return None, problems
    watts = None if fields.power_kw is None else int(fields.power_kw * 1000)
    return Content(fields.start, fields.end, zone.key, watts, fields.nodes, fields.test_event), {}


def typed_of(content: Content, zone: ZoneInfo, day: date) -> dict[str, str]:
    """A template as one would type it in a zone; the day is that of the start where it was written."""
    start, end = (
        datetime.combine(day, clock, ZoneInfo(content.zone)).astimezone(zone)
        for clock in (content.start, content.end)
    )
    lines = [f"{name} = {kilowatts(watts)}" for name, watts in sorted((content.nodes or {}).items())]
    return {
        "day": f"{start:%Y-%m-%d}",
        "start": f"{start:%H:%M}",
        "end": f"{end:%H:%M}",
        "power_kw": "" if content.power_w is None else kilowatts(content.power_w),
        "nodes": "\n".join(lines),
        "test_event": "yes" if content.test_event else "",
    }


def kilowatts(power_w: int) -> str:
    """W as kW are typed."""
    return f"{(Decimal(power_w) / 1000).normalize():f}"


def _sentences(error: ValidationError) -> dict[str, str]:
    return {str(one["loc"][0]): one["msg"].removeprefix("Value error, ") for one in error.errors()}


def _period(
    fields: _Typed, zone: ZoneInfo, now: datetime, sent: Period | None, problems: dict[str, str]
) -> Period | None:
    """The period in UTC; an end at or before the start is on the next day."""
    try:
        start, end = _limits(fields, zone, sent)
    except OverflowError:
        problems["day"] = _("That day is too far away.")
        return None
    if start is None or end is None:
        field = "start" if start is None else "end"
        problems[field] = _("This time does not exist on that day: the clocks are put forward.")
    elif start < now:
        problems["start"] = _("This has passed.")
    elif start - now > FARTHEST:
        problems["day"] = _("That day is too far away.")
    elif not timedelta(0) < end - start <= timedelta(days=1):
        problems["end"] = _("An event lasts a day at most.")
    else:
        return Period(start, end)
    return None


def _limits(fields: _Typed, zone: ZoneInfo, sent: Period | None) -> tuple[datetime | None, datetime | None]:
    """Start and end; None where the clocks leave the time out."""
    began = ended = None
    if sent is not None:
        began, ended = _as_shown(sent.start, zone), _as_shown(sent.end, zone)
        if (began, ended.time()) == (datetime.combine(fields.day, fields.start), fields.end):
            return sent.start, sent.end
    last = fields.day if fields.end > fields.start else fields.day + timedelta(days=1)
    start = _instant(fields.day, fields.start, zone)
    if sent is not None and began == datetime.combine(fields.day, fields.start):
        start = sent.start
    end = _instant(last, fields.end, zone, start)
    if sent is not None and ended == datetime.combine(last, fields.end):
        end = sent.end
    return start, end


def _as_shown(instant: datetime, zone: ZoneInfo) -> datetime:
    """The local time as a form has it."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0, second=0, microsecond=0)


def _instant(day: date, clock: time, zone: ZoneInfo, after: datetime | None = None) -> datetime | None:
    """The first instant with this local time, of two the later one where only that is `after` something; None
    where the clocks leave it out.
    """
    local = datetime.combine(day, clock)
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(zone).replace(tzinfo=None, fold=0) != local:
        return None
    return second if after is not None and first <= after < second else first
