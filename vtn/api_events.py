"""Events: created for many VENs in one transaction, modified and cancelled in one, shown.

Rules: all or nothing; `admit` and the rules of the standard are asked by `vtn.publication` and `vtn.revision`
for each VEN; overlaps (EVT-33) and starts in the past are refused or warned of as the operator wishes, and
named; whatever comes twice is answered as the first time.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import ValidationError

from openadr import Event, ProtocolError
from vtn import (
    api_event_advice,
    availability,
    event_content,
    event_list,
    publication,
    registration,
    revision,
)
from vtn.api_event_body import EventContent, content_of, event_of
from vtn.api_event_model import (
    CREATE_EXAMPLE,
    CancelBody,
    CreateBody,
    EventPage,
    EventView,
    ListQuery,
    ModifyBody,
    ShowQuery,
    VenPart,
)
from vtn.api_event_view import row, view
from vtn.api_programmes import from_programme
from vtn.api_route import Answer, Call, Route
from vtn.api_vens import by_id_or_name, find
from vtn.errors import DuplicateEvent, NotAdmitted, UnknownObject
from vtn.problem import CONFLICT, INVALID, NOT_ADMITTED, FieldProblem, Problem, invalid, shown
from vtn.registration import Ven

CONTENT = tuple(EventContent.model_fields)
PASSING = ("status", "response", "response_code", "offered_at", "delivered_at", "responded_at", "warnings")
"""What VENs and the time decide of an event."""
OF_VENS = {"OPT-18", "REG-07"}  # rules of the standard that stand against a VEN, not against the event
IN_SCHEMA = {"itemUnits": "signals", "itemDescription": "signals", "gml:": "target"}
"""Words of the schema, and the fields that they are made of."""
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
    await _judge(call, fresh)
    await _publish(call, given, vens)
    return await view(call, event_id, warnings=warnings)


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
        field = next((name for word, name in IN_SCHEMA.items() if word in str(error)), "event")
        raise Problem.field(field, None, f"the schema does not allow it: {error}") from None
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


async def _judge(call: Call, events: Mapping[str, Event]) -> None:
    """What stands against the event as a whole."""
    if not events:
        return
    try:
        await call.office.judge(call.conn, events, call.now)
    except NotAdmitted as error:
        raise Problem(NOT_ADMITTED, str(error), clause=error.clause) from error


def _admit(call: Call) -> publication.Admit:
    return availability.unless_opted_out(call.office.opt, call.office.admit)


def _refused(error: NotAdmitted, made: Event, ven: Ven, field: str, *, is_change: bool = False) -> Problem:
    """A rule of the standard concerns the event's fields, any other clause the VEN."""
    group, _, number = error.clause.partition("-")
    if group.isupper() and number.isdigit() and error.clause not in OF_VENS:
        fault = FieldProblem(field=_field_of(error, made), detail=error.text, rule=error.clause)
        detail = (
            f"{ven.ven_name}: {error}" if is_change else str(error)
        )  # a change is of each VEN's own version
        return Problem(INVALID, detail, [fault], clause=error.clause)
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
    versions = await event_list.versions(call.conn, event_id)
    vens = {ven.ven_id: ven for ven in await _having(call, event_id, versions, body.vens)}
    wanted = _changed({ven_id: versions[ven_id] for ven_id in vens}, body, call)
    changed = {ven_id: new for ven_id, (new, is_other) in wanted.items() if is_other}
    warnings = await api_event_advice.of_changed(call, changed, vens, overlap=body.overlap)
    given = {ven_id: new for ven_id, (new, _) in wanted.items()}
    await _judge(call, changed)
    try:
        await revision.modify_all(call.conn, given, call.now, _admit(call))
    except NotAdmitted as error:
        ven_id = error.ven_id or next(iter(given))
        field = _place(body.vens, list(vens), ven_id)
        late = _late(error, vens[ven_id], field)
        raise late or _refused(error, given[ven_id], vens[ven_id], field, is_change=True) from error
    return await view(call, event_id, warnings=warnings)


def _changed(versions: Mapping[str, Event], body: ModifyBody, call: Call) -> dict[str, tuple[Event, bool]]:
    """What each VEN is to have, and whether that is another event; one object where they had the same."""
    made: dict[Event, tuple[Event, bool]] = {}
    found = {}
    for ven_id, old in versions.items():
        bare = replace(old, target=replace(old.target, ven_id=()))
        if bare not in made:
            new = _with_changes(bare, body, call)
            made[bare] = new, not event_content.same_content(bare, new)
        found[ven_id] = made[bare]
    return found


def _with_changes(old: Event, body: ModifyBody, call: Call) -> Event:
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
    return replace(new, descriptor=replace(new.descriptor, modification_reason=body.reason))


def _place(named: Sequence[str] | None, ven_ids: Sequence[str], ven_id: str) -> str:
    """Where the body names the VEN."""
    return "vens" if named is None else f"vens[{ven_ids.index(ven_id)}]"


def _late(error: NotAdmitted, ven: Ven, field: str) -> Problem | None:
    """The past cannot be changed: what is there stands against it, not a field of the event."""
    if error.clause != "EVT-04":
        return None
    fault = FieldProblem(field=field, value=shown(ven.ven_name), detail=error.text, rule=error.clause)
    return Problem(CONFLICT, f"{ven.ven_name}: {error}", [fault], clause=error.clause)


async def _cancel(call: Call) -> Answer:
    body: CancelBody = call.body
    event_id = call.path["event_id"]
    await _check_owner(call, event_id)
    versions = await event_list.versions(call.conn, event_id)
    vens = {ven.ven_id: ven for ven in await _having(call, event_id, versions, body.vens)}
    try:
        await revision.cancel_all(call.conn, event_id, list(vens), call.now, body.reason)
    except NotAdmitted as error:
        ven_id = error.ven_id or next(iter(vens))
        late = _late(error, vens[ven_id], _place(body.vens, list(vens), ven_id))
        raise late or error from error
    return await view(call, event_id)


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
    return await view(call, call.path["event_id"], whose)


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
    rows = [row(each, call) for each in found[: query.limit]]
    more = len(found) > query.limit
    return EventPage(events=rows, next=rows[-1].event_id if more else None)


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
        refusals=(404,),
    ),
    Route(
        method="GET",
        path="/events/{event_id}",
        name="showEvent",
        summary="An event, and how each VEN stands to it.",
        handle=_show,
        answer=EventView,
        query=ShowQuery,
        passing=PASSING,
    ),
    Route(
        method="PATCH",
        path="/events/{event_id}",
        name="modifyEvent",
        summary="Change an event that is not over: all of its VENs get a new version, or none.",
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
        summary="Take an event back from all of its VENs or from none; they are told at their next polls.",
        handle=_cancel,
        answer=EventView,
        body=CancelBody,
        refusals=(409,),
        example={"reason": "the line is back"},
    ),
)
