"""The aggregator as a process: VTN, control API, and tasks that carry on whatever the database says is
due.

- *attend* wakes on new facts: keeps offers and settles; behind it *forecast*, once a day.
- *look* wakes every few minutes: seals what has gathered, and wakes *attend*, because deadlines pass.
- *checkpoint* seals and signs on the clock's grid.
- *anchor* brings checkpoints to the chain, *agreements* settles there, *witness* has them cosigned by one
  witness; nothing ever waits for them.

Rules: no state but in the database, so a process killed anywhere goes on where it was; a task that fails
says so and tries again. Times of the business go through the clock, waiting for peers in real seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import audit, own_records, portfolio, store
from aggregator.api import Api
from aggregator.api_agreements import AgreementApi
from aggregator.curve import PORTFOLIO, CurveMaker, history_is_in, portfolio_load
from aggregator.forecaster import portfolio_forecast
from aggregator.overview import Overview
from aggregator.profile import QUARTER, Period, floor_to
from aggregator.public_log import PublicLog
from aggregator.readings import LOAD_FORECAST, OFFER, OFFERS, issued, report_requests
from aggregator.settings import AggregatorSettings, ChainSettings
from aggregator.statement import LOOK_BACK, settle_due
from aggregator.tally import Tally
from aggregator.witnessing import Witnessing
from ledger import store as ledger_store
from ledger.checkpoint import SigningKey
from ledger.log import Log
from openadr import Report, ReportRequest
from vtn import journal, registration
from vtn.api import OperatorApi
from vtn.api_route import Office
from vtn.control_socket import ControlSocket, listen
from vtn.errors import StoreError
from vtn.server import Server
from vtn.store import Database, Notice

if TYPE_CHECKING:
    from aggregator.chain_book import ChainBook
    from ledger.anchor import Anchorer

log = structlog.get_logger(__name__)

Sleep = Callable[[float], Awaitable[None]]

LOOK_EVERY_S = 300.0
ANCHOR_EVERY_S = 225.0
RETRY_S = 1.0  # real seconds before a failed task starts over
FORECAST_PATIENCE = timedelta(hours=2)
ATTENDED = "attended"
KNOWN_SHARE = 0.95


class Aggregator:
    """One programme with its nodes. The database must be migrated; see ``flexpact.migrations``."""

    def __init__(self, settings: AggregatorSettings, clock: Callable[[], datetime], sleep: Sleep) -> None:
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        key = SigningKey.load(settings.log.key_file)
        self._log = Log(settings.log.origin, key, settings.log.witness_trust())
        self._witnessing = Witnessing(settings.log.witnesses, self._log, clock)
        self._public = PublicLog(settings.log.public) if settings.log.public else None
        self._anchorer = _anchorer(settings.chain) if settings.chain else None
        self._anchoring = asyncio.Lock()
        self._book = _book(settings, self._log, clock, sleep)
        self._portfolio = portfolio.Portfolio(settings)
        self._maker = CurveMaker(settings.programme)
        self._tally = Tally()
        self._news = asyncio.Event()
        self._attended = asyncio.Event()
        self._published = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._db: Database | None = None
        self._vtn: Server | None = None
        self._api: ControlSocket | None = None
        self._last_anchor_at: datetime | None = None
        self._forecast_day: date | None = None
        self._forecast_late_at = clock()
        self._forecast_tried = False

    @property
    def port(self) -> int:
        """The VTN's port."""
        if self._vtn is None:
            raise RuntimeError("the aggregator is not running")
        return self._vtn.port

    async def start(self) -> None:
        """Open everything and begin; StartupError or SettingsError says in one sentence what stands in the
        way.
        """
        self._db = db = await Database.open(self._settings.database)
        db.listen(self._hear)
        async with db.write() as conn:
            nodes, on_chain = self._settings.nodes, self._book is not None
            await portfolio.enrol(conn, nodes, self._clock(), on_chain=on_chain)
        async with db.read() as conn:
            await self._tally.advance(conn, await store.position(conn, ATTENDED))
        shelf = {own_records.PATH: own_records.OwnRecords(db, self._log).page}
        self._vtn = Server(self._settings.vtn, db, self._clock, self._ask, shelf=shelf)
        await self._vtn.start()
        app = self._make_api(db, self._vtn).app()
        OperatorApi(db, self._office(self._vtn)).mount(app)
        AgreementApi(db, self._book).mount(app)
        loopback = self._settings.loopback.open() if self._settings.loopback else None
        self._api = await listen(app, self._settings.socket, loopback)
        if self._public is not None:
            await self._public.start(db)
        work = {
            "attend": self._attend,
            "forecast": self._forecast,
            "look": self._look,
            "checkpoint": self._checkpoint,
            "anchor": self._anchor,
            **({"agreements": self._book.work} if self._book else {}),
            **self._witnessing.tasks(),
        }
        self._tasks = [
            asyncio.create_task(self._keep(name, task), name=f"aggregator {name}")
            for name, task in work.items()
        ]
        self._news.set()
        log.info(
            "aggregator runs",
            nodes=len(self._settings.nodes),
            port=self.port,
            anchors=self._anchorer is not None,
        )

    def reload(self) -> None:
        """Read the VTN's certificates again: new connections get them, open ones go on."""
        if self._vtn is not None:
            self._vtn.reload()

    async def stop(self) -> None:
        """Stop listening, seal and sign what there is, and close; what is not anchored yet is anchored
        later.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._api is not None:
            await self._api.close()
        if self._public is not None:
            await self._public.close()
        if self._vtn is not None:
            await self._vtn.stop()
        if self._db is not None:
            try:
                await self._sign(self._db)
            except (StoreError, DBAPIError) as error:
                log.error("what came last is sealed after the next start", error=str(error))
            await self._db.close()
        for connected in (self._anchorer, self._book, self._witnessing):
            if connected is not None:
                await connected.close()

    def _make_api(self, db: Database, vtn: Server) -> Api:
        return Api(
            db=db,
            portfolio=self._portfolio,
            overview=Overview(self._portfolio, self._maker, self._tally),
            maker=self._maker,
            market_context=self._settings.programme.market_context,
            log=self._log,
            clock=self._clock,
            contacts=vtn.last_contacts,
            chain_state=self._chain_state,
            seal=self._seal_all,
        )

    def _office(self, vtn: Server) -> Office:
        """What the VTN's own API needs: agreements bind its events too, and requests keep theirs."""
        return Office(
            admit=self._portfolio.admit,
            clock=self._clock,
            contacts=vtn.last_contacts,
            owner=_request_of,
            clock_skews=vtn.clock_skews,
            market_context=self._settings.programme.market_context,
            opt=self._settings.vtn.opt,
            poll_period_s=self._settings.vtn.poll_period_s,
        )

    def _hear(self, notices: Sequence[Notice]) -> None:
        if journal.FACT in notices:
            self._news.set()

    def _ask(self, ven: registration.Ven, reports: Sequence[Report], now: datetime) -> list[ReportRequest]:
        """What the VTN asks of a node whose metadata come: its history only if we do not have it."""
        days = self._settings.programme.history_days
        wanted = days > 0 and self._tally.history_days(ven.ven_id) < KNOWN_SHARE * days
        calendar = self._portfolio.calendar
        midnight = calendar.day(calendar.day_of(now)).start
        history = Period(calendar.shifted(midnight, -days), floor_to(now, QUARTER)) if wanted else None
        return report_requests(ven.ven_id, reports, history, now)

    async def _keep(self, name: str, task: Callable[[Database], Awaitable[None]]) -> None:
        """Run a task for ever; a fault is told and the task starts over."""
        while self._db is not None:
            try:
                await task(self._db)
            except Exception:
                log.exception("a task failed and starts over", task=name)
                await asyncio.sleep(RETRY_S)

    async def _look(self, db: Database) -> None:
        """Deadlines pass and facts gather without any new fact."""
        await self._sleep(LOOK_EVERY_S)
        await audit.seal(db, self._log)
        self._news.set()

    async def _attend(self, db: Database) -> None:
        """Everything that new facts or the time may have made due."""
        await self._news.wait()
        self._news.clear()
        now = self._clock()
        async with db.read() as conn:
            await self._tally.advance(conn)
        reports = self._tally.fresh[:]
        await self._keep_offers(db, reports)
        await self._settle(db, reports, now)
        # only now: a fault before this starts over with the same reports
        del self._tally.fresh[: len(reports)]
        self._attended.set()

    async def _settle(self, db: Database, reports: Sequence[journal.Fact], now: datetime) -> None:
        for statement in await settle_due(db, self._settings.programme, reports, now):
            log.info("statement made", **statement.body())
            if self._book is not None:
                self._book.wake()

    async def _keep_offers(self, db: Database, reports: Sequence[journal.Fact]) -> None:
        """Copy nodes' forecasts as they were issued, before newer ones replace them among the readings."""
        async with db.read() as conn:
            found = [
                (fact.ven_id, r_id, made) for fact in reports for r_id, made in await _series(conn, fact)
            ]
        if found:
            async with db.write() as conn:
                for ven_id, r_id, (made_at, profile) in found:
                    await store.add_series(conn, ven_id, r_id, made_at, profile)

    async def _forecast(self, db: Database) -> None:
        """Make the portfolio's forecast of the day when the readings up to midnight are in, or late without
        some.
        """
        await self._attended.wait()
        self._attended.clear()
        now = self._clock()
        calendar = self._portfolio.calendar
        day = calendar.day_of(now)
        midnight = calendar.day(day).start
        if self._forecast_day != day:
            self._forecast_day, self._forecast_late_at = day, now + FORECAST_PATIENCE
            self._forecast_tried = False
        async with db.read() as conn:
            newest = (await store.newest_series(conn, LOAD_FORECAST, now)).get(PORTFOLIO)
            if newest is not None and newest[0] == midnight:
                return
            ven_ids = [node.ven_id for node in await self._portfolio.nodes(conn)]
            in_time = now < self._forecast_late_at
            if in_time and (self._forecast_tried or not await history_is_in(conn, ven_ids, midnight)):
                return
            self._forecast_tried, self._forecast_late_at = True, now + FORECAST_PATIENCE
            load = await portfolio_load(conn, ven_ids, Period(midnight - LOOK_BACK, midnight))
        made = await portfolio_forecast(load, day, calendar)
        if made is not None:
            async with db.write() as conn:
                await store.add_series(conn, PORTFOLIO, LOAD_FORECAST, midnight, made)
            log.info("portfolio forecast made", day=day.isoformat(), kwh=round(made.energy_kwh(), 1))

    async def _checkpoint(self, db: Database) -> None:
        """Sign the log at the next multiple of the period."""
        period_s = self._settings.programme.checkpoint_period_s
        now = self._clock()
        due = floor_to(now, timedelta(seconds=period_s)) + timedelta(seconds=period_s)
        await self._sleep((due - now).total_seconds())
        await self._sign(db)

    async def _sign(self, db: Database) -> None:
        """Seal and sign all there is, and note up to where reports need not be looked at again after a
        restart.
        """
        await audit.seal(db, self._log)
        fresh = self._tally.fresh
        attended = fresh[0].seq - 1 if fresh else self._tally.seq
        async with db.write() as conn:
            await self._log.publish(conn, self._clock())
            await store.move(conn, ATTENDED, attended)
        self._published.set()
        self._witnessing.wake()

    async def _anchor(self, db: Database) -> None:
        """Try until the chain holds the newest checkpoint, then wait for the next one."""
        if await self._anchor_once(db):
            await self._published.wait()
        else:
            await self._sleep(ANCHOR_EVERY_S)

    async def _anchor_once(self, db: Database) -> bool:
        """One try; whether everything that is signed is on the chain. True without a chain."""
        self._published.clear()
        if self._anchorer is None:
            return True
        async with self._anchoring:
            before = self._anchorer.state
            async with db.read() as conn:
                held = await ledger_store.anchored_size(conn)
            state = await self._anchorer.step(db, self._clock())
        if state.anchored > held:
            self._last_anchor_at = self._clock()
        if before is None or (before.status, before.alarm) != (state.status, state.alarm):
            say = log.error if state.alarm else log.info
            say("anchoring", status=str(state.status), text=state.text, anchored=state.anchored)
        return str(state.status) == "idle"

    async def _seal_all(self, timeout_s: float) -> bool:
        """Settle what is due, seal, sign, anchor; whether the chain had everything within ``timeout_s``."""
        db = self._db
        if db is None:
            return False
        await self._settle(db, [], self._clock())
        await self._sign(db)
        if self._book is not None:
            await self._book.catch_up(db, timeout_s)
        if self._anchorer is None:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not await self._anchored(db):
                    if not await self._anchor_once(db):
                        await asyncio.sleep(RETRY_S / 5)
        return await self._anchored(db)

    async def _anchored(self, db: Database) -> bool:
        async with db.read() as conn:
            return await ledger_store.anchored_size(conn) == await ledger_store.log_size(conn)

    def _chain_state(self) -> dict[str, Any]:
        state = self._anchorer.state if self._anchorer else None
        ok = state is not None and str(state.status) in {"idle", "waiting"}
        return {
            "ok": ok,
            "status": str(state.status) if state else "not asked yet",
            "text": state.text if state else "",
            "last_anchor_at": self._last_anchor_at.isoformat() if self._last_anchor_at else None,
            "head": state.anchored if state else 0,
            "behind_since": state.behind_since.isoformat() if state and state.behind_since else None,
            "alarm": state is not None and state.alarm,
        }


