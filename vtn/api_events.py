"""Events: created for many VENs in one transaction, modified, cancelled, shown.

Rules: all or nothing; `admit` and the rules of the standard are asked by `vtn.event` for each VEN; overlaps
(EVT-33) and starts in the past are refused or warned of as the operator wishes, and named; a repeat of a
create with the same id and content is answered as the first.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import ValidationError

from openadr import Event, ProtocolError
from openadr.timeline import event_status
from vtn import api_event_advice, availability, event, event_content, event_list, publication, registration
from vtn.api_event_body import EventContent, content_of, event_of
from vtn.api_event_model import (
    CREATE_EXAMPLE,
    CancelBody,
    CreateBody,
    EventPage,
    EventRow,
    EventView,
    ListQuery,
    ModifyBody,
    ShowQuery,
    VenPart,
    VenState,
    WarningView,
)
from vtn.api_programmes import from_programme
from vtn.api_route import Answer, Call, Route
from vtn.api_vens import by_id_or_name, find
from vtn.errors import DuplicateEvent, NotAdmitted, UnknownObject
from vtn.problem import CONFLICT, INVALID, NOT_ADMITTED, FieldProblem, Problem, invalid, shown
from vtn.registration import Ven

CONTENT = tuple(EventContent.model_fields)
OF_VENS = {"OPT-18", "REG-07"}  # rules of the standard that stand against a VEN, not against the event
FIELDS = {"EVT-04": "start", "EVT-26": "signals"}  # where the text of the rule names no signal


async def _create(call: Call) -> Answer:
    body: CreateBody = call.body
    event_id = body.event_id or f"event-{secrets.token_hex(8)}"
    await _check_owner(call, event_id)
    market_context = body.market_context or call.office.market_context
    if market_context is None:
        raise Problem.field("market_context", None, "is needed: this server has none of its own")
    made = _made(body, event_id, market_context, call)
    chosen = await _vens(call, body.vens)
    vens = {ven.ven_id: ven for ven, _ in chosen}
    given = {ven.ven_id: _own(made, resources) for ven, resources in chosen}
    had = await publication.having(call.conn, event_id, list(given))
    fresh = {
        ven_id: own for ven_id, own in given.items() if ven_id not in had
    }  # a repeat is not judged again
    warnings = await api_event_advice.of_new(
        call, fresh, vens, overlap=body.overlap, past_start=body.past_start
    )
    await _publish(call, given, vens)
    return await _view(call, event_id, warnings=warnings)


def _own(made: Event, resources: tuple[str, ...]) -> Event:
    """The event for a VEN of which only some resources are meant."""
    if not resources:
        return made
    return _sendable(replace(made, target=replace(made.target, resource_id=resources)))


def _made(body: CreateBody, event_id: str, market_context: str, call: Call) -> Event:
    """The event of the body; a problem names the field that cannot be."""
    if body.programme is not None:
        return _sendable(from_programme(body, event_id, market_context, call.now))
    content = EventContent.model_validate({name: getattr(body, name) for name in CONTENT})
    return _event(content, event_id, market_context, call)


def _event(content: EventContent, event_id: str, market_context: str, call: Call) -> Event:
    try:
        made = event_of(content, event_id, market_context, event_content.whole(call.now))
    except ValueError as error:
        raise Problem.field("signals", None, str(error)) from None
    return _sendable(made)


def _sendable(made: Event) -> Event:
    """The event, which the schema takes as it will be sent: what could not be read again is never kept."""
    try:
        event_content.read(event_content.write(made))
    except (ValueError, ProtocolError) as error:
        raise Problem(INVALID, f"the schema does not allow it: {error}") from None
    return made


async def _vens(call: Call, named: Sequence[str | VenPart]) -> list[tuple[Ven, tuple[str, ...]]]:
    """The VENs with their resources; one that is named twice is a mistake."""
    known = await by_id_or_name(call.conn)
    found: dict[str, tuple[Ven, tuple[str, ...]]] = {}
    for index, part in enumerate(named):
        name, resources = (part, ()) if isinstance(part, str) else (part.ven, tuple(part.resource_id))
        ven = known.get(name)
        if ven is None:
            raise Problem.field(f"vens[{index}]", name, f"no VEN has the id or name {name!r}")
        if ven.ven_id in found:
            raise Problem.field(f"vens[{index}]", name, "is named twice")
        found[ven.ven_id] = (ven, resources)
    return list(found.values())


async def _publish(call: Call, given: Mapping[str, Event], vens: Mapping[str, Ven]) -> None:
    try:
        await publication.publish_all(call.conn, given, call.now, _admit(call))
    except NotAdmitted as error:
        ven_id = error.ven_id or next(iter(given))
        index = list(given).index(ven_id)
        raise _refused(error, given[ven_id], vens[ven_id], f"vens[{index}]") from error
    except DuplicateEvent as error:
        event_id = next(iter(given.values())).event_id
        raise Problem.field("event_id", event_id, str(error), CONFLICT) from error


def _admit(call: Call) -> publication.Admit:
    return availability.unless_opted_out(call.office.opt, call.office.admit)


def _refused(error: NotAdmitted, made: Event, ven: Ven, field: str) -> Problem:
    """A rule of the standard concerns the event's fields, any other clause the VEN."""
    group, _, number = error.clause.partition("-")
    if group.isupper() and number.isdigit() and error.clause not in OF_VENS:
        fault = FieldProblem(field=_field_of(error, made), detail=error.text, rule=error.clause)
        return Problem(INVALID, str(error), [fault], clause=error.clause)
    rule = error.clause if error.clause in OF_VENS else None
    fault = FieldProblem(field=field, value=shown(ven.ven_name), detail=error.text, rule=rule)
    return Problem(NOT_ADMITTED, f"{ven.ven_name}: {error}", [fault], clause=error.clause)


