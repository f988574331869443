"""The VEN at work against the real VTN: every lost byte, every outage, every restart."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from flexpact import pki
from openadr import CreatedEvent, DistributeEvent, Duration, SignalInterval, decode, encode
from openadr.enums import OptType
from openadr.parser import DEFAULT_LIMITS, OWN, count_nodes, parse
from tests.ven.site import HISTORY, NOW, OFFER, USAGE, Site
from tests.ven.wire import ALICE, PATIENCE_S, FastClock, Proxy, eventually, plain, running
from tests.vtn.desk import Desk, anything_goes, make_event, request_all
from ven.settings import VenSettings
from ven.store import Store
from vtn import event as vtn_event
from vtn import registration
from vtn.report import readings
from vtn.server import Server
from vtn.settings import VtnSettings
from vtn.store import Database

FAR = timedelta(days=4000)


class Metered(Site):
    """A site whose meter is complete up to the clock."""

    def __init__(self, clock: FastClock, **more: object) -> None:
        super().__init__(**more)  # type: ignore[arg-type] - fields by name
        self.clock = clock

    def watermark(self, report_name: str) -> datetime | None:
        self.complete_until = self.clock()
        return super().watermark(report_name)


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    async with aiohttp.ClientSession() as http:
        opened = await Desk.open(database, http, poll_period_s=60)
        await opened.enrol()
        yield opened
        await opened.server.stop()


async def answers(desk: Desk) -> list[tuple[str, str]]:
    return [(str(fact.body["event_id"]), str(fact.body["opt_type"])) for fact in await desk.facts("opt")]


def rows(path: Path, table: str) -> int:
    """How many rows a reader of the state file sees that knows nothing of the VEN's process."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.mark.criterion("HTTP-18", "POLL-01", who="both")
async def test_a_ven_registers_follows_an_event_and_reports_over_mutual_tls(
    database: Database, tmp_path: Path
) -> None:
    today = datetime.now(UTC)
    pki.make_authority(tmp_path, today)
    server_id = pki.issue(tmp_path, "vtn", today, server=True)
    ven = pki.issue(tmp_path, "alice", today, server=False)
    async with database.write() as conn:
        ven_id = await registration.enrol(conn, "alice", ven.fingerprint, NOW)
    clock = FastClock(speed=900.0)
    settings = VtnSettings(port=0, cert=server_id.cert, key=server_id.key, ca=server_id.ca, poll_period_s=60)
    server = Server(settings, database, clock, request_all)
    await server.start()
    site = Metered(clock)
    ours = VenSettings(
        vtn_url=f"https://127.0.0.1:{server.port}",
        ven_name="alice",
        state_path=tmp_path / "ven.db",
        cert=ven.cert,
        key=ven.key,
        ca=ven.ca,
        vtn_fingerprint=server_id.fingerprint,
    )
    async with running(ours, site, clock) as store:
        await eventually(lambda: has_sent_history(store))
        start = clock() + timedelta(hours=2)
        async with database.write() as conn:
            await vtn_event.publish(conn, make_event(start=start), ven_id, clock(), anything_goes)
        await eventually(lambda: bool(site.timelines and site.timelines[-1].setpoints()))
        async with database.write() as conn:
            await vtn_event.cancel(conn, "e1", ven_id, clock())
        await eventually(lambda: not site.timelines[-1].setpoints())
        await eventually(lambda: not store.load().answers)
    async with database.read() as conn:
        rows = await readings(
            conn,
            ven_ids=[ven_id],
            r_ids=["load", "home-01", "offer"],
            report_names=[HISTORY, USAGE, OFFER],
            start=NOW - timedelta(days=30),
            end=clock() + timedelta(days=3),
        )
        (state,) = await vtn_event.event_states(conn, "e1")
    # the 28 days begin between two readings of the site
    assert sum(row.report_name == HISTORY for row in rows) == 2 * (28 * 96 - 1)
    assert (state.opt, state.response_code, state.modification_number) == ("optIn", "200", 1)
    assert site.decided == [("e1", 0)]
    await server.stop()


class Cutter(Proxy):
    """Cuts the DistributeEvent, then the answer to the CreatedEvent, after each number of bytes in turn."""

    def __init__(self, target: int, site: Site) -> None:
        super().__init__(target, cut=self._cut_one, replay=self._kept)
        self.site = site
        self.cuts = {"OadrPoll": 0, "EiEvent": 0}
        self.lengths: dict[str, int] = {}
        self.event = b""

    def _cut_one(self, path: str, answer: bytes) -> int | None:
        created = b"oadrCreatedEvent" in self.requests[-1][1]
        relevant = created if path == "EiEvent" else b"oadrDistributeEvent" in answer
        if not relevant or self.cuts.get(path, len(answer)) >= len(answer):
            return None
        if path == "OadrPoll":
            self.event = answer  # the VTN would offer the same at each poll
            assert not self.site.decided  # nothing is acted on before the last byte is there
        self.lengths[path] = len(answer)
        self.cuts[path] += 1
        return self.cuts[path] - 1

    def _kept(self, path: str) -> bytes | None:
        waiting = path == "OadrPoll" and self.cuts[path] < len(self.event)
        return self.event if waiting else None


