"""The aggregator as a process: VTN, control API, and tasks that carry on whatever the database says is
due.

- *attend* wakes on new facts: keeps offers and settles; behind it *forecast*, once a day.
- *look* wakes every few minutes: seals what has gathered, and wakes *attend*, because deadlines pass.
- *checkpoint* seals and signs on the clock's grid.
- *alarms* looks at what can be wrong, *notices* tells of it.
- *anchor* brings checkpoints to the chain, *agreements* settles there, *witness* has them cosigned by one
  witness; nothing ever waits for them.

Rules: no state but in the database, so a process killed anywhere goes on where it was; a task that fails
says so and tries again. Times of the business go through the clock, waiting for peers in real seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import audit, enrolment, own_records, portfolio, store
from aggregator.access.access import Access, wall_clock
from aggregator.access.control import UserControl
from aggregator.alarm_wiring import fleet_of, make_watch
from aggregator.anchoring import Anchoring
from aggregator.api import Api
from aggregator.api_agreements import AgreementApi
from aggregator.clearance import MACHINE_OWNER, Sender
from aggregator.curve import PORTFOLIO, CurveMaker, history_is_in, portfolio_load
from aggregator.dashboard.page import Desk
from aggregator.forecaster import portfolio_forecast
from aggregator.front import Front, open_front
from aggregator.overview import Overview
from aggregator.profile import QUARTER, Period, floor_to
from aggregator.public_log import PublicLog
from aggregator.readings import LOAD_FORECAST, OFFER, OFFERS, issued, report_requests
from aggregator.settings import AggregatorSettings
from aggregator.statement import LOOK_BACK, settle_due
from aggregator.tally import Tally
from aggregator.task_keeper import TaskKeeper
from aggregator.web import Web
from aggregator.witnessing import Witnessing
from ledger.errors import TokenError
from ledger.log import Log
from ledger.log_key import log_key
from openadr import Report, ReportRequest
from vtn import journal, registration
from vtn.api import OperatorApi
from vtn.api_route import Office
from vtn.control_socket import ControlSocket, listen
from vtn.errors import StoreError
from vtn.server import Server
from vtn.store import Database, Notice

if TYPE_CHECKING:
    from aggregator.alarm_watch import AlarmWatch
    from aggregator.chain_book import ChainBook

log = structlog.get_logger(__name__)

Sleep = Callable[[float], Awaitable[None]]

LOOK_EVERY_S = 300.0
FORECAST_PATIENCE = timedelta(hours=2)
ATTENDED = "attended"
KNOWN_SHARE = 0.95


class Aggregator:
    """One programme with its nodes. The database must be migrated; see ``flexpact.migrations``."""

    def __init__(
        self,
        settings: AggregatorSettings,
        clock: Callable[[], datetime],
        sleep: Sleep,
        wall: Callable[[], datetime] = wall_clock,
    ) -> None:
        """`clock` may be simulated; `wall` is the time of the people who sign in."""
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._wall = wall
        key = log_key(settings.log.key, settings.log.origin)
        self._log = Log(settings.log.origin, key, settings.log.witness_trust(), settings.log.former())
        self._witnessing = Witnessing(settings.log.witnesses, self._log, clock)
        self._public = PublicLog(settings.log.public) if settings.log.public else None
        self._anchoring = Anchoring(settings.chain, clock, sleep)
        self._book = _book(settings, self._log, clock, sleep)
        self._portfolio = portfolio.Portfolio(settings)
        self._maker = CurveMaker(settings.programme)
        self._tally = Tally()
        self._web_address = lambda: self.web.address if self.web else ""
        self._news = asyncio.Event()
        self._attended = asyncio.Event()
        self._tasks = TaskKeeper(clock)
        self._watch: AlarmWatch | None = None
        self._db: Database | None = None
        self._vtn: Server | None = None
        self._front: Front | None = None
        self._api: ControlSocket | None = None
        self._forecast_day: date | None = None
        self._forecast_late_at = clock()
        self._forecast_tried = False

    @property
    def port(self) -> int:
        """The VTN's port."""
        if self._vtn is None:
            raise RuntimeError("the aggregator is not running")
        return self._vtn.port

    @property
    def web(self) -> Web | None:
        """The dashboard's listener, where there is one."""
        return self._front.web if self._front else None

    async def start(self) -> None:
        """Open everything and begin; StartupError or SettingsError says in one sentence what stands in the
        way.
        """
        self._db = db = await Database.open(self._settings.database)
        db.listen(self._portfolio.hear)
        db.listen(self._hear)
        async with db.write() as conn:
            nodes, on_chain = self._settings.nodes, self._book is not None
            await enrolment.enrol(conn, nodes, self._clock(), on_chain=on_chain)
        async with db.read() as conn:
            await self._tally.advance(conn, await store.position(conn, ATTENDED))
            await self._portfolio.follow_limits(conn)
        own = own_records.OwnRecords(db, self._log)
        shelf = {own_records.PATH: own.page, own_records.GROWTH_PATH: own.growth}
        self._vtn = Server(self._settings.vtn, db, self._clock, self._ask, shelf=shelf)
        await self._vtn.start()
        app = self._make_api(db, self._vtn).app()
        OperatorApi(db, self._office(self._vtn, MACHINE_OWNER)).mount(app)
        AgreementApi(db, self._book).mount(app)
        access = await Access.over(db, self._settings.sealing_key, self._wall, self._web_address)
        UserControl(access, self._clock).mount(app)
        loopback = self._settings.loopback.open() if self._settings.loopback else None
        self._api = await listen(app, self._settings.socket, loopback)
        if self._public is not None:
            await self._public.start(db)
        self._watch = self._make_watch(self._vtn)
        if self._settings.web is not None:
            self._front = await open_front(self._settings.web, self._desk(db, self._vtn, access))
        work = {
            "attend": self._attend,
            "forecast": self._forecast,
            "look": self._look,
            "checkpoint": self._checkpoint,
            "anchor": self._anchoring.work,
            **({"agreements": self._book.work} if self._book else {}),
            **self._witnessing.tasks(),
            "alarms": self._watch.work,
            "notices": self._watch.send,
        }
        self._tasks.start(db, work)
        self._news.set()
        count, anchors = len(self._settings.nodes), self._settings.chain is not None
        log.info("aggregator runs", nodes=count, port=self.port, anchors=anchors)

    def reload(self) -> None:
        """Read the certificates again: new connections get them, open ones go on."""
        if self._vtn is not None:
            self._vtn.reload()
        if self._front is not None:
            self._front.web.reload()

    async def stop(self) -> None:
        """Stop listening, seal and sign what there is, and close; what is not anchored yet is anchored
        later.
        """
        await self._tasks.stop()
        if self._watch is not None:
            await self._watch.close()  # it sends no more, before the database that it writes to is closed
        for front in (self._front, self._api):
            if front is not None:
                await front.close()
        if self._public is not None:
            await self._public.close()
        if self._vtn is not None:
            await self._vtn.stop()
        if self._db is not None:
            try:
                await self._sign(self._db)
            except (StoreError, DBAPIError, TokenError) as error:
                log.error("what came last is sealed after the next start", error=str(error))
            await self._db.close()
            self._db = None
        for connected in (self._anchoring, self._book, self._witnessing):
            if connected is not None:
                await connected.close()

    def _desk(self, db: Database, vtn: Server, access: Access) -> Desk:
        """What the dashboard's pages know of us."""
        return Desk(
            db=db,
            access=access,
            settings=self._settings,
            portfolio=self._portfolio,
            overview=Overview(self._portfolio, self._maker, self._tally),
            maker=self._maker,
            log=self._log,
            clock=self._clock,
            office=self._office(vtn, Sender("api")),
            chain_state=self._anchoring.state,
            seal=self._seal_all,
            vtn=vtn,
            tasks=self._tasks,
            book=self._book,
            watch=self._watch,
        )

    def _make_watch(self, vtn: Server) -> AlarmWatch:
        """What keeps the alarms."""
        return make_watch(
            self._settings,
            fleet=partial(fleet_of, self._settings, vtn),
            chain_state=self._anchoring.state,
            witnesses=self._witnessing.troubles,
            tasks=self._tasks.failing,
            address=self._web_address,
            clock=self._clock,
            sleep=self._sleep,
        )

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
            chain_state=self._anchoring.state,
            seal=self._seal_all,
        )

    def _office(self, vtn: Server, sender: Sender) -> Office:
        """What the VTN's own API needs: what binds requests binds its events, and requests keep theirs."""
        return Office(
            admit=self._portfolio.admit,
            clock=self._clock,
            contacts=vtn.last_contacts,
            owner=_request_of,
            clock_skews=vtn.clock_skews,
            market_context=self._settings.programme.market_context,
            opt=self._settings.vtn.opt,
            poll_period_s=self._settings.vtn.poll_period_s,
            judge=partial(self._portfolio.judge, sender),
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
        self._anchoring.wake()
        self._witnessing.wake()

    async def _seal_all(self, timeout_s: float) -> bool:
        """Settle what is due, seal, sign, anchor; whether the chain had everything within ``timeout_s``."""
        db = self._db
        if db is None:
            return False
        await self._settle(db, [], self._clock())
        await self._sign(db)
        if self._book is not None:
            await self._book.catch_up(db, timeout_s)
            await self._sign(db)  # where a penalty was waived, a statement followed
        return await self._anchoring.catch_up(db, timeout_s)


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


def _book(
    settings: AggregatorSettings, sealed: Log, clock: Callable[[], datetime], sleep: Sleep
) -> ChainBook | None:
    if settings.agreements is None or settings.chain is None:
        return None
    from aggregator.chain_book import ChainBook  # noqa: PLC0415 - as above

    parts = (settings.agreements, settings.chain, settings.nodes, settings.programme)
    return ChainBook(parts, sealed, clock, sleep)
