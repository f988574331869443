"""How an event is shown: what it says, and how each of its VENs stands to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from openadr import Event
from openadr.timeline import event_status
from vtn import event, event_list, publication, registration
from vtn.api_event_body import content_of
from vtn.api_event_model import EventRow, EventView, VenState, WarningView
from vtn.api_route import Call
from vtn.errors import UnknownObject


async def view(
    call: Call, event_id: str, whose: str | None = None, warnings: Sequence[WarningView] = ()
) -> EventView:
    """The event, as the VEN `whose` has it; UnknownObject where there is none."""
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


def row(listed: event_list.Listed, call: Call) -> EventRow:
    """The event in a list."""
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