def _field_of(error: NotAdmitted, made: Event) -> str:
    if error.clause in FIELDS:
        return FIELDS[error.clause]
    for index, signal in enumerate(made.signals):
        if f"signal {signal.signal_id}:" in error.text or f"signal {signal.signal_id}," in error.text:
            return f"signals[{index}]"
    return "baseline" if ", baseline " in error.text else "event"


async def _modify(call: Call) -> Answer:
    body: ModifyBody = call.body
    event_id = call.path["event_id"]
    await _check_owner(call, event_id)
    warnings: list[WarningView] = []
    versions = await event_list.versions(call.conn, event_id)
    for ven in await _having(call, event_id, versions, body.vens):
        old = versions[ven.ven_id]
        new = _changed(old, body, call)
        if not event_content.same_content(old, new):
            warnings += await api_event_advice.of_changed(call, new, ven, overlap=body.overlap)
        await _modified(call, new, ven)
        await asyncio.sleep(0)  # others have their turn between the VENs
    return await _view(call, event_id, warnings=warnings)


def _changed(old: Event, body: ModifyBody, call: Call) -> Event:
    """The stored event with the given fields in place of its own."""
    given = body.model_fields_set & set(CONTENT)
    values = {name: getattr(content_of(old), name) for name in CONTENT}
    if "duration" in given and "signals" not in given:  # what lasted all of the event goes on doing so
        for signal in values["signals"]:
            if len(signal.intervals) == 1:
                signal.intervals[0].duration = None
    values |= {name: getattr(body, name) for name in given}
    try:
        content = EventContent.model_validate(values)
    except ValidationError as error:
        raise invalid(error) from error
    new = _event(content, old.event_id, old.descriptor.market_context, call)
    descriptor = replace(new.descriptor, modification_reason=body.reason)
    return replace(new, descriptor=descriptor, target=replace(new.target, ven_id=old.target.ven_id))


async def _modified(call: Call, new: Event, ven: Ven) -> None:
    try:
        await event.modify(call.conn, new, ven.ven_id, call.now, _admit(call))
    except NotAdmitted as error:
        raise _late(error) or _refused(error, new, ven, "vens") from error


def _late(error: NotAdmitted) -> Problem | None:
    """The past cannot be changed: what is there stands against it, not a field."""
    return Problem(CONFLICT, str(error), clause=error.clause) if error.clause == "EVT-04" else None


async def _cancel(call: Call) -> Answer:
    body: CancelBody = call.body
    event_id = call.path["event_id"]
    await _check_owner(call, event_id)
    versions = await event_list.versions(call.conn, event_id)
    for ven in await _having(call, event_id, versions, body.vens):
        try:
            await event.cancel(call.conn, event_id, ven.ven_id, call.now, body.reason)
        except NotAdmitted as error:
            raise Problem(CONFLICT, str(error), clause=error.clause) from error
    return await _view(call, event_id)


async def _having(
    call: Call, event_id: str, having: Mapping[str, Event], named: Sequence[str] | None
) -> list[Ven]:
    """The VENs that have the event, all or those that are named; UnknownObject where there are none."""
    if not having:
        raise UnknownObject(f"there is no event {event_id!r}")
    if named is None:
        return [ven for ven in await registration.vens(call.conn) if ven.ven_id in having]
    chosen = [ven for ven, _ in await _vens(call, named)]
    for index, ven in enumerate(chosen):
        if ven.ven_id not in having:
            raise Problem.field(f"vens[{index}]", named[index], f"has no event {event_id!r}")
    return chosen