async def _request_of(conn: AsyncConnection, event_id: str) -> str | None:
    """Who decides about an event that a request made: the statements follow the request."""
    found = await store.find_request(conn, event_id=event_id)
    return None if found is None else f"is of request {found.request_id!r}: cancel that"


async def _series(conn: Any, fact: journal.Fact) -> list[tuple[str, Any]]:
    """The forecasts that a report fact speaks of."""
    body = fact.body
    if fact.kind != "report" or body["report_name"] != OFFERS or not (body["start"] and body["end"]):
        return []
    period = Period(datetime.fromisoformat(body["start"]), datetime.fromisoformat(body["end"]))
    found = [(r_id, await issued(conn, fact.ven_id, r_id, period)) for r_id in (LOAD_FORECAST, OFFER)]
    return [(r_id, made) for r_id, made in found if made is not None]


def _anchorer(chain: ChainSettings) -> Anchorer:
    from ledger.anchor import Anchorer  # noqa: PLC0415 - web3 costs 25 MB and a second: only with a chain

    return Anchorer(chain.anchor())


def _book(
    settings: AggregatorSettings, sealed: Log, clock: Callable[[], datetime], sleep: Sleep
) -> ChainBook | None:
    if settings.agreements is None or settings.chain is None:
        return None
    from aggregator.chain_book import ChainBook  # noqa: PLC0415 - as above

    calendar = settings.programme.calendar()
    return ChainBook((settings.agreements, settings.chain, settings.nodes, calendar), sealed, clock, sleep)