@pytest.mark.goal(70)
async def test_goals_70_an_event_cut_at_every_byte_is_acted_on_exactly_once(
    desk: Desk, tmp_path: Path
) -> None:
    clock = FastClock(speed=200_000.0)
    site = Site(offered=[])
    async with Cutter(desk.server.port, site).serving() as proxy:
        assert isinstance(proxy, Cutter)
        settings = plain(proxy.port, tmp_path / "ven.db", backoff_cap_s=1.0)
        async with running(settings, site, clock) as store:
            await eventually(lambda: store.load().synced)
            await desk.publish(make_event(start=NOW + FAR))
            await eventually(lambda: bool(site.decided), 10 * PATIENCE_S)
            await eventually(lambda: not store.load().answers, 10 * PATIENCE_S)
            events = store.load().events
    assert proxy.lengths == proxy.cuts
    assert min(proxy.cuts.values()) > 200
    assert site.decided == [("e1", 0)]
    assert len(site.timelines) == 2
    (held,) = events.values()
    assert (held.event.event_id, held.opt_type) == ("e1", OptType.OPT_IN)
    sent = {body for path, body in proxy.requests if b"oadrCreatedEvent" in body}
    assert len(sent) == 1
    assert await answers(desk) == [("e1", "optIn")]


async def test_an_answer_not_acknowledged_before_a_restart_is_sent_after_it(
    desk: Desk, tmp_path: Path
) -> None:
    clock = FastClock(speed=10_000.0)
    site = Site(offered=[])
    async with Proxy(desk.server.port).serving() as proxy:
        settings = plain(proxy.port, tmp_path / "ven.db")
        async with running(settings, site, clock) as store:
            await eventually(lambda: store.load().synced)
            on_disk: list[int] = []

            def down(path: str) -> bool:
                if path == "EiEvent":  # the CreatedEvent has just left the VEN
                    on_disk.append(rows(settings.state_path, "ven_event"))
                return path == "EiEvent"

            proxy.down = down
            await desk.publish(make_event(start=NOW + FAR))
            await eventually(lambda: bool(on_disk))
            assert isinstance(store.load().answers[0], CreatedEvent)
            assert on_disk[0] == 1
        assert await answers(desk) == []
        proxy.down = lambda _path: False
        proxy.requests.clear()
        async with running(settings, site, clock) as store:
            await eventually(lambda: not store.load().answers)
    assert site.decided == [("e1", 0)]
    assert isinstance(decode(proxy.requests[0][1]), CreatedEvent)
    assert await answers(desk) == [("e1", "optIn")]
    # the site hears of its timeline at each start
    assert [len(timeline.setpoints()) for timeline in site.timelines] == [0, 1, 1]


def has_sent_history(store: Store) -> bool:
    """Whether the history is finished, and telemetry and offers are what is left to report."""
    return len(store.load().requests) == 2 and f"ask-{HISTORY}" not in store.waiting()


def all_sent(store: Store, seq: int) -> bool:
    """Whether every report up to this one has been acknowledged."""
    queued = store.next_queued()
    return queued is None or queued.seq > seq


@pytest.mark.criterion("RPT-34", "GEN-18")
async def test_reports_wait_for_the_vtn_and_arrive_oldest_first_and_unchanged(
    desk: Desk, tmp_path: Path
) -> None:
    clock = FastClock(speed=900.0)  # a quarter of an hour is a second
    site = Metered(clock)
    async with Proxy(desk.server.port).serving() as proxy:
        settings = plain(proxy.port, tmp_path / "ven.db")
        async with running(settings, site, clock) as store:
            await eventually(
                lambda: len(store.load().requests) == 2 and f"ask-{HISTORY}" not in store.waiting()
            )
            proxy.down = lambda path: path == "EiReport"
            proxy.requests.clear()
            await eventually(lambda: sum(store.waiting().values()) > 4)
            oldest = store.next_queued()
            assert oldest is not None
            tried = [body for path, body in proxy.requests if path == "EiReport"]
            polls = [path for path, _ in proxy.requests if path == "OadrPoll"]
            proxy.down = lambda _path: False
            proxy.requests.clear()
            await eventually(lambda: all_sent(store, oldest.seq + 4))
            refused = store.refused()
    sent = [body for path, body in proxy.requests if path == "EiReport"]
    assert set(tried) == {sent[0]}  # the same bytes at every try
    assert polls  # and polling went on
    assert refused == []
    starts: dict[str, list[datetime]] = {}
    for body in sent:
        message = decode(body)
        (report,) = message.reports  # type: ignore[attr-defined] - only UpdateReports go to EiReport here
        starts.setdefault(report.report_request_id, []).append(report.dtstart)
    for each in starts.values():
        assert each == sorted(each)