async def _check_owner(call: Call, event_id: str) -> None:
    """An event that somebody else decides about is left to him: he keeps accounts of it."""
    owner = await call.office.owner(call.conn, event_id)
    if owner is not None:
        raise Problem.field("event_id", event_id, owner, CONFLICT)


async def _show(call: Call) -> Answer:
    query: ShowQuery = call.query
    whose = None if query.ven is None else (await find(call.conn, query.ven)).ven_id
    return await _view(call, call.path["event_id"], whose)


async def _view(
    call: Call, event_id: str, whose: str | None = None, warnings: Sequence[WarningView] = ()
) -> EventView:
    versions = await event_list.versions(call.conn, event_id)
    chosen = whose or next(iter(versions), "")
    if chosen not in versions:
        of_whom = f" of the VEN {whose!r}" if versions else ""
        raise UnknownObject(f"there is no event {event_id!r}{of_whom}")
    states = await event.event_states(call.conn, event_id)
    names = {ven.ven_id: ven.ven_name for ven in await registration.vens(call.conn)}
    vens = []
    for number, state in enumerate(states, 1):
        vens.append(_state(call, state, versions[state.ven_id], names[state.ven_id]))
        if number % publication.PER_TURN == 0:
            await asyncio.sleep(0)  # others have their turn
    return EventView(
        event_id=event_id,
        content_of=chosen,
        event=content_of(versions[chosen]),
        vens=vens,
        warnings=list(warnings),
    )


def _state(call: Call, state: event.EventState, own: Event, name: str) -> VenState:
    status = "cancelled" if state.cancelled_at else str(event_status(own, call.now))
    return VenState(
        ven_id=state.ven_id,
        ven_name=name,
        modification_number=state.modification_number,
        status=status,
        response=_response(state, call),
        response_code=state.response_code,
        published_at=state.published_at,
        offered_at=state.offered_at,
        delivered_at=state.delivered_at,
        responded_at=state.responded_at,
        respond_by=state.respond_by,
        cancelled_at=state.cancelled_at,
    )


def _response(state: event.EventState, call: Call) -> str:
    """EVT-40: an answer that is overdue is shown as such."""
    if state.opt is not None:
        return state.opt
    if state.respond_by is None:
        return "not expected"
    return "no response" if state.is_unanswered(call.now) else "waiting"


async def _list(call: Call) -> Answer:
    query: ListQuery = call.query
    ven_id = None if query.ven is None else (await find(call.conn, query.ven)).ven_id
    found = await event_list.events(
        call.conn,
        limit=query.limit + 1,
        after=query.after,
        ven_id=ven_id,
        current_at=call.now if query.current else None,
    )
    rows = [_row(each, call) for each in found[: query.limit]]
    more = len(found) > query.limit
    return EventPage(events=rows, next=rows[-1].event_id if more else None)


def _row(listed: event_list.Listed, call: Call) -> EventRow:
    shown = listed.event
    all_cancelled = listed.cancelled == listed.vens
    return EventRow(
        event_id=shown.event_id,
        market_context=shown.descriptor.market_context,
        start=shown.dtstart,
        duration=shown.active_period.duration,
        status="cancelled" if all_cancelled else str(event_status(shown, call.now)),
        priority=shown.descriptor.priority,
        test_event=shown.is_test,
        vens=listed.vens,
        opted_in=listed.opted_in,
        opted_out=listed.opted_out,
        cancelled=listed.cancelled,
    )


ROUTES = (
    Route(
        method="POST",
        path="/events",
        name="createEvent",
        summary="Publish an event to one VEN or many, to all of them or to none.",
        handle=_create,
        answer=EventView,
        body=CreateBody,
        status=201,
        refusals=(409,),
        example=CREATE_EXAMPLE,
    ),
    Route(
        method="GET",
        path="/events",
        name="listEvents",
        summary="Events by id.",
        handle=_list,
        answer=EventPage,
        query=ListQuery,
    ),
    Route(
        method="GET",
        path="/events/{event_id}",
        name="showEvent",
        summary="An event, and how each VEN stands to it.",
        handle=_show,
        answer=EventView,
        query=ShowQuery,
    ),
    Route(
        method="PATCH",
        path="/events/{event_id}",
        name="modifyEvent",
        summary="Change an event that is not over: its VENs get a new version.",
        handle=_modify,
        answer=EventView,
        body=ModifyBody,
        refusals=(409,),
        example={"duration": "PT2H", "priority": 2, "reason": "more wind than forecast"},
    ),
    Route(
        method="POST",
        path="/events/{event_id}/cancel",
        name="cancelEvent",
        summary="Take an event back; its VENs are told at their next polls.",
        handle=_cancel,
        answer=EventView,
        body=CancelBody,
        refusals=(409,),
        example={"reason": "the line is back"},
    ),
)
