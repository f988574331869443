"""A VEN and a VTN over mutual TLS: what both have kept of the same day agrees, signed in the XML or not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import ClientSession

from aggregator.audit import fact_record
from feid.audit import Fault, Present, compare
from feid.evidence import own_keys
from feid.guard import Limits
from feid.settings import DriverSettings, FeidSettings
from flexpact import pki
from ledger.record import Record
from ledger.source import verify_source
from openadr import ActivePeriod, CreatedEvent, Duration, Message, Report, ReportRequest
from openadr.certificate import KeyKind
from openadr.enums import OptType
from openadr.errors import NotAllowed
from tests.ven.site import NOW, Site
from tests.ven.wire import FastClock, eventually, running
from tests.vtn.desk import HISTORY, anything_goes, make_event, request_all
from ven.deed import Deed, Kind
from ven.errors import UnreachableError
from ven.settings import VenSettings
from ven.store import Recollection, recollect
from ven.transport import Transport
from vtn import event, journal, registration
from vtn.server import Server
from vtn.settings import VtnSettings
from vtn.store import Database

SPEED = 240.0


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VTN and a VEN of one authority."""
    made = tmp_path_factory.mktemp("pki")
    now = datetime.now(UTC)
    pki.make_authority(made, now)
    pki.issue(made, "vtn", now, server=True)
    pki.issue(made, "alice", now, server=False)
    return made


@dataclass
class Place:
    """A VTN, and the settings of the VEN that is enrolled there."""

    db: Database
    server: Server
    clock: FastClock
    directory: Path
    state: Path
    ven_id: str

    def settings(self, **changes: object) -> VenSettings:
        mine = pki.identity(self.directory, "alice", KeyKind.EC)
        values: dict[str, object] = {
            "vtn_url": f"https://localhost:{self.server.port}",
            "ven_name": "alice",
            "state_path": self.state,
            "cert": mine.cert,
            "key": mine.key,
            "ca": mine.ca,
        }
        return VenSettings(**(values | changes))  # type: ignore[arg-type] - fields by name

    async def publish(self, start: timedelta, event_id: str = "e1") -> None:
        async with self.db.write() as conn:
            told = make_event(event_id, (self.clock() + start).replace(microsecond=0))
            await event.publish(conn, told, self.ven_id, self.clock(), anything_goes)

    async def records(self) -> list[Record]:
        async with self.db.read() as conn:
            return [fact_record(fact) for fact in await journal.facts_after(conn, 0, 10_000)]

    def present(self) -> Present:
        """A moment when everything must be in the log."""
        return Present(self.clock(), patience=timedelta(0))


def long_at_work(memory: Recollection) -> Recollection:
    """The same of a box that remembers for longer than the test takes."""
    older = Deed(Kind.SAID, NOW - timedelta(hours=1), "e0/0/optIn/200")
    return replace(memory, deeds=(older, *memory.deeds))


def short_history(ven: registration.Ven, reports: Sequence[Report], now: datetime) -> list[ReportRequest]:
    """All that is offered, of the history three days."""
    return [
        replace(each, report_specifier=replace(each.report_specifier, report_interval=_three_days(now)))
        if HISTORY in each.report_request_id
        else each
        for each in request_all(ven, reports, now)
    ]


def _three_days(now: datetime) -> ActivePeriod:
    return ActivePeriod(dtstart=now - timedelta(days=3), duration=Duration.of(timedelta(days=3)))


@pytest.fixture
async def place(directory: Path, database: Database, tmp_path: Path) -> AsyncIterator[Place]:
    clock = FastClock(speed=SPEED)
    mine = pki.identity(directory, "vtn", KeyKind.EC)
    settings = VtnSettings(
        port=0, cert=mine.cert, key=mine.key, ca=mine.ca, poll_period_s=5, signature_window_s=300
    )
    server = Server(settings, database, clock, short_history)
    await server.start()
    alice = pki.identity(directory, "alice", KeyKind.EC)
    async with database.write() as conn:
        ven_id = await registration.enrol(conn, "alice", alice.fingerprint, clock())
    yield Place(database, server, clock, directory, tmp_path / "ven.db", ven_id)
    await server.stop()