async def test_f14_events_held_go_on_while_the_vtn_is_away_and_new_ones_come_after(
    desk: Desk, tmp_path: Path
) -> None:
    clock = FastClock(speed=10_000.0)
    site = Site(offered=[])
    async with Proxy(desk.server.port).serving() as proxy:
        settings = plain(proxy.port, tmp_path / "ven.db", backoff_cap_s=5.0)
        async with running(settings, site, clock) as store:
            await eventually(lambda: store.load().synced)
            await desk.publish(make_event(start=NOW + FAR))
            await eventually(lambda: bool(store.load().events))
            proxy.down = lambda _path: True
            await desk.publish(make_event("e2", start=NOW + 2 * FAR))
            seen = len(proxy.requests)
            await eventually(lambda: len(proxy.requests) > seen + 20)
            assert set(store.load().events) == {"e1"}
            proxy.down = lambda _path: False
            await eventually(lambda: set(store.load().events) == {"e1", "e2"})
    assert site.decided == [("e1", 0), ("e2", 0)]


async def test_a_vtn_that_forgot_its_vens_gets_a_new_registration(desk: Desk, tmp_path: Path) -> None:
    clock = FastClock(speed=10_000.0)
    site = Site(offered=[])
    async with Proxy(desk.server.port).serving() as proxy:
        settings = plain(proxy.port, tmp_path / "ven.db")
        async with running(settings, site, clock) as store:
            await eventually(lambda: store.load().synced)
            before = store.load().registration
            bob = "b2" * 32
            await desk.enrol(bob, "bob")
            proxy.fingerprint = bob  # another certificate: to the VTN nobody that it knows
            await eventually(lambda: store.load().synced and store.load().registration != before)
            known = store.load().registration
    assert known is not None
    assert known.ven_id == desk.ids[bob]


async def test_a_ven_that_is_not_enrolled_keeps_asking_without_haste(desk: Desk, tmp_path: Path) -> None:
    clock = FastClock(speed=60_000.0)
    async with Proxy(desk.server.port, fingerprint="c3" * 32).serving() as proxy:
        settings = plain(proxy.port, tmp_path / "ven.db")
        async with running(settings, Site(), clock) as store:
            await eventually(lambda: len(proxy.requests) >= 4)
            assert store.load().registration is None
            await desk.enrol("c3" * 32, "carol")
            await eventually(lambda: store.load().synced)


async def test_the_vtns_cancellation_ends_the_registration_and_the_events(desk: Desk, tmp_path: Path) -> None:
    clock = FastClock(speed=10_000.0)
    site = Site(offered=[])
    async with Proxy(desk.server.port).serving() as proxy:
        settings = plain(proxy.port, tmp_path / "ven.db", register_after_cancel_s=None)
        async with running(settings, site, clock) as store:
            await desk_has_an_event(desk, store)
            async with desk.db.write() as conn:
                await registration.cancel(conn, desk.ids[ALICE], NOW)
            await eventually(lambda: store.load().registration is None and not store.load().answers)
            assert store.load().events == {}
    assert site.timelines[-1].setpoints() == []
    async with desk.db.read() as conn:
        (known,) = await registration.vens(conn)
    assert known.registration_id is None


async def test_an_event_of_five_days_in_steps_of_five_minutes_is_followed(desk: Desk, tmp_path: Path) -> None:
    count = 5 * 288
    made = make_event(start=NOW + FAR, length=timedelta(days=5))
    steps = tuple(
        SignalInterval(duration=Duration(300), uid=str(number), payload_float=float(number % 2))
        for number in range(count)
    )
    signal = replace(made.signals[0], intervals=steps)
    made = replace(made, signals=(signal,))
    async with Proxy(desk.server.port).serving() as proxy:
        settings = plain(proxy.port, tmp_path / "ven.db")
        async with running(settings, Site(offered=[]), FastClock(speed=10_000.0)) as store:
            await eventually(lambda: store.load().synced)
            await desk.publish(made)
            await eventually(lambda: bool(store.load().events))
            (held,) = store.load().events.values()
    written = encode(DistributeEvent(request_id="d", vtn_id="v", events=(made,)))
    assert count_nodes(parse(written, OWN)) > DEFAULT_LIMITS.max_nodes
    assert held.event.signals[0].intervals == steps


async def desk_has_an_event(desk: Desk, store: Store) -> None:
    await eventually(lambda: store.load().synced)
    await desk.publish(make_event(start=NOW + FAR))
    await eventually(lambda: bool(store.load().events) and not store.load().answers)


async def test_the_vtns_wish_for_a_renewal_is_met(desk: Desk, tmp_path: Path) -> None:
    clock = FastClock(speed=10_000.0)
    async with (
        Proxy(desk.server.port).serving() as proxy,
        running(plain(proxy.port, tmp_path / "ven.db"), Site(offered=[]), clock) as store,
    ):
        await desk_has_an_event(desk, store)
        before = store.load()
        async with desk.db.write() as conn:
            await registration.ask_to_register_again(conn, desk.ids[ALICE], NOW)
        renewed = b"<ei:registrationID>"
        await eventually(lambda: any(renewed in body for _, body in proxy.requests))
        assert store.load().events == before.events
