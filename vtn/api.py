"""The operator's API: JSON over HTTP, described by the OpenAPI 3.1 document at `/openapi.json`.

Rules: who may open the socket is the operator (see `vtn.operator_listener`); bodies are checked at the border
and unknown fields refused; what is written is durable before the answer, all of it or nothing; refusals are
problem details (`vtn.problem`); every event but a cancellation passes `admit`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from vtn import (
    api_certificates,
    api_events,
    api_findings,
    api_opts,
    api_programmes,
    api_reports,
    api_trace,
    api_vens,
)
from vtn.api_route import Call, Office, Route
from vtn.openapi import JSON, document
from vtn.problem import LARGE, MEDIA_TYPE, Problem, answer_problems, invalid
from vtn.store import Database

PREFIX = "/vtn"
DOCUMENT = "/openapi.json"
MAX_BODY_BYTES = 4 * 1024 * 1024  # ten thousand intervals and more

ROUTES: Sequence[Route] = (
    *api_vens.ROUTES,
    *api_certificates.ROUTES,
    *api_events.ROUTES,
    *api_programmes.ROUTES,
    *api_opts.ROUTES,
    *api_reports.ROUTES,
    *api_trace.ROUTES,
    *api_findings.ROUTES,
)


class OperatorApi:
    """The routes over one database. `mount` puts them into an application of the caller's."""

    def __init__(self, db: Database, office: Office) -> None:
        self._db = db
        self._office = office

    def app(self) -> web.Application:
        """An application of its own with all routes and the document, and nothing else."""
        app = web.Application(middlewares=[answer_problems])
        self.mount(app)
        return app

    def mount(self, app: web.Application) -> None:
        """Put the routes under `/vtn`, and the document beside it."""
        own = web.Application(middlewares=[answer_problems])
        for route in ROUTES:
            own.router.add_route(route.method, route.path, partial(self._answer, route))
        app.add_subapp(PREFIX, own)
        app.router.add_get(DOCUMENT, _described)

    async def _answer(self, route: Route, request: web.Request) -> web.StreamResponse:
        """One request: checked, carried out in one transaction, answered when that is durable."""
        raw = await read_body(request)
        body, query = checked(route, request, raw)
        unit = self._db.write() if route.writes else self._db.read()
        async with unit as conn:
            call = Call(self._office, conn, self._office.clock(), request.match_info, body, query)
            answer = await route.handle(call)
        return web.json_response(text=answer.model_dump_json(exclude_none=True), status=route.status)


@cache
def described() -> str:
    """The OpenAPI document as JSON text."""
    return json.dumps(document(ROUTES, PREFIX))


async def _described(_request: web.Request) -> web.StreamResponse:
    return web.json_response(text=described())


async def read_body(request: web.Request) -> bytes:
    """The body within its limit, whatever the application around allows."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Problem(LARGE, f"a body has at most {MAX_BODY_BYTES} bytes")
    return bytes(body)


def checked(route: Route, request: web.Request, raw: bytes) -> tuple[Any, Any]:
    """Body and query as the route's models; a body or query that the route has none of is refused."""
    if route.body and raw and request.content_type != JSON:
        # a page in a browser can post a form or plain text to any address, JSON only where it is let
        raise Problem(MEDIA_TYPE, f"a body has the type {JSON}, not {request.content_type}")
    try:
        body = route.body.model_validate_json(raw or b"{}") if route.body else None
        query = route.query.model_validate(dict(request.query)) if route.query else None
    except ValidationError as error:
        raise invalid(error) from error
    if route.body is None and raw:
        raise Problem.field("body", raw[:80].decode(errors="replace"), "this operation takes no body")
    if route.query is None and request.query:
        raise Problem.field(next(iter(request.query)), request.query_string, "no such parameter")
    return body, query
