"""The JSON API as the web listener serves it: every operation is a page below `/api/v1`.

Rules: the guard has let the request in before anything here is called; bodies are checked at the border; a
change, its line of the trail and the answer that a repeat will get are one unit of work; every refusal is
problem details.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from aiohttp import hdrs, web

from aggregator.access.action import ACTION, form_hash
from aggregator.api_repeat import UNDER_WAY, Once, once
from aggregator.api_version import STALE, Versions
from aggregator.dashboard.operation import DeskCall, Errand, FileAnswer, Operation
from aggregator.dashboard.page import Page, Visit
from aggregator.errors import RequestRefusedError
from ledger.errors import TokenError, UnknownLeafError
from vtn.api import checked, read_body
from vtn.api_route import Answer, Route
from vtn.openapi import JSON
from vtn.problem import (
    CONFLICT,
    INVALID,
    MEDIA_TYPE,
    STORE,
    UNKNOWN,
    FieldProblem,
    Problem,
    shown,
)

PREFIX = "/api/v1"
PAGE = 100
"""So much of a list is answered where the request names no limit."""
_REFUSED = {400: INVALID, 404: UNKNOWN, 409: CONFLICT, 422: INVALID}


def pages(operations: Sequence[Operation]) -> tuple[Page, ...]:
    """The operations as the web listener serves them."""
    clerk = _Clerk(resources(operations), Versions())
    return tuple(
        Page(
            method=operation.route.method,
            path=PREFIX + operation.route.path,
            name=operation.route.name,
            permission=operation.permission,
            handle=partial(clerk.serve, operation),
            fresh=operation.fresh,
        )
        for operation in operations
    )


def resources(operations: Sequence[Operation]) -> dict[str, Operation]:
    """By the name of a changing operation the one that shows what it changes: `If-Match` has its ETag."""
    reading = {one.route.path: one for one in operations if one.route.method == hdrs.METH_GET}
    found = {}
    for operation in operations:
        if not operation.writes:
            continue
        for path in _upwards(operation.route):
            if path.endswith("}") and path in reading:
                found[operation.route.name] = reading[path]
                break
    return found


def _upwards(route: Route) -> Iterator[str]:
    path = route.path
    while path:
        yield path
        path = path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request as the models took it."""

    operation: Operation
    visit: Visit
    body: Any
    query: Any
    once: Once | None

    @property
    def route(self) -> Route:
        return self.operation.route

    async def carry_out(self, conn: Any) -> Answer:
        visit, path = self.visit, self.visit.request.match_info
        if self.operation.errand:
            return await self.route.handle(Errand(visit, path, self.body, self.query, self.once))
        call = DeskCall(visit.desk.office, conn, visit.now, path, self.body, self.query, visit)
        return await self.route.handle(call)


