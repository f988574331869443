"""Operations for a request that was sent: what a change of its event would do, the change, its proposal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from aggregator import approval, sent_event, store
from aggregator import request as operator_request
from aggregator.access.permission import Permission
from aggregator.api import asked_of
from aggregator.api_approvals import Digest, EffectView, ProposalView, effect_of, proposal_view
from aggregator.api_requests import REQUEST, PowerKw, ReductionBody, RequestView, request_view
from aggregator.clearance import Sender
from aggregator.dashboard.event_note import reason_of
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.errors import RequestRefusedError, UnknownObjectError
from aggregator.request import Asked, Change
from aggregator.sent_event import SentEvent
from vtn.api_route import Answer, Body, Id, Route, Text

EXAMPLE = {"end": "2026-01-20T19:30:00Z", "power_kw": 4, "reason": "the line is back earlier"}


def _seen(text: str) -> str:
    """The reason, all of whose letters can be seen."""
    reason, problem = reason_of(text)
    if problem:
        raise ValueError(problem)
    return reason or ""


Reason = Annotated[Text, AfterValidator(_seen)]


class ChangeBody(Body):
    """What of a request changes; what is left out stays."""

    start: AwareDatetime | None = Field(
        default=None,
        description="A whole second, not past; the end moves with it where none is given.",
    )
    end: AwareDatetime | None = Field(default=None, description="At most a day after the start.")
    power_kw: PowerKw | None = Field(default=None, description="The reduction; the nodes are chosen.")
    nodes: dict[Id, PowerKw] | None = Field(
        default=None,
        min_length=1,
        max_length=10_000,
        description="kW by name; others are taken out.",
    )
    reason: Annotated[Text, AfterValidator(_seen)] | None = Field(
        default=None, description="Told to the VENs."
    )
    previewed: Digest | None = Field(
        default=None, description="`digest` of the effect that was looked at: 409 where it would be another."
    )


async def _effect(call: DeskCall) -> Answer:
    return await effect_of(call, await _asked(call))


async def _change(call: DeskCall) -> Answer:
    desk, asked = call.desk, await _asked(call)
    answer = await operator_request.send(
        call.conn,
        desk.portfolio,
        desk.settings.programme.market_context,
        asked,
        call.now,
        sender=Sender(call.principal.user_id or ""),
        previewed=call.body.previewed,
    )
    call.visit.about(f"event={answer['event_id']}")
    return await request_view(call)


async def _propose(call: DeskCall) -> Answer:
    sender = Sender(call.principal.user_id or "")
    made = await approval.propose(
        call.conn,
        call.desk.portfolio,
        await _asked(call),
        call.now,
        sender=sender,
        previewed=call.body.previewed,
    )
    call.visit.about(f"proposal={made.approval_id}")
    return proposal_view(made, call)


async def _asked(call: DeskCall) -> Asked:
    """The request as it would be, of the event as it stands now."""
    name = call.path["request_id"]
    found = await store.find_request(call.conn, request_id=name)
    found = found or await store.find_request(call.conn, event_id=name)
    if found is None:
        raise UnknownObjectError(f"there is no request {name[:128]}")
    sent = await sent_event.find(call.conn, found.event_id)
    before = await operator_request.newest_asked(call.conn, found.event_id)
    names = {node.ven_id: node.ven_name for node in await call.desk.portfolio.nodes(call.conn)}
    body = _whole(names, call.body, sent, before)
    change = Change(sent.event_id, sent.version, call.body.reason or None)
    return replace(asked_of(body, None, call.now), change=change)


def _whole(names: Mapping[str, str], body: ChangeBody, sent: SentEvent, before: Asked) -> ReductionBody:
    """The request with what is left out as it stands; `names` of the nodes with an agreement by their ids: no
    other one can be asked for anything. RequestRefusedError where none of them is left.
    """
    start, end = _period(body, sent)
    power_kw, nodes = body.power_kw, body.nodes
    if power_kw is None and nodes is None and before.nodes is None:
        power_kw = Decimal(before.reduction.power_w) / 1000
    elif power_kw is None and nodes is None:
        left = {ven_id: part for ven_id, part in sent.parts.items() if ven_id in names}
        nodes = {names[ven_id]: Decimal(part.power_w) / 1000 for ven_id, part in left.items()}
        if not nodes:
            raise RequestRefusedError("nobody is left in this event")
    return ReductionBody.model_construct(
        start=start, end=end, power_kw=power_kw, nodes=nodes, test_event=sent.test_event, idempotency_key=None
    )


def _period(body: ChangeBody, sent: SentEvent) -> tuple[datetime, datetime]:
    start = body.start or sent.period.start
    moved = start + (sent.period.end - sent.period.start) if body.start else sent.period.end
    return start, body.end or moved


OPERATIONS = (
    Operation(
        route=Route(
            method="PATCH",
            path="/requests/{request_id}",
            name="changeRequest",
            summary="Change a request whose event has not begun: all of its nodes get what changes, or none.",
            handle=_change,
            answer=RequestView,
            body=ChangeBody,
            parameters=REQUEST,
            example=EXAMPLE,
            refusals=(409,),
        ),
        permission=Permission.EVENT_WRITE,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/requests/{request_id}/effect",
            name="changeEffect",
            summary="What to expect of a change; nothing is sent.",
            handle=_effect,
            answer=EffectView,
            body=ChangeBody,
            parameters=REQUEST,
            example=EXAMPLE,
            refusals=(409,),
        ),
        permission=Permission.FLEET_READ,
        reads=True,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/requests/{request_id}/proposals",
            name="proposeChange",
            summary="Put a change before a second person.",
            handle=_propose,
            answer=ProposalView,
            body=ChangeBody,
            status=201,
            parameters=REQUEST,
            example=EXAMPLE,
            refusals=(409,),
        ),
        permission=Permission.EVENT_WRITE,
    ),
)
