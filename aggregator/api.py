"""The control API on a Unix socket: JSON in, JSON out, for the operator's tools on this machine.

Rules: bodies are checked at the border; every refusal is ``{"error": text}``, made in one place; whoever
may open the socket is the operator (mode 0600).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Protocol

import structlog
from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import DBAPIError

from aggregator import request as operator_request
from aggregator.clearance import MACHINE_OWNER
from aggregator.curve import CurveMaker
from aggregator.dispatch import ReductionRequest
from aggregator.errors import BadInputError, RequestRefusedError
from aggregator.overview import Overview, described
from aggregator.portfolio import Portfolio
from aggregator.profile import Period
from aggregator.request import Asked
from ledger.errors import TokenError, UnknownLeafError
from ledger.log import Log
from vtn import original
from vtn.errors import NotAdmitted, StoreError, UnknownObject
from vtn.store import Database

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KEY_HEADER = "Idempotency-Key"
LONGEST_KEY = 128
LONGEST_PROFILE_DAYS = 62
FARTHEST = timedelta(days=5 * 366)
SHOWN = 60

PowerKw = Annotated[Decimal, Field(gt=0, le=1_000_000)]


class RequestBody(BaseModel):
    """The body of POST /requests and /requests/preview."""

    model_config = ConfigDict(extra="forbid")

    start: AwareDatetime
    end: AwareDatetime
    power_kw: PowerKw | None = Field(default=None, description="reduction; the nodes are chosen")
    nodes: dict[str, PowerKw] | None = Field(
        default=None, min_length=1, description="kW by name; no choice is made"
    )
    test_event: bool = False
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=LONGEST_KEY)

    def asked(self, header_key: str | None, now: datetime) -> Asked:
        """The request as a value; RequestRefusedError where it cannot be one."""
        return asked_of(self, _one_key(self.idempotency_key, header_key), now)


class Wanted(Protocol):
    """The body of a request, on the control socket and on the network."""

    start: datetime
    end: datetime
    power_kw: Decimal | None
    nodes: dict[str, Decimal] | None
    test_event: bool


def asked_of(body: Wanted, key: str | None, now: datetime) -> Asked:
    """The request as a value; RequestRefusedError where it cannot be one."""
    if (body.power_kw is None) == (body.nodes is None):
        raise RequestRefusedError("give either power_kw or nodes")
    watts = None
    if body.nodes is not None and not body.nodes:
        raise RequestRefusedError("nodes: name at least one")
    if body.nodes is not None:
        watts = {name: _watts(f"nodes.{name}", kw) for name, kw in body.nodes.items()}
    power_w = sum(watts.values()) if watts is not None else _watts("power_kw", body.power_kw)
    start, end = _plausible("start", body.start, now), _plausible("end", body.end, now)
    period = operator_request.period_of(start, end)
    return Asked(ReductionRequest(period, power_w), watts, body.test_event, operator_request.key_of(key))


class SealBody(BaseModel):
    """The body of POST /seal."""

    model_config = ConfigDict(extra="forbid")

    timeout_s: float = Field(default=60, gt=0, le=3600, description="real seconds to wait for the chain")


@dataclass(frozen=True, slots=True)
class Api:
    """The handlers. ``contacts``, ``chain_state`` and ``seal`` are what the running process alone knows."""

    db: Database
    portfolio: Portfolio
    overview: Overview
    maker: CurveMaker
    market_context: str
    log: Log
    clock: Callable[[], datetime]
    contacts: Callable[[], dict[str, datetime]]
    chain_state: Callable[[], dict[str, Any]]
    seal: Callable[[float], Awaitable[bool]]

    def app(self) -> web.Application:
        """The application with all routes."""
        app = web.Application(middlewares=[answer_errors], client_max_size=65_536)
        app.router.add_get("/health", self.health)
        app.router.add_get("/status", self.status)
        app.router.add_get("/summary", self.summary)
        app.router.add_get("/nodes", self.nodes)
        app.router.add_post("/requests/preview", self.preview)
        app.router.add_post("/requests", self.send)
        app.router.add_post("/requests/{request_id}/cancel", self.cancel)
        app.router.add_get("/events/{event_id}", self.event)
        app.router.add_get("/profiles", self.profiles)
        app.router.add_get("/statements", self.statements)
        app.router.add_get("/forecasts", self.forecasts)
        app.router.add_get("/receipts/{index}", self.receipt)
        app.router.add_get("/trust", self.trust)
        app.router.add_post("/seal", self.seal_all)
        return app

    async def health(self, request: web.Request) -> web.StreamResponse:
        """Alive, and the time by the aggregator's clock."""
        return web.json_response({"ok": True, "now": self.clock().isoformat()})

    async def status(self, request: web.Request) -> web.StreamResponse:
        """How things stand now."""
        async with self.db.read() as conn:
            status = await self.overview.status(conn, self.contacts(), self.clock())
        return web.json_response({**status, "chain": self.chain_state()})

    async def summary(self, request: web.Request) -> web.StreamResponse:
        """What it all came to."""
        async with self.db.read() as conn:
            return web.json_response(await self.overview.summary(conn))

    async def nodes(self, request: web.Request) -> web.StreamResponse:
        """The nodes and the agreements in force."""
        async with self.db.read() as conn:
            nodes = await self.portfolio.nodes(conn)
        rows = [
            {
                "ven_id": node.ven_id,
                "ven_name": node.ven_name,
                "agreement": {
                    "capacity_kw": str(node.agreement.capacity_kw),
                    "price_minor_per_kwh": str(node.agreement.price_minor_per_kwh),
                    "penalty_minor_per_kwh": str(node.agreement.penalty_minor_per_kwh),
                    "threshold": str(node.agreement.threshold),
                    "max_calls_per_day": node.agreement.max_calls_per_day,
                    "notice_min": node.agreement.notice.total_seconds() / 60,
                    "currency": node.agreement.currency,
                },
            }
            for node in nodes
        ]
        return web.json_response({"nodes": rows})

    async def preview(self, request: web.Request) -> web.StreamResponse:
        """What a request would do; nothing is written."""
        asked = await self._asked(request)
        async with self.db.read() as conn:
            dispatch = await operator_request.plan(conn, self.portfolio, asked, self.clock())
        return web.json_response(operator_request.described(dispatch))

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Carry out a request; the answer comes when its events are durable."""
        asked = await self._asked(request)
        async with self.db.write() as conn:
            answer = await operator_request.send(
                conn, self.portfolio, self.market_context, asked, self.clock(), sender=MACHINE_OWNER
            )
        log.info(
            "request sent",
            request_id=answer["request_id"],
            nodes=len(answer["nodes"]),
            kw=answer["expected_kw"],
        )
        return web.json_response(answer, status=201)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Take a request back."""
        async with self.db.write() as conn:
            answer = await operator_request.cancel(conn, request.match_info["request_id"], self.clock())
        log.info("request cancelled", request_id=answer["request_id"])
        return web.json_response(answer)

    async def event(self, request: web.Request) -> web.StreamResponse:
        """One event and how each node stands to it."""
        async with self.db.read() as conn:
            return web.json_response(
                await self.overview.event(conn, request.match_info["event_id"], self.clock())
            )

    async def profiles(self, request: web.Request) -> web.StreamResponse:
        """The portfolio's curves over a period of at most two months."""
        now = self.clock()
        start, end = _instant(request, "start", now), _instant(request, "end", now)
        if not start < end or (end - start).days > LONGEST_PROFILE_DAYS:
            raise RequestRefusedError(
                f"end must lie after start, by {LONGEST_PROFILE_DAYS} days at most: {_span(start, end)}"
            )
        if not any(True for _ in Period(start, end).slots()):
            raise BadInputError(f"start and end hold no whole quarter hour: {_span(start, end)}")
        async with self.db.read() as conn:
            ven_ids = [node.ven_id for node in await self.portfolio.nodes(conn)]
            return web.json_response(
                described(await self.maker.curves(conn, ven_ids, Period(start, end), {}))
            )

    async def statements(self, request: web.Request) -> web.StreamResponse:
        """All statements, of one event with ``?event_id=``."""
        async with self.db.read() as conn:
            found = await self.overview.statements(conn, request.query.get("event_id"))
        return web.json_response({"statements": found})

    async def forecasts(self, request: web.Request) -> web.StreamResponse:
        """The forecasts for a local day, today's without ``?day=``."""
        text = request.query.get("day")
        try:
            today = self.portfolio.calendar.day_of(self.clock())
            day = date.fromisoformat(text) if text else today
        except ValueError as error:
            raise RequestRefusedError(f"day is no date: {_shown(text)}") from error
        if abs(day - today) > FARTHEST:
            raise BadInputError(f"day: {day.isoformat()} lies more than five years from today, {today}")
        async with self.db.read() as conn:
            return web.json_response(await self.overview.forecasts(conn, day))

    async def receipt(self, request: web.Request) -> web.StreamResponse:
        """A leaf's record and receipt, as the files that a verifier reads; in base64 the message that its
        sender has signed, while it is kept.
        """
        index = request.match_info["index"]
        if not index.isascii() or not index.isdigit() or len(index) > 15:
            raise RequestRefusedError(f"a leaf index is a number, not {index[:20]!r}")
        async with self.db.read() as conn:
            record, receipt = await self.log.receipt(conn, int(index))
            raw_sha256 = record.body.get("raw_sha256")
            raw = await original.find(conn, raw_sha256) if isinstance(raw_sha256, str) else None
        files = {"record": record.to_file().decode(), "receipt": receipt.to_file().decode()}
        return web.json_response(files | ({} if raw is None else {"original": b64encode(raw).decode()}))

    async def trust(self, request: web.Request) -> web.StreamResponse:
        """The trust file that fits the receipts given now."""
        async with self.db.read() as conn:
            trust = await self.log.trust(conn)
        return web.json_response({"trust": trust.text()})

    async def seal_all(self, request: web.Request) -> web.StreamResponse:
        """Seal, sign and anchor all there is; ``complete`` says whether the chain has all of it."""
        raw = await request.read()
        body = SealBody.model_validate_json(raw) if raw else SealBody()
        complete = await self.seal(body.timeout_s)
        async with self.db.read() as conn:
            counts = await self.overview.counts(conn)
        return web.json_response({"complete": complete, **counts})

    async def _asked(self, request: web.Request) -> Asked:
        body = RequestBody.model_validate_json(await request.read())
        return body.asked(request.headers.get(KEY_HEADER), self.clock())


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error as JSON with the status that fits it; the only place where that is decided."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _refusal(error.status, error.reason)
    except RequestRefusedError as error:
        return _refusal(error.http_status, str(error))
    except ValidationError as error:
        first = error.errors()[0]
        text = f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
        tells = (
            first["loc"] and first["type"] != "missing"
        )  # what is missing has no value, the body is no field
        return _refusal(400, f"{text} (given {_shown(first['input'])})" if tells else text)
    except Exception as error:  # a control request must never end the process
        return _told(error, request.path)