@dataclass(frozen=True, slots=True)
class _Clerk:
    """Answers requests; `resources` as the function of this name."""

    resources: dict[str, Operation]
    versions: Versions

    async def serve(self, operation: Operation, visit: Visit) -> web.StreamResponse:
        """One request: checked, carried out in one unit of work, answered when that is durable."""
        asked = await _asked(operation, visit)
        try:
            if not operation.writes:
                return await self._read(asked)
            if operation.errand:
                return await self._run(asked)
            return await self._change(asked)
        except RequestRefusedError as error:
            raise _refusal(error, operation.route, asked.body) from error
        except UnknownLeafError as error:
            raise Problem(UNKNOWN, str(error)) from error
        except TokenError as error:
            raise Problem(STORE, str(error)) from error

    async def _read(self, asked: _Asked) -> web.StreamResponse:
        request = asked.visit.request
        if asked.operation.errand:
            answer = await asked.carry_out(None)
        else:
            async with asked.visit.desk.db.read() as conn:
                answer = await asked.carry_out(conn)
        if isinstance(answer, FileAnswer):
            return await answer.send(request)
        text = answer.model_dump_json(exclude_none=True)
        if request.method != hdrs.METH_GET:
            return web.json_response(text=text, status=asked.route.status)
        tag = self.versions.tag(request.path_qs, text, asked.route.passing)
        headers = {hdrs.ETAG: f'"{tag}"', hdrs.CACHE_CONTROL: "private, no-cache", **_next(asked, answer)}
        if any(each.value in {tag, "*"} for each in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.json_response(text=text, status=asked.route.status, headers=headers)

    async def _change(self, asked: _Asked) -> web.StreamResponse:
        async with asked.visit.write() as conn:
            if asked.once is not None and (before := await asked.once.answered(conn)) is not None:
                return before
            await self._check_version(asked, conn)
            answer = await asked.carry_out(conn)
            text = answer.model_dump_json(exclude_none=True)
            if asked.once is not None and asked.operation.secret:
                await asked.once.keep_order(conn)
            elif asked.once is not None:
                await asked.once.keep(conn, asked.route.status, text)
        return self._done(asked, text)

    async def _run(self, asked: _Asked) -> web.StreamResponse:
        """What opens its units of work itself."""
        db = asked.visit.desk.db
        if asked.once is not None:
            async with db.write() as conn:
                if (before := await asked.once.answered(conn)) is not None:
                    return before
                await asked.once.keep(conn, UNDER_WAY, "")
        async with _forgotten_on_failure(asked):
            await self._check_version(asked, None)
            text = (await asked.carry_out(None)).model_dump_json(exclude_none=True)
            if asked.once is not None:
                async with db.write() as conn:
                    await asked.once.keep(conn, asked.route.status, text)
        return self._done(asked, text)

    def _done(self, asked: _Asked, text: str) -> web.Response:
        """The answer, with the tag of what is there now where that is what it shows."""
        resource, headers = self.resources.get(asked.route.name), {}
        if resource is not None and resource.route.answer is asked.route.answer:
            tag = self.versions.tag(_place(asked, resource), text, resource.route.passing)
            headers[hdrs.ETAG] = f'"{tag}"'
        return web.json_response(text=text, status=asked.route.status, headers=headers)

    async def _check_version(self, asked: _Asked, conn: Any) -> None:
        """Problem (412) where the request names a version that is no more."""
        given = asked.visit.request.if_match
        if given is None:
            return
        resource = self.resources.get(asked.route.name)
        if resource is None:
            raise Problem(STALE, "this operation changes nothing that has a version: leave out If-Match")
        query = resource.route.query() if resource.route.query else None
        current = await _Asked(resource, asked.visit, None, query, None).carry_out(conn)
        text = current.model_dump_json(exclude_none=True)
        tags = [tag.value for tag in given if not tag.is_weak]
        self.versions.check(_place(asked, resource), tags, text, resource.route.passing)


async def _asked(operation: Operation, visit: Visit) -> _Asked:
    """The request as the models take it; Problem names what they do not take."""
    request, route = visit.request, operation.route
    if request.body_exists and request.content_type != JSON:
        raise Problem(MEDIA_TYPE, f"a body has the type {JSON}, not {request.content_type}")
    raw = await read_body(request)
    body, query = checked(route, request, raw)
    if route.query is not None and getattr(query, "limit", 0) is None:
        query = query.model_copy(update={"limit": PAGE})
    action = request.get(ACTION)
    if action is not None and raw:
        action.form_sha256 = form_hash(action.action_id, [("body", raw.decode())])
    owner = visit.principal.user_id or ""
    key = once(request, owner, raw, visit.desk.access.clock()) if operation.writes else None
    return _Asked(operation, visit, body, query, key)


@asynccontextmanager
async def _forgotten_on_failure(asked: _Asked) -> AsyncIterator[None]:
    """What was ordered is kept with its key, whatever fails afterwards, unless it was refused."""
    try:
        yield
    except BaseException as error:
        if asked.once is not None:
            async with asked.visit.desk.db.write() as conn:
                await asked.once.forget(conn, ordered=isinstance(error, RequestRefusedError))
        raise


def _place(asked: _Asked, resource: Operation) -> str:
    """The address of what is changed."""
    length = resource.route.path.count("/") + PREFIX.count("/")
    return "/".join(asked.visit.request.path.split("/")[: length + 1])


def _next(asked: _Asked, answer: Answer) -> dict[str, str]:
    """The header that leads to the next page, where there is one."""
    cursor = getattr(answer, "next", None)
    if cursor is None or asked.route.query is None:
        return {}
    name = "after" if "after" in asked.route.query.model_fields else "before"
    query = {**asked.visit.request.query, name: str(cursor)}
    return {hdrs.LINK: f'<{asked.visit.request.path}?{urlencode(query)}>; rel="next"'}


def _refusal(error: RequestRefusedError, route: Route, body: object) -> Problem:
    """The refusal of the business; where it names a field of the body first, beside that field."""
    text, kind = str(error), _REFUSED[error.http_status]
    name, _, detail = text.partition(": ")
    field = name.partition(".")[0]
    if not detail or route.body is None or field not in route.body.model_fields:
        return Problem(kind, text)
    return Problem(kind, text, [FieldProblem(field=name, value=shown(getattr(body, field)), detail=detail)])
