"""What the operator should know of an event before VENs are given it: warnings, refusals where he wished so.

Overlaps with other events (EVT-33), a start in the past, notice that is not kept, a VEN that is not
registered, that has opted out for that time (OPT-18), or that polls too rarely for such events (POLL-07).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Literal

from openadr import Event
from vtn import availability, event, event_content
from vtn.api_event_model import WarningView
from vtn.api_route import Call, Office
from vtn.availability import Schedule
from vtn.event import Current
from vtn.problem import CONFLICT, FieldProblem, Problem, shown
from vtn.publication import PER_TURN
from vtn.registration import Ven

Policy = Literal["refuse", "warn"]
POLLS_IN_AN_EVENT = 5  # the poll period should be 20 % of the mean length of events at the most (R500)


async def of_new(
    call: Call, given: Mapping[str, Event], vens: Mapping[str, Ven], *, overlap: Policy, past_start: Policy
) -> list[WarningView]:
    """Warnings about new events, by the id of the VEN that gets each; Problem where the policies refuse."""
    warnings: list[WarningView] = []
    async for ven_id, known, schedules in _standing(call, list(given)):
        ven, made = vens[ven_id], given[ven_id]
        warnings += _overlaps(made, ven, known, overlap)
        warnings += _timing(call, made, ven, past_start)
        if not ven.registered:
            text = f"{ven.ven_name!r} is not registered, it gets the event when it is"
            warnings.append(WarningView(ven_id=ven_id, kind="not_registered", detail=text))
        warnings += _opted_out(call, made, ven, schedules)
        warnings += _rare_polls(call.office, made, ven, known)
    return warnings


async def of_changed(
    call: Call, changed: Mapping[str, Event], vens: Mapping[str, Ven], *, overlap: Policy
) -> list[WarningView]:
    """Warnings about new versions, by the id of the VEN that gets each; Problem where the policy refuses."""
    warnings: list[WarningView] = []
    async for ven_id, known, schedules in _standing(call, list(changed)):
        ven, made = vens[ven_id], changed[ven_id]
        warnings += _overlaps(made, ven, known, overlap)
        warnings += _opted_out(call, made, ven, schedules)
        warnings += _rare_polls(call.office, made, ven, known)
    return warnings


async def _standing(
    call: Call, ven_ids: Sequence[str]
) -> AsyncIterator[tuple[str, Current, Sequence[Schedule]]]:
    """What each VEN has to do already, and what it said of its time."""
    for start in range(0, len(ven_ids), PER_TURN):
        turn = ven_ids[start : start + PER_TURN]
        known = await event.current(call.conn, turn, call.now)
        schedules = await availability.schedules_of_all(call.conn, turn)
        for ven_id in turn:
            yield ven_id, known[ven_id], schedules.get(ven_id, ())
        await asyncio.sleep(0)  # others have their turn


def _overlaps(made: Event, ven: Ven, known: Current, policy: Policy) -> list[WarningView]:
    """The other events of the VEN at that time (EVT-33); of the same market context they may be refused."""
    warnings, refusals = [], []
    for other in known.overlapping(made):
        end = "open end" if other.end is None else other.end.isoformat()
        text = (
            f"{ven.ven_name!r} has event {other.event_id!r} of {other.descriptor.market_context}"
            f" from {other.dtstart.isoformat()} to {end}"
        )
        if other.is_cancelled and other.event_id not in known.acknowledged:
            text += ", cancelled, which the VEN has not confirmed"
        if policy == "refuse" and other.descriptor.market_context == made.descriptor.market_context:
            start = shown(made.dtstart.isoformat())
            refusals.append(FieldProblem(field="start", value=start, detail=text, rule="EVT-33"))
        warnings.append(WarningView(ven_id=ven.ven_id, kind="overlap", detail=text, event_id=other.event_id))
    if refusals:
        raise Problem(CONFLICT, f"it overlaps: {refusals[0].detail}", refusals)
    return warnings


def _timing(call: Call, made: Event, ven: Ven, past_start: Policy) -> Iterator[WarningView]:
    """Of a start in the past, and of notice that cannot be given any more."""
    notice = made.active_period.notification
    if made.dtstart < event_content.whole(call.now):
        text = f"the start {made.dtstart.isoformat()} has passed, it is {call.now.isoformat()}"
        if past_start == "refuse":
            raise Problem.field("start", made.dtstart.isoformat(), text)
        yield WarningView(ven_id=ven.ven_id, kind="past_start", detail=text)
    elif notice and notice.after(call.now) > made.dtstart:
        text = f"{notice} of notice is not kept: it is {call.now.isoformat()}"
        yield WarningView(ven_id=ven.ven_id, kind="notice", detail=text)


def _opted_out(call: Call, made: Event, ven: Ven, schedules: Sequence[Schedule]) -> Iterator[WarningView]:
    """Of a VEN that said it takes no part then, where the programme lets events be sent all the same."""
    policy = call.office.opt.of(made.descriptor.market_context)
    out = availability.out_for(made, schedules, policy, call.now)
    if out is not None:
        text = f"{ven.ven_name!r} is opted out at {out.isoformat()}"
        yield WarningView(ven_id=ven.ven_id, kind="opted_out", detail=text)


def _rare_polls(office: Office, made: Event, ven: Ven, known: Current) -> Iterator[WarningView]:
    """Of a VEN that is asked to poll less than five times in an event of mean length (POLL-07)."""
    period_s = ven.poll_period_s or office.poll_period_s
    others = [each for each in known.events if not each.is_cancelled and each.event_id != made.event_id]
    lengths = [each.end - each.dtstart for each in (*others, made) if each.end is not None]
    if period_s is None or not lengths:
        return
    mean = sum(lengths, timedelta()) / len(lengths)
    if period_s * POLLS_IN_AN_EVENT > mean.total_seconds():
        text = (
            f"{ven.ven_name!r} is asked to poll every {period_s} s, which is more than 20 % of"
            f" {mean.total_seconds():.0f} s, the mean length of its events"
        )
        yield WarningView(ven_id=ven.ven_id, kind="poll_period", detail=text)