def _told(error: Exception, path: str) -> web.Response:
    """The refusal for what other packages raise; only what is our mistake hides its text."""
    if isinstance(error, NotAdmitted):
        return _refusal(422, str(error))
    if isinstance(error, UnknownLeafError | UnknownObject):
        return _refusal(404, str(error))
    if isinstance(error, TokenError):
        return _refusal(503, str(error))
    if isinstance(error, StoreError | DBAPIError):
        log.error("the database does not take changes", error=str(error))
        return _refusal(503, "the database does not take changes; nothing was kept, try again")
    log.error("a control request failed", path=path, exc_info=error)
    return _refusal(500, "this is our mistake; the log says more")


def _refusal(status: int, text: str | None) -> web.Response:
    return web.json_response({"error": text or ""}, status=status)


def _shown(value: object) -> str:
    """A value as it was given, shortened."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _span(start: datetime, end: datetime) -> str:
    return f"{start.isoformat()} to {end.isoformat()}"


def _watts(name: str, kw: Decimal | None) -> int:
    """Whole watts; BadInputError if there is not even one."""
    power_w = int((kw or 0) * 1000)
    if power_w <= 0:
        raise BadInputError(f"{name}: {kw} kW is less than one watt, which cannot be asked for")
    return power_w


def _plausible(name: str, instant: datetime, now: datetime) -> datetime:
    """The instant in UTC; BadInputError if it lies so far away that it must be a mistake."""
    if abs(instant - now) > FARTHEST:
        raise BadInputError(f"{name}: {instant.isoformat()} lies more than five years from now")
    return instant.astimezone(UTC)


def _one_key(in_body: str | None, in_header: str | None) -> str | None:
    """The idempotency key, wherever it was given; BadInputError if it is none, or not the same in both."""
    if in_header is not None and not (0 < len(in_header) <= LONGEST_KEY and in_header.isascii()):
        raise BadInputError(
            f"{KEY_HEADER}: a key has 1 to {LONGEST_KEY} ASCII characters (given {_shown(in_header)})"
        )
    if in_header is not None and in_body is not None and in_header != in_body:
        raise BadInputError(
            f"{KEY_HEADER} {_shown(in_header)} is not the body's idempotency_key {_shown(in_body)}"
        )
    return in_body if in_body is not None else in_header


def _instant(request: web.Request, name: str, now: datetime) -> datetime:
    text = request.query.get(name, "")
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestRefusedError(f"{name} is no time: {_shown(text)}") from error
    if instant.tzinfo is None:
        raise RequestRefusedError(f"{name} needs a time zone, such as a Z at the end: {_shown(text)}")
    return _plausible(name, instant, now)