@pytest.mark.parametrize("in_xml", [False, True])
async def test_what_both_have_kept_of_a_day_agrees(place: Place, in_xml: bool) -> None:
    site = Site()
    settings = place.settings(xml_signature=in_xml, signature_window_s=300)
    async with running(settings, site, place.clock) as store:
        await eventually(lambda: store.load().synced)
        await place.publish(timedelta(hours=2))
        await place.publish(timedelta(hours=5), "e2")
        await eventually(lambda: len(site.decided) == 2 and not store.load().answers)
        async with place.db.write() as conn:
            current = await event.event_of(conn, place.ven_id, "e2")
            assert current is not None
            changed = make_event("e2", current.dtstart + timedelta(hours=1))
            await event.modify(conn, changed, place.ven_id, place.clock(), anything_goes)
        await eventually(lambda: len(site.decided) == 3 and not store.load().answers)
        async with place.db.write() as conn:
            await event.cancel(conn, "e2", place.ven_id, place.clock())
        await eventually(lambda: store.load().events["e2"].event.modification_number == 2)
        await eventually(lambda: not store.load().answers and not store.waiting())
    memory, records = recollect(place.state), await place.records()
    assert {deed.kind for deed in memory.deeds} == set(Kind)
    tally = compare(memory, records, place.present())
    assert tally.findings == ()
    sent = sum(deed.kind is Kind.REPORT for deed in memory.deeds)
    assert (tally.reports, tally.signals, tally.opts, tally.pending) == (sent, 4, 4, 0)
    assert sent >= 3
    sources = {verify_source(record) for record in records if record.kind == "report"}
    fingerprint = pki.identity(place.directory, "alice", KeyKind.EC).fingerprint
    assert {each.certificate_sha256 if each else "" for each in sources} == {fingerprint}
    _each_change_is_found(place, records)


def _each_change_is_found(place: Place, records: list[Record]) -> None:
    """Of each kind of fact the last record: taken away, then with another content."""
    memory, present = long_at_work(recollect(place.state)), place.present()
    for kind, name in (("report", "raw_sha256"), ("signal", "event_sha256"), ("opt", "opt_type")):
        index = max(number for number, record in enumerate(records) if record.kind == kind)
        without = records[:index] + records[index + 1 :]
        assert [each.fault for each in compare(memory, without, present).findings] == [Fault.MISSING]
        other = {"report": sha256(b"x").hexdigest(), "signal": "00" * 32, "opt": str(OptType.OPT_OUT)}[kind]
        body = {key: value for key, value in records[index].body.items() if key != "source"}
        changed = replace(records[index], body={**body, name: other})
        faults = [each.fault for each in compare(memory, [*without, changed], present).findings]
        wanted = [Fault.FORGED, Fault.MISSING] if kind == "opt" else [Fault.DIFFERENT]
        assert faults == wanted


async def test_an_opt_that_the_vtn_refuses_is_remembered_as_said_alone(place: Place) -> None:
    async def refuse(message: Message, *_: object) -> None:
        if isinstance(message, CreatedEvent):
            raise NotAllowed("not from you")

    site, reception = Site(), place.server._reception
    reception._terms = replace(reception._terms, review=refuse)
    async with running(place.settings(), site, place.clock) as store:
        await eventually(lambda: store.load().synced)
        await place.publish(timedelta(hours=2))
        await eventually(lambda: bool(site.decided) and not store.load().answers)
    memory, records = recollect(place.state), await place.records()
    opts = [(each.kind, each.subject) for each in memory.deeds if each.kind in {Kind.SAID, Kind.OPT}]
    assert opts == [(Kind.SAID, "e1/0/optIn/200")]
    assert not [record for record in records if record.kind == "opt"]
    assert compare(memory, records, place.present()).findings == ()


async def test_an_answer_that_is_lost_makes_no_false_alarm(place: Place) -> None:
    """The VTN has taken a report; the VEN is cut off before it hears of it, and never sends it again."""
    async with running(place.settings(), Site(), place.clock) as store:
        await eventually(lambda: store.load().synced and not store.waiting() and bool(store.load().requests))
        await eventually(lambda: any(each.kind is Kind.REPORT for each in store._done))
        store._done.clear()  # as after a crash: what waited for the next change is gone
    memory, records = long_at_work(recollect(place.state)), await place.records()
    keys = _own_keys(place)
    tally = compare(memory, records, replace(place.present(), own_keys=keys))
    assert tally.findings == ()
    assert compare(memory, records, place.present()).findings != ()  # it is the signature that tells


async def test_a_report_signed_again_since_its_answer_was_lost_is_no_alarm(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sending is signed anew: the VTN keeps the first one's bytes, the VEN remembers the last one's."""
    lost: list[str] = []
    carry = Transport._post

    async def lose_the_first(
        self: Transport, session: ClientSession, url: str, body: bytes, head: Mapping[str, str]
    ) -> bytes:
        answer = await carry(self, session, url, body, head)
        if url.endswith("EiReport") and head and not lost:
            lost.append(sha256(body).hexdigest())
            raise UnreachableError("cut off")
        return answer

    monkeypatch.setattr(Transport, "_post", lose_the_first)
    settings = place.settings(xml_signature=True, signature_window_s=300)
    async with running(settings, Site(), place.clock) as store:
        await eventually(lambda: store.load().synced and not store.waiting() and bool(lost))
    memory, records = recollect(place.state), await place.records()
    assert lost[0] in {record.body.get("raw_sha256") for record in records}
    assert lost[0] not in {deed.sha256.hex() for deed in memory.deeds}
    assert compare(memory, records, replace(place.present(), own_keys=_own_keys(place))).findings == ()


def _own_keys(place: Place) -> frozenset[str]:
    limits = Limits(connection_capacity_kw=10.0)
    driver = DriverSettings("simulated", place.state)
    return own_keys(FeidSettings("n", place.state, driver, limits, place.settings()))
