"""What is said of events over the operator's API: what may be asked, and how it is answered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from vtn.api_event_body import ContentFields, EventContent, Number, SignalBody
from vtn.api_route import Answer, At, Body, DurationText, Id, Instant, Query, Text

MAX_VENS = 10_000
EventId = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\s\x00-\x1f\x7f\uFFFE\uFFFF/?#%]+$")
]


class VenPart(Body):
    """A VEN, and which of its resources are meant."""

    ven: Id
    resource_id: list[Id] = Field(min_length=1)


class CreateBody(ContentFields):
    """A new event, whole or from a programme; the same `event_id` with the same content is no second one."""

    event_id: EventId | None = Field(
        default=None, description="Given, the request may be repeated safely; made here where it is left out."
    )
    vens: list[Id | VenPart] = Field(min_length=1, max_length=MAX_VENS, description="Ids or names.")
    start: Instant
    duration: DurationText | None = None
    signals: list[SignalBody] | None = Field(default=None, min_length=1, max_length=64)
    programme: Id | None = Field(default=None, description="Key of a template; takes the place of `signals`.")
    values: dict[Id, list[Number]] | None = Field(
        default=None,
        description="For a programme: one number for each interval, by signal name (`LOAD_DISPATCH`, or"
        " `LOAD_DISPATCH/delta` where there are several). SIMPLE level 1 where it is left out.",
    )
    currency: str = Field(default="EUR", pattern="^[A-Z]{3}$", description="Of the programme's prices.")
    overlap: Literal["refuse", "warn"] = Field(
        default="refuse",
        description="What becomes of an event that overlaps with another of its market context; overlaps with"
        " events of other market contexts are warnings always.",
    )
    past_start: Literal["refuse", "warn"] = Field(
        default="refuse", description="What becomes of an event that should have begun already."
    )

    @model_validator(mode="after")
    def _one_way(self) -> CreateBody:
        if (self.signals is None) == (self.programme is None):
            raise ValueError("give either signals or a programme")
        if self.signals is not None and self.duration is None:
            raise ValueError("signals need a duration")
        if self.values is not None and self.programme is None:
            raise ValueError("values belong to a programme; signals have intervals")
        return self


class ModifyBody(ContentFields):
    """What shall change; a field that is left out stays, null takes it away."""

    vens: list[Id] | None = Field(
        default=None, min_length=1, max_length=MAX_VENS, description="All that have it where it is left out."
    )
    start: Instant | None = None
    duration: DurationText | None = None
    signals: list[SignalBody] | None = Field(default=None, min_length=1, max_length=64)
    reason: Text | None = Field(default=None, description="Told to the VENs.")
    overlap: Literal["refuse", "warn"] = "refuse"


class CancelBody(Body):
    """Whose event is taken back, and why."""

    vens: list[Id] | None = Field(
        default=None, min_length=1, max_length=MAX_VENS, description="All that have it where it is left out."
    )
    reason: Text | None = Field(default=None, description="Told to the VENs.")


class ListQuery(Query):
    """Which events are listed."""

    limit: int = Field(default=100, ge=1, le=1000)
    after: str | None = Field(default=None, description="Id of the last event of the page before.")
    ven: str | None = Field(default=None, description="Only events of this VEN (id or name).")
    current: bool = Field(default=False, description="Only what is neither over nor cancelled.")


class ShowQuery(Query):
    """Whose version of the event is shown."""

    ven: str | None = Field(default=None, description="Id or name; the first that has it where left out.")


class WarningView(Answer):
    """Something that the operator should know; the event was published all the same."""

    ven_id: str
    kind: str = Field(
        description="`overlap`, `past_start`, `notice`, `not_registered`, `opted_out` or `poll_period`."
    )
    detail: str
    event_id: str | None = Field(default=None, description="The other event, where two overlap.")


class VenState(Answer):
    """How a VEN stands to an event."""

    ven_id: str
    ven_name: str
    modification_number: int
    status: str = Field(description="`far`, `near`, `active`, `completed` or `cancelled`, now.")
    response: str = Field(
        description="`optIn`, `optOut`, `waiting`, `no response` (its time has passed), or `not expected`."
    )
    response_code: str | None
    published_at: At
    offered_at: At | None
    delivered_at: At | None
    responded_at: At | None
    respond_by: At | None
    cancelled_at: At | None


class EventView(Answer):
    """An event, and how each of its VENs stands to it."""

    event_id: str
    content_of: str = Field(description="Id of the VEN whose version `event` is.")
    event: EventContent
    vens: list[VenState]
    warnings: list[WarningView] = []


class EventRow(Answer):
    """An event in a list."""

    event_id: str
    market_context: str
    start: Instant
    duration: DurationText
    status: str
    priority: int | None
    test_event: bool
    vens: int
    opted_in: int
    opted_out: int
    cancelled: int


class EventPage(Answer):
    """Events by id; `next` is `after` of the next page."""

    events: list[EventRow]
    next: str | None


CREATE_EXAMPLE = {
    "event_id": "peak-2026-03-02",
    "vens": ["harbour-cold-store", {"ven": "mill-street-bakery", "resource_id": ["oven-1"]}],
    "market_context": "http://example.org/programmes/peak",
    "start": "2026-03-02T17:00:00Z",
    "duration": "PT2H",
    "notification": "PT30M",
    "ramp_up": "PT15M",
    "priority": 1,
    "signals": [
        {"signal_name": "SIMPLE", "signal_type": "level", "intervals": [{"value": 1}]},
        {
            "signal_name": "LOAD_DISPATCH",
            "signal_type": "delta",
            "unit": {"kind": "powerReal", "scale": "k"},
            "intervals": [{"duration": "PT1H", "value": -500}, {"duration": "PT1H", "value": -250}],
        },
    ],
}
