"""Programmes: templates that the operator starts an event from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from openadr import Duration, Event
from vtn.api_event_body import ContentFields, EventContent, content_of, event_of
from vtn.api_event_model import CreateBody
from vtn.api_route import Answer, Call, DurationText, Route
from vtn.errors import UnknownObject
from vtn.problem import Problem
from vtn.programme import PROGRAMMES, Programme, SignalTemplate, draft
from vtn.programme_guide import GUIDES

DEFAULT_LEVEL = 1.0


class SignalView(Answer):
    """A signal that events of a programme may have."""

    signal_name: str
    signal_type: str
    unit: str | None


class ProgrammeView(Answer):
    """A template, and how such programmes are usually run."""

    key: str
    title: str
    purpose: str
    levels: str
    typical: str
    opt: str
    reports: str
    polling: str
    signals: list[SignalView]
    step: DurationText = Field(description="Usual length of an interval.")
    notice: DurationText
    start_after: DurationText | None
    ramp_up: DurationText | None
    device_classes: list[str]


class ProgrammeList(Answer):
    """All templates."""

    programmes: list[ProgrammeView]


def from_programme(body: CreateBody, event_id: str, market_context: str, now: datetime) -> Event:
    """The event of a template; what the body says itself goes before what the template says."""
    programme = PROGRAMMES.get(body.programme or "")
    if programme is None:
        text = f"there is no such programme; there are {', '.join(PROGRAMMES)}"
        raise Problem.field("programme", body.programme, text)
    values = _values(programme, body.values)
    made = draft(
        programme,
        values,
        event_id=event_id,
        market_context=market_context,
        dtstart=body.start,
        now=now.replace(microsecond=0),
        step=_step(body.duration, max(map(len, values.values()))),
        currency=body.currency,
    )
    given = body.model_fields_set & set(ContentFields.model_fields)
    changed = content_of(made).model_copy(update={name: getattr(body, name) for name in given})
    content = EventContent.model_validate(
        {name: getattr(changed, name) for name in EventContent.model_fields}
    )
    return event_of(content, event_id, market_context, made.descriptor.created_date_time)


def _values(
    programme: Programme, given: Mapping[str, Sequence[float]] | None
) -> dict[SignalTemplate, Sequence[float]]:
    """Numbers by signal: those that are given, beside them SIMPLE at level 1 where the programme has it."""
    found: dict[SignalTemplate, Sequence[float]] = {}
    for name, numbers in (given or {}).items():
        signal = _signal(programme, name)
        if signal is None:
            text = f"{programme.key} has {', '.join(_keys(programme))}"
            raise Problem.field(f"values.{name}", list(numbers), text)
        if not numbers:
            raise Problem.field(f"values.{name}", [], "needs at least one number")
        found[signal] = numbers
    lengths = {len(numbers) for numbers in found.values()}
    if len(lengths) > 1:
        raise Problem.field("values", given, f"each signal needs as many numbers, not {sorted(lengths)}")
    simple = _signal(programme, "SIMPLE")
    if simple is not None and simple not in found:
        found = {simple: [DEFAULT_LEVEL] * max([1, *lengths]), **found}
    if not found:
        raise Problem.field("values", None, f"{programme.key} needs numbers for {_keys(programme)[0]}")
    return found


def _signal(programme: Programme, name: str) -> SignalTemplate | None:
    wanted, _, kind = name.partition("/")
    for signal in programme.signals:
        if str(signal.name) == wanted and (not kind or str(signal.kind) == kind):
            return signal
    return None


def _keys(programme: Programme) -> list[str]:
    return [f"{signal.name}/{signal.kind}" for signal in programme.signals]


def _step(duration: Duration | None, count: int) -> timedelta | None:
    """The length of each of `count` intervals, None where the programme's own holds."""
    if duration is None:
        return None
    if duration.months or duration.seconds <= 0 or duration.seconds % count:
        text = f"cannot be parted into {count} equal intervals of whole seconds"
        raise Problem.field("duration", str(duration), text)
    return timedelta(seconds=duration.seconds // count)


def _view(programme: Programme) -> ProgrammeView:
    guide = GUIDES[programme.key]

    def duration(span: timedelta | None) -> Duration | None:
        return None if span is None else Duration.of(span)

    values: dict[str, Any] = {
        "key": programme.key,
        "title": programme.title,
        "signals": [
            SignalView(signal_name=signal.name, signal_type=signal.kind, unit=signal.unit)
            for signal in programme.signals
        ],
        "step": duration(programme.step),
        "notice": duration(programme.notice),
        "start_after": duration(programme.start_after),
        "ramp_up": duration(programme.ramp_up),
        "device_classes": list(programme.device_classes),
        **{name: getattr(guide, name) for name in guide.__slots__},
    }
    return ProgrammeView.model_validate(values)


async def _list(_call: Call) -> Answer:
    return ProgrammeList(programmes=[_view(programme) for programme in PROGRAMMES.values()])


async def _show(call: Call) -> Answer:
    programme = PROGRAMMES.get(call.path["programme"])
    if programme is None:
        raise UnknownObject(f"there is no programme {call.path['programme']!r}")
    return _view(programme)


ROUTES = (
    Route(
        method="GET",
        path="/programmes",
        name="listProgrammes",
        summary="Templates that an event can be made from.",
        handle=_list,
        answer=ProgrammeList,
    ),
    Route(
        method="GET",
        path="/programmes/{programme}",
        name="showProgramme",
        summary="One template, and how such programmes are usually run.",
        handle=_show,
        answer=ProgrammeView,
    ),
)
