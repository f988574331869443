"""What a route of the operator's API is: its place, its models and its handler; OpenAPI is made of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from aiohttp import hdrs
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.functional_validators import BeforeValidator, PlainValidator
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import Duration, Event
from openadr.errors import InvalidData
from openadr.interval import format_instant
from vtn.opt_policy import OptPolicies
from vtn.publication import Admit

Owner = Callable[[AsyncConnection, str], Awaitable[str | None]]
Judge = Callable[[AsyncConnection, Mapping[str, Event], datetime], Awaitable[None]]


class Body(BaseModel):
    """What the operator sends: unknown fields are refused, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """What stands behind the question mark: unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """What the operator is answered."""


async def all_is_well(_conn: AsyncConnection, _events: Mapping[str, Event], _now: datetime) -> None:
    """The `Judge` that has nothing against any event."""


@dataclass(frozen=True, slots=True)
class Office:
    """What the handlers know of the process. `admit` is asked before every event but a cancellation, `judge`
    once before about all the VENs (by id) that an event is given to or changed for; both raise NotAdmitted.

    `owner` says who else decides about an event (a sentence), None where nobody does; `contacts` when VENs
    spoke, as far as the database does not know it yet; `clock_skews` how far their clocks are ahead.
    `opt` and `poll_period_s` are settings of the server.
    """

    admit: Admit
    clock: Callable[[], datetime]
    contacts: Callable[[], Mapping[str, datetime]]
    owner: Owner
    market_context: str | None = None
    clock_skews: Callable[[], Mapping[str, timedelta]] = dict
    opt: OptPolicies = field(default_factory=OptPolicies)
    poll_period_s: int | None = None
    judge: Judge = all_is_well


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `body` and `query` are of the route's models; what is written to `conn` is durable before
    the answer, or undone.
    """

    office: Office
    conn: AsyncConnection
    now: datetime
    path: Mapping[str, str]
    body: Any
    query: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation. `example` is a body that works; `refusals` are statuses beside the usual ones.

    `handle` gets a `Call`, or what more the office that serves it knows. `parameters` says what names in the
    path mean; `passing` are fields of the answer that change by themselves, such as the last contact. What
    answers files names their media types in `files`; `answer` is then the model of one that is JSON.
    """

    method: str
    path: str
    name: str
    summary: str
    handle: Callable[[Any], Awaitable[Answer]]
    answer: type[Answer]
    body: type[Body] | None = None
    query: type[Query] | None = None
    status: int = 200
    example: Mapping[str, Any] | None = None
    refusals: tuple[int, ...] = field(default=())
    parameters: Mapping[str, str] = field(default_factory=dict)
    passing: tuple[str, ...] = field(default=())
    files: tuple[str, ...] = field(default=())

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.method != hdrs.METH_GET


def _instant(value: object) -> object:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("a time is text such as 2026-01-20T17:00:00Z") from None


def _whole_utc(value: datetime) -> datetime:
    if value.microsecond:
        raise ValueError("a time has whole seconds")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time is in the years 1 to 9999 of UTC") from None


def _duration(value: object) -> Duration:
    if isinstance(value, Duration):
        return value
    if not isinstance(value, str):
        raise ValueError("a duration is text such as PT1H30M")
    try:
        return Duration.parse(value)
    except InvalidData as error:
        raise ValueError(error.description) from None


# what XML can hold: in ids no control characters, in texts for people lines and tabs
Id = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f\uFFFE\uFFFF]+$")
]
Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=250, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\uFFFE\uFFFF]+$"),
]
Instant = Annotated[
    AwareDatetime,
    BeforeValidator(_instant),
    AfterValidator(_whole_utc),
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-20T17:00:00Z"]}),
]
At = Annotated[
    datetime,
    PlainSerializer(lambda at: at.astimezone(UTC).isoformat().replace("+00:00", "Z"), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
DurationText = Annotated[
    Duration,
    PlainValidator(_duration),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "duration", "examples": ["PT1H"]}),
]
