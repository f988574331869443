"""Operations for requests of reductions: previewed, sent, followed, taken back."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from aggregator import request as operator_request
from aggregator import store
from aggregator.access.permission import Permission
from aggregator.api import LONGEST_KEY, asked_of
from aggregator.clearance import Sender
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.errors import UnknownObjectError
from aggregator.request import Asked
from vtn.api_route import Answer, At, Body, Id, Route

PowerKw = Annotated[Decimal, Field(gt=0, le=1_000_000, json_schema_extra={"examples": [5]})]
REQUEST = {"request_id": "Id of the request, or of its event."}
PASSING = ("status", "delivered_at", "opt", "responded_at", "delivered_kwh")
"""What nodes and the time decide of a request."""
EXAMPLE = {"start": "2026-01-20T17:00:00Z", "end": "2026-01-20T19:00:00Z", "power_kw": 5}


class ReductionBody(Body):
    """A reduction over a period. Either `power_kw`, and the nodes are chosen by price, or `nodes`."""

    start: AwareDatetime = Field(description="A whole second, not in the past.")
    end: AwareDatetime = Field(description="At most a day later.")
    power_kw: PowerKw | None = Field(default=None, description="The reduction; the nodes are chosen.")
    nodes: dict[Id, PowerKw] | None = Field(
        default=None, min_length=1, max_length=10_000, description="kW by name; no choice is made."
    )
    test_event: bool = Field(default=False, description="Pays nothing.")
    idempotency_key: str | None = Field(
        default=None, min_length=1, max_length=LONGEST_KEY, description="As the header, for all users."
    )

    def asked(self, now: datetime) -> Asked:
        """The request as a value."""
        return asked_of(self, self.idempotency_key, now)


class PartView(Answer):
    """What one node is asked for."""

    ven_id: str
    ven_name: str
    power_kw: float
    cost_minor: str = Field(description="Minor units of the currency, not rounded.")


class ClauseView(Answer):
    """A clause that stands against a node."""

    clause: str
    text: str


class PassedView(Answer):
    """A node that is not asked, and why."""

    ven_name: str
    clauses: list[ClauseView]


class DispatchView(Answer):
    """Who gives how much."""

    start: At
    end: At
    requested_kw: float
    expected_kw: float
    expected_kwh: float
    shortfall_kw: float
    cost_minor: str
    nodes: list[PartView]
    passed: list[PassedView]


class SentView(DispatchView):
    """A request that was carried out."""

    request_id: str
    event_id: str
    requested_at: At


class CancelledView(Answer):
    """A request that was taken back."""

    request_id: str
    event_id: str
    cancelled_at: At


class NodePartView(Answer):
    """How a node stands to the event of a request."""

    ven_id: str
    ven_name: str
    power_kw: float
    delivered_at: At | None
    opt: str | None
    responded_at: At | None
    status: str = Field(description="`far`, `active`, `completed` or `cancelled`.")
    delivered_kwh: float | None = Field(description="By its newest statement.")


class RequestView(Answer):
    """A request with its event."""

    request_id: str
    event_id: str
    start: At
    end: At
    power_kw: float
    requested_kwh: float
    delivered_kwh: float | None
    status: str
    cancelled_at: At | None
    nodes: list[NodePartView]


async def _preview(call: DeskCall) -> Answer:
    dispatch = await operator_request.plan(
        call.conn, call.desk.portfolio, call.body.asked(call.now), call.now
    )
    return DispatchView.model_validate(operator_request.described(dispatch))


async def _send(call: DeskCall) -> Answer:
    desk, asked = call.desk, call.body.asked(call.now)
    context = desk.settings.programme.market_context
    sender = Sender(call.principal.user_id or "")
    answer = await operator_request.send(call.conn, desk.portfolio, context, asked, call.now, sender=sender)
    call.visit.about(f"request={answer['request_id']}", f"event={answer['event_id']}")
    return SentView.model_validate(answer)


async def request_view(call: DeskCall) -> Answer:
    """The request that the address names, and how each node stands to it."""
    name = call.path["request_id"]
    found = await store.find_request(call.conn, request_id=name)
    found = found or await store.find_request(call.conn, event_id=name)
    if found is None:
        raise UnknownObjectError(f"there is no request {name[:128]}")
    event: dict[str, Any] = await call.desk.overview.event(call.conn, found.event_id, call.now)
    own = {"request_id": found.request_id, "cancelled_at": found.cancelled_at}
    return RequestView.model_validate({**event, **own})


async def _cancel(call: DeskCall) -> Answer:
    answer = await operator_request.cancel(call.conn, call.path["request_id"], call.now)
    call.visit.about(f"event={answer['event_id']}")
    return CancelledView.model_validate(answer)


OPERATIONS = (
    Operation(
        route=Route(
            method="POST",
            path="/requests/preview",
            name="previewRequest",
            summary="What a request would do; nothing is sent.",
            handle=_preview,
            answer=DispatchView,
            body=ReductionBody,
            example=EXAMPLE,
            refusals=(404, 409),
        ),
        permission=Permission.FLEET_READ,
        reads=True,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/requests",
            name="sendRequest",
            summary="Carry a request out; the answer comes when its events are durable.",
            handle=_send,
            answer=SentView,
            body=ReductionBody,
            status=201,
            example=EXAMPLE,
            refusals=(404, 409),
        ),
        permission=Permission.EVENT_WRITE,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/requests/{request_id}",
            name="showRequest",
            summary="A request, and how each node stands to its event.",
            handle=request_view,
            answer=RequestView,
            parameters=REQUEST,
            passing=PASSING,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/requests/{request_id}/cancel",
            name="cancelRequest",
            summary="Take a request back; what nodes gave before counts until now.",
            handle=_cancel,
            answer=CancelledView,
            parameters=REQUEST,
            refusals=(409,),
        ),
        permission=Permission.EVENT_WRITE,
    ),
)
