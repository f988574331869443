"""Errors become answers, here alone: a page that says what to do, or problem details for the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import quote

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from sqlalchemy.exc import DBAPIError

from aggregator.access import guard
from aggregator.access.errors import FieldError, RefusedError
from aggregator.access.principal import NOBODY, Principal
from aggregator.dashboard.page import Visit
from aggregator.errors import RequestRefusedError
from ledger.errors import UnknownLeafError
from vtn.errors import NotAdmitted, StoreError, UnknownObject
from vtn.problem import (
    FAULT,
    INVALID,
    LARGE,
    METHOD,
    STORE,
    UNAUTHORISED,
    UNKNOWN,
    Kind,
    Problem,
    answer_problems,
)

log = structlog.get_logger(__name__)

API = "/api/"
FRONT, SIGN_IN = "/", "/login"
REFUSED = "sign_in/refused.html"
AGAIN = "sign_in/again.html"
VISIT = web.RequestKey("visit", Visit)
RETRY_AFTER_S = 5
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_KINDS = {
    kind.status: kind
    for kind in (
        UNAUTHORISED,
        Kind("forbidden", 403, "This is not permitted"),
        UNKNOWN,
        METHOD,
        LARGE,
        INVALID,
        Kind("too-many", 429, "Too many tries"),
        FAULT,
        STORE,
    )
}


class Errors:
    """Makes answers of errors. `visit` makes what pages are rendered with."""

    def __init__(self, visit: Callable[[web.Request, Principal], Visit]) -> None:
        self._visit = visit

    def middleware(self) -> Middleware:
        """What stands around every handler."""

        @web.middleware
        async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._answer(request, handler)

        return answer_errors

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(API):
            return await answer_problems(request, lambda asked: _for_problems(asked, handler))
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                return error
            refused = RefusedError(error.status, HTTPStatus(error.status).phrase)
        except RefusedError as error:
            refused = error
        except Exception as error:  # a request must never end the process
            refused = _refusal(error, _place(request))
        visit = request.get(VISIT) or self._visit(request, NOBODY)
        answer = _page(visit, refused)
        if refused.status == 413:
            answer.force_close()  # what else was sent is not read
        return answer


async def _for_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RefusedError as refused:
        kind = _KINDS.get(refused.status, Kind("refused", refused.status, "This is refused"))
        answer = Problem(kind, refused.text).response()
        if refused.retry_after_s:
            answer.headers[hdrs.RETRY_AFTER] = str(refused.retry_after_s)
        return answer
    except FieldError as error:
        raise Problem.field(error.field, None, error.text) from error


def _place(request: web.Request) -> str:
    """The page's path without what stands in it: a one-time link must not be in a log."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "no page"


def _refusal(error: Exception, place: str) -> RefusedError:
    """What a page says of an exception; only what is our mistake hides its text."""
    if isinstance(error, UnknownObject | UnknownLeafError):
        return RefusedError(404, str(error))
    if isinstance(error, NotAdmitted | FieldError):
        return RefusedError(422, str(error))
    if isinstance(error, RequestRefusedError):
        return RefusedError(error.http_status, str(error))
    if isinstance(error, StoreError | DBAPIError):
        log.error("the database does not take changes", error=str(error))
        text = "the database does not take changes; nothing was kept, try again"
        return RefusedError(503, text, retry_after_s=RETRY_AFTER_S)
    log.error("a page failed", page=place, exc_info=error)
    return RefusedError(500, "this is our mistake; the log says more")


def _page(visit: Visit, refused: RefusedError) -> web.Response:
    """The refusal for a person. Who has to sign in is taken there, and comes back. Parts of a page that is
    there already are refused alone: something may be typed in it, and it finds its way itself (live.js).
    """
    request = visit.request
    whole = request.method == hdrs.METH_GET and not visit.by_script and not request.headers.get(hdrs.UPGRADE)
    if refused.sign_in and whole:
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # a link on another site: the cookie comes with the next request, which is our own page's
            return visit.page(AGAIN)
        return visit.seen_next(f"{SIGN_IN}?next={quote(request.path_qs, safe='')}")
    if refused.status == 403 and whole and request.path == FRONT and not guard.lacks_factor(visit.principal):
        return visit.seen_next(SIGN_IN)  # from there everybody comes to the first page that is his
    way_out = ("/account/factor", "set_up") if guard.lacks_factor(visit.principal) else (FRONT, "home")
    if refused.sign_in:
        way_out = (SIGN_IN, "sign_in")
    answer = visit.page(
        REFUSED, refused.status, status_code=refused.status, text=refused.text, way_out=way_out
    )
    if refused.retry_after_s:
        answer.headers[hdrs.RETRY_AFTER] = str(refused.retry_after_s)
    return answer
