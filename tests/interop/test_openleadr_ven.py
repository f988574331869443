"""A stranger's VEN at our VTN: openleadr's OpenADRClient, over mutual TLS, in real time.

What that client does differently, and our VTN takes: it registers anew at each start, refuses a vtnID in
lower case, signs its messages by default, and sends its reports without interval durations.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flexpact import pki
from openadr import ActivePeriod, Duration, Report, ReportRequest, ReportSpecifier, SpecifierPayload
from tests.vtn.desk import anything_goes, make_event
from vtn import event, journal, opt, outbox, reading, registration, report
from vtn.registration import Ven
from vtn.server import BASE, Server
from vtn.settings import TlsProfile, VtnSettings
from vtn.store import Database

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports use calls that newer Pythons deprecate
    from openleadr import OpenADRClient

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # it opens certificate files and leaves them to the collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PATIENCE_S = 60


def ask_each_second(_ven: Ven, reports: Sequence[Report], now: datetime) -> list[ReportRequest]:
    """Telemetry of every data point, each second, reported each two."""
    return [
        ReportRequest(
            report_request_id=f"ask-{item.report_specifier_id}",
            report_specifier=ReportSpecifier(
                report_specifier_id=item.report_specifier_id,
                granularity=Duration(1),
                report_back_duration=Duration(2),
                report_interval=ActivePeriod(dtstart=now.replace(microsecond=0), duration=Duration(3600)),
                specifier_payloads=tuple(SpecifierPayload(r_id=d.r_id) for d in item.report_descriptions),
            ),
        )
        for item in reports
    ]


@dataclass
class Meeting:
    """Our VTN, and where the stranger's certificate lies."""

    server: Server
    db: Database
    identity: pki.Identity
    ven_id: str
    changed: asyncio.Event

    async def until(self, question: Callable[[Any], Any]) -> Any:
        """The first true answer to `question(conn)`, asked after each commit."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self.changed.clear()
                async with self.db.read() as conn:
                    if answer := await question(conn):
                        return answer
                await self.changed.wait()


@asynccontextmanager
async def meeting(directory: Path, database_path: Path, profile: TlsProfile) -> AsyncIterator[Meeting]:
    now = datetime.now(UTC)
    pki.make_authority(directory, now)
    mine = pki.issue(directory, "vtn", now, server=True)
    theirs = pki.issue(directory, "stranger", now, server=False)
    db = await Database.open(database_path)
    changed = asyncio.Event()
    db.listen(lambda _notices: changed.set())
    settings = VtnSettings(
        port=0, cert=mine.cert, key=mine.key, ca=mine.ca, poll_period_s=1, tls_profile=profile
    )
    server = Server(settings, db, lambda: datetime.now(UTC), ask_each_second)
    await server.start()
    async with db.write() as conn:
        ven_id = await registration.enrol(conn, "stranger", theirs.fingerprint, now)
    try:
        yield Meeting(server, db, theirs, ven_id, changed)
    finally:
        await server.stop()
        await db.close()


async def _changed_and_cancelled(met: Meeting, start: datetime) -> None:
    """The event becomes longer, which they opt out of, and is taken back, which they confirm."""

    def now_at(number: int, opt: str | None) -> Callable[[Any], Any]:
        async def question(conn: Any) -> bool:
            (state,) = await event.event_states(conn, "reduce")
            return (state.modification_number, state.opt) == (number, opt)

        return question

    async with met.db.write() as conn:
        longer = make_event("reduce", start, timedelta(minutes=3))
        await event.modify(conn, longer, met.ven_id, datetime.now(UTC), anything_goes)
    await met.until(now_at(1, "optOut"))
    async with met.db.write() as conn:
        await event.cancel(conn, "reduce", met.ven_id, datetime.now(UTC))
    await met.until(now_at(2, "optOut"))
    async with met.db.read() as conn:
        said = [(entry.modification_number, entry.opt_type) for entry in await opt.opts(conn, "reduce")]
    assert said == [(0, "optIn"), (1, "optOut"), (2, "optOut")]


async def _renewed_and_left(met: Meeting, client: Any) -> None:
    """They register again when they are asked to, with their ids, and take their registration back."""
    async with met.db.write() as conn:
        before = await registration.find(conn, met.ven_id)
        await registration.ask_to_register_again(conn, met.ven_id, datetime.now(UTC))

    async def renewed(conn: Any) -> bool:
        return not await outbox.waiting(conn, met.ven_id, outbox.REQUEST_REREGISTRATION)

    await met.until(renewed)
    assert (client.ven_id, client.registration_id) == (met.ven_id, before.registration_id)
    async with met.db.read() as conn:
        assert await registration.find(conn, met.ven_id) == before  # a renewal, no registration anew
        assert len(await report.requests(conn, met.ven_id)) == 1
    _, offered = await client.query_registration()
    assert (offered["ven_id"], offered["vtn_id"]) == (met.ven_id, "FLEXPACT")
    await client.cancel_party_registration()
    assert client.registration_id is None
    async with met.db.read() as conn:
        assert not (await registration.find(conn, met.ven_id)).registered


@pytest.mark.parametrize(
    ("profile", "signed"),
    [(TlsProfile.COMPAT, False), (TlsProfile.MODERN, True)],
    ids=["compat", "modern-signed"],
)
async def test_openleadrs_ven_registers_opts_in_and_reports(
    profile: TlsProfile, signed: bool, tmp_path: Path, database_path: Path
) -> None:
    logging.getLogger("openleadr").setLevel(logging.ERROR)
    seen: list[str] = []

    async def opt_in(told: dict[str, Any]) -> str:
        seen.append(told["event_descriptor"]["event_status"])
        return "optIn"

    async def opt_out(told: dict[str, Any]) -> str:
        seen.append(told["event_descriptor"]["event_status"])
        return "optOut"

    async with meeting(tmp_path, database_path, profile) as met:
        client = OpenADRClient(
            ven_name="stranger",
            vtn_url=f"https://127.0.0.1:{met.server.port}{BASE}",
            cert=str(met.identity.cert),
            key=str(met.identity.key),
            ca_file=str(met.identity.ca),
            disable_signature=not signed,
            show_fingerprint=False,
            allow_jitter=False,
        )
        client.add_handler("on_event", opt_in)
        client.add_handler("on_update_event", opt_out)
        client.add_report(
            callback=lambda: 42.0,
            resource_id="house",
            r_id="load",
            report_specifier_id="meter",
            measurement="energyReal",
            unit="Wh",
            sampling_rate=timedelta(seconds=1),
        )
        await client.run()
        assert client.ven_id == met.ven_id
        start = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=10)
        async with met.db.write() as conn:
            made = make_event("reduce", start, timedelta(minutes=2))
            await event.publish(conn, made, met.ven_id, datetime.now(UTC), anything_goes)

        async def opted(conn: Any) -> bool:
            return [state.opt for state in await event.event_states(conn, "reduce")] == ["optIn"]

        async def reported(conn: Any) -> bool:
            rows = await report.readings(conn, ven_ids=[met.ven_id], r_ids=["load"])
            return len(rows) >= 2 and {row.value for row in rows} == {42.0}

        await met.until(opted)
        await _changed_and_cancelled(met, start)
        assert seen == ["far", "far", "cancelled"]
        await met.until(reported)
        await _renewed_and_left(met, client)
        await client.stop()
        async with met.db.read() as conn:
            kinds = {fact.kind for fact in await journal.facts_after(conn, 0, 1000)}
            assert kinds == {"registration", "signal", "opt", "report"}
            assert await reading.quarantined(conn) == []
