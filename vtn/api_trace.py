"""The message trace of a VEN: turned on and off, and read."""

from __future__ import annotations

import base64

from pydantic import Field

from vtn import trace
from vtn.api_route import Answer, At, Body, Call, Query, Route
from vtn.api_vens import find


class ExchangeView(Answer):
    """One request and its answer, as they went over the wire, without headers."""

    number: int
    at: At
    direction: str = Field(description="`in`: the VEN asked; `out`: this server did.")
    service: str
    request_name: str | None
    response_name: str | None
    http_status: int
    response_code: str | None
    request_bytes: int
    response_bytes: int
    request_base64: str | None = Field(default=None, description="The body, where bodies are asked for.")
    response_base64: str | None = None


class TraceView(Answer):
    """The newest exchanges of a VEN, oldest first."""

    ven_id: str
    ven_name: str
    traced_since: At | None = Field(description="Nothing: it is not traced now.")
    exchanges: list[ExchangeView]


class TraceQuery(Query):
    """How much of the trace is shown."""

    last: int = Field(default=20, ge=1, le=trace.COUNT)
    bodies: bool = False


class TraceBody(Body):
    """Whether a VEN is traced."""

    on: bool


async def _show(call: Call) -> Answer:
    query: TraceQuery = call.query
    return await _view(call, query.last, bodies=query.bodies)


async def _turn(call: Call) -> Answer:
    body: TraceBody = call.body
    ven = await find(call.conn, call.path["ven"])
    await trace.turn(call.conn, ven.ven_id, body.on, call.now)
    return await _view(call, 0, bodies=False)


async def _view(call: Call, last: int, *, bodies: bool) -> Answer:
    ven = await find(call.conn, call.path["ven"])
    found = await trace.newest(call.conn, ven.ven_id, last, call.now) if last else []
    return TraceView(
        ven_id=ven.ven_id,
        ven_name=ven.ven_name,
        traced_since=await trace.traced_since(call.conn, ven.ven_id),
        exchanges=[_exchange(number, each, bodies=bodies) for number, each in found],
    )


def _exchange(number: int, kept: trace.Exchange, *, bodies: bool) -> ExchangeView:
    return ExchangeView(
        number=number,
        at=kept.at,
        direction=kept.direction,
        service=kept.service,
        request_name=kept.request_name,
        response_name=kept.response_name,
        http_status=kept.http_status,
        response_code=kept.response_code,
        request_bytes=len(kept.request),
        response_bytes=len(kept.response),
        request_base64=base64.b64encode(kept.request).decode() if bodies else None,
        response_base64=base64.b64encode(kept.response).decode() if bodies else None,
    )


ROUTES = (
    Route(
        method="GET",
        path="/vens/{ven}/trace",
        name="showTrace",
        summary="The newest exchanges with the VEN.",
        handle=_show,
        answer=TraceView,
        query=TraceQuery,
    ),
    Route(
        method="POST",
        path="/vens/{ven}/trace",
        name="turnTrace",
        summary="Trace the VEN from now on, or no longer.",
        handle=_turn,
        answer=TraceView,
        body=TraceBody,
        example={"on": True},
    ),
)
