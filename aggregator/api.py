"""The control API on a Unix socket: JSON in, JSON out, for the operator's tools on this machine.

Rules: bodies are checked at the border; every refusal is ``{"error": text}``, made in one place; whoever
may open the socket is the operator (mode 0600).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import DBAPIError

from aggregator import request as operator_request
from aggregator.curve import CurveMaker
from aggregator.dispatch import ReductionRequest
from aggregator.errors import RequestRefusedError, SettingsError
from aggregator.overview import Overview, described
from aggregator.portfolio import Portfolio
from aggregator.profile import Period
from aggregator.request import Asked
from ledger.errors import UnknownLeafError
from ledger.log import Log
from vtn.errors import NotAdmitted, StoreError, UnknownObject
from vtn.store import Database

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KEY_HEADER = "Idempotency-Key"
LONGEST_PROFILE_DAYS = 62


class RequestBody(BaseModel):
    """The body of POST /requests and /requests/preview."""

    model_config = ConfigDict(extra="forbid")

    start: AwareDatetime
    end: AwareDatetime
    power_kw: Decimal | None = Field(
        default=None, gt=0, le=1_000_000, description="reduction; the nodes are chosen"
    )
    nodes: dict[str, Decimal] | None = Field(
        default=None, min_length=1, description="kW by name; no choice is made"
    )
    test_event: bool = False
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=128)

    def asked(self, header_key: str | None) -> Asked:
        """The request as a value; RequestRefusedError where it cannot be one."""
        if (self.power_kw is None) == (self.nodes is None):
            raise RequestRefusedError("give either power_kw or nodes")
        watts = {name: int(kw * 1000) for name, kw in self.nodes.items()} if self.nodes is not None else None
        if watts is not None and min(watts.values()) <= 0:
            raise RequestRefusedError("the power of each node must be above 0")
        power_w = sum(watts.values()) if watts is not None else int((self.power_kw or 0) * 1000)
        if power_w <= 0:
            raise RequestRefusedError("less than one watt cannot be asked for")
        period = operator_request.period_of(self.start, self.end)
        return Asked(
            ReductionRequest(period, power_w), watts, self.test_event, self.idempotency_key or header_key
        )


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
                conn, self.portfolio, self.market_context, asked, self.clock()
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
        start, end = _instant(request, "start"), _instant(request, "end")
        if not start < end or (end - start).days > LONGEST_PROFILE_DAYS:
            raise RequestRefusedError(f"end must lie after start, by {LONGEST_PROFILE_DAYS} days at most")
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
            day = date.fromisoformat(text) if text else self.portfolio.calendar.day_of(self.clock())
        except ValueError as error:
            raise RequestRefusedError(f"day is no date: {text!r}") from error
        async with self.db.read() as conn:
            return web.json_response(await self.overview.forecasts(conn, day))

    async def receipt(self, request: web.Request) -> web.StreamResponse:
        """A leaf's record and receipt, as the files that a verifier reads."""
        index = request.match_info["index"]
        if not index.isascii() or not index.isdigit() or len(index) > 15:
            raise RequestRefusedError(f"a leaf index is a number, not {index[:20]!r}")
        async with self.db.read() as conn:
            record, receipt = await self.log.receipt(conn, int(index))
        return web.json_response({"record": record.to_file().decode(), "receipt": receipt.to_file().decode()})

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
        return RequestBody.model_validate_json(await request.read()).asked(request.headers.get(KEY_HEADER))


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
        return _refusal(400, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}")
    except Exception as error:  # a control request must never end the process
        return _told(error, request.path)


def _told(error: Exception, path: str) -> web.Response:
    """The refusal for what other packages raise; only what is our mistake hides its text."""
    if isinstance(error, NotAdmitted):
        return _refusal(422, str(error))
    if isinstance(error, UnknownLeafError | UnknownObject):
        return _refusal(404, str(error))
    if isinstance(error, StoreError | DBAPIError):
        log.error("the database does not take changes", error=str(error))
        return _refusal(503, "the database does not take changes; nothing was kept, try again")
    log.error("a control request failed", path=path, exc_info=error)
    return _refusal(500, "this is our mistake; the log says more")


def _refusal(status: int, text: str | None) -> web.Response:
    return web.json_response({"error": text or ""}, status=status)


def _instant(request: web.Request, name: str) -> datetime:
    text = request.query.get(name, "")
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestRefusedError(f"{name} is no time: {text!r}") from error
    if instant.tzinfo is None:
        raise RequestRefusedError(f"{name} needs a time zone, such as a Z at the end")
    return instant


async def listen(app: web.Application, path: Path) -> web.AppRunner:
    """Serve on a Unix socket that its owner alone may open; SettingsError says why not."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await asyncio.to_thread(_make_way, path)
        mask = os.umask(0o177)  # the socket is the owner's from its first instant on
        try:
            await web.UnixSite(runner, str(path)).start()
        finally:
            os.umask(mask)
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(f"cannot listen on {path}: {error.strerror or error}") from error
    return runner


def _make_way(path: Path) -> None:
    """Make the socket's folder, and remove a socket that a killed process left; anything else stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_socket():
        path.unlink()
