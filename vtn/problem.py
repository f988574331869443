"""What an operator's tool is told when it is refused: problem details (RFC 9457), made in this one place.

status  type
400     unreadable       the body is no JSON
401     unauthorised     no token, or another one
404     unknown          something was named that does not exist
405     method           the path has other methods
409     conflict         it contradicts what is there: an id in use, an event that is over, an overlap
413     too-large        the body is larger than the limit
415     media-type       the body does not say that it is JSON
422     invalid          fields cannot be taken; `errors` names field, value and reason of each
422     not-admitted     a clause of an agreement stands against it; `clause` names it
503     store            the database did not take the change, nothing was kept
500     fault            our mistake; the log says more
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import hdrs, web
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.exc import DBAPIError

from vtn.errors import DuplicateEvent, NotAdmitted, StoreError, UnknownObject

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
TYPE = "urn:flexpact:problem:"
RETRY_AFTER_S = 5
SHOWN = 80  # characters of a value that is told back
HIDDEN = frozenset({"missing", "json_invalid"})  # these have no value of the field's own

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FieldProblem(BaseModel):
    """One field that cannot be taken."""

    field: str = Field(description="Where in the body or query: `signals[0].intervals[1].value`.")
    value: str | None = Field(default=None, description="What was given, shortened.")
    detail: str = Field(description="What is wrong with it.")
    rule: str | None = Field(default=None, description="ID of the conformance rule that it breaks.")


class ProblemBody(BaseModel):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = Field(default=[], description="The fields that cannot be taken.")
    clause: str | None = Field(default=None, description="The clause of an agreement that stands against it.")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of refusal."""

    name: str
    status: int
    title: str


UNREADABLE = Kind("unreadable", 400, "The body is no JSON")
UNAUTHORISED = Kind("unauthorised", 401, "A token is needed")
UNKNOWN = Kind("unknown", 404, "There is no such thing")
METHOD = Kind("method", 405, "The path has other methods")
CONFLICT = Kind("conflict", 409, "It contradicts what is there")
LARGE = Kind("too-large", 413, "The body is too large")
MEDIA_TYPE = Kind("media-type", 415, "The body does not say that it is JSON")
INVALID = Kind("invalid", 422, "Fields cannot be taken")
NOT_ADMITTED = Kind("not-admitted", 422, "An agreement stands against it")
FAULT = Kind("fault", 500, "The server made a mistake")
STORE = Kind("store", 503, "The database did not take the change")
_BY_STATUS = {kind.status: kind for kind in (UNAUTHORISED, UNKNOWN, METHOD, LARGE)}


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """A request that is refused; raised by handlers, answered by `answer_problems`."""

    def __init__(
        self, kind: Kind, detail: str, errors: Iterable[FieldProblem] = (), clause: str | None = None
    ) -> None:
        super().__init__(detail)
        self.body = ProblemBody(
            type=TYPE + kind.name,
            title=kind.title,
            status=kind.status,
            detail=detail,
            errors=list(errors),
            clause=clause,
        )

    @classmethod
    def field(cls, name: str, value: object, detail: str, kind: Kind = INVALID) -> Problem:
        """The refusal of one field."""
        error = FieldProblem(field=name, value=shown(value), detail=detail)
        return cls(kind, f"{name}: {detail}", [error])

    def response(self) -> web.Response:
        """The refusal as an answer."""
        text = self.body.model_dump_json(exclude_none=True, exclude_defaults=False)
        headers = {hdrs.RETRY_AFTER: str(RETRY_AFTER_S)} if self.body.status == STORE.status else {}
        if self.body.status == UNAUTHORISED.status:
            headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
        return web.Response(
            text=text, status=self.body.status, content_type=CONTENT_TYPE, headers=headers or None
        )


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error as problem details with the status that fits it; the only place where that is decided."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        kind = _BY_STATUS.get(error.status, Kind("http", error.status, error.reason))
        return Problem(kind, f"{request.method} {request.path}: {error.reason}").response()
    except Exception as error:  # a request of the operator must never end the process
        return _problem(error, request.path).response()


def _problem(error: Exception, path: str) -> Problem:
    if isinstance(error, UnknownObject):
        return Problem(UNKNOWN, str(error))
    if isinstance(error, DuplicateEvent):
        return Problem(CONFLICT, str(error))
    if isinstance(error, NotAdmitted):
        return Problem(NOT_ADMITTED, str(error), clause=error.clause)
    if isinstance(error, StoreError | DBAPIError):
        log.error("the database does not take changes", error=str(error))
        return Problem(STORE, "nothing was kept, try again")
    log.error("a request of the operator failed", path=path, exc_info=error)
    return Problem(FAULT, "the log says more")


def invalid(error: ValidationError) -> Problem:
    """The refusal of a body or query that its model does not take."""
    found = error.errors(include_url=False)
    if found[0]["type"] == "json_invalid":
        return Problem(UNREADABLE, found[0]["msg"])
    errors = [
        FieldProblem(
            field=field_name(each["loc"]),
            value=None if each["type"] in HIDDEN else shown(each["input"]),
            detail=each["msg"].removeprefix("Value error, "),
        )
        for each in found
    ]
    return Problem(INVALID, f"{errors[0].field}: {errors[0].detail}", errors)


def field_name(loc: Iterable[int | str]) -> str:
    """`signals[0].name` for a place as pydantic gives it."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "body"


def shown(value: object) -> str:
    """A value as it was given, in JSON where it can be, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:
        text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def described(value: Any) -> Any:
    """A model as plain JSON values."""
    return value.model_dump(mode="json", exclude_none=True) if isinstance(value, BaseModel) else value
