"""Our VEN at a stranger's VTN: openleadr's OpenADRServer, over mutual TLS, in real time, with signatures and
without. openleadr 0.5.36 signs as we do (inclusive C14N, two references), so nothing has to be forgiven to
its signatures.

What that server does differently, and our VEN takes: it answers oadrRequestEvent with oadrResponse where
there are no events, registers no reports of its own, asks for periodic reports without a reportInterval, and
answers a posted oadrResponse with an empty body.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flexpact import pki
from tests.ven.site import Site, capability
from ven.client import run
from ven.facility import Reading
from ven.settings import VenSettings
from ven.store import Store

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports use calls that newer Pythons deprecate
    from openleadr import OpenADRServer
    from openleadr.utils import certificate_fingerprint, increment_event_modification_number

# the stranger's server sets a plain key on its application and uses calls that newer Pythons deprecate
pytestmark = [
    pytest.mark.filterwarnings("ignore::aiohttp.web_exceptions.NotAppKeyWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
PATIENCE_S = 60
SECOND = timedelta(seconds=1)


@dataclass
class Stranger:
    """The other VTN and what it has heard of our VEN."""

    server: Any
    identity: pki.Identity
    signed: bool
    """Whether it signs, and believes only what is signed."""
    opted: list[tuple[str, str]] = field(default_factory=list)
    values: list[tuple[datetime, float]] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def registered(self, payload: dict[str, Any]) -> tuple[str, str]:
        assert payload["ven_name"] == "alice"
        return "ven-0012", "reg-1"

    async def asks_for(self, report: dict[str, Any]) -> list[tuple[str, Any, timedelta, timedelta]]:
        (point,) = report["report_descriptions"]
        return [(point["r_id"], self.updated, SECOND, 2 * SECOND)]

    def updated(self, values: list[tuple[datetime, float]]) -> None:
        self.values += values
        self.heard.set()

    async def answered(self, ven_id: str, event_id: str, opt_type: str) -> None:
        self.opted.append((event_id, opt_type))
        self.heard.set()

    async def hears(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.heard.clear()
                await self.heard.wait()


class Seconds(Site):
    """A site whose meter counts each second."""

    def read(self, report_name: str, r_ids: Any, start: datetime, end: datetime) -> list[Reading]:
        count = int((end - start) / SECOND)
        times = [start + step * SECOND for step in range(count)]
        return [Reading(r_id, time, SECOND, float(time.second)) for time in times for r_id in r_ids]

    def watermark(self, report_name: str) -> datetime:
        return datetime.now(UTC)


@pytest.fixture
async def stranger(
    request: pytest.FixtureRequest, tmp_path: Path, unused_tcp_port: int
) -> AsyncIterator[Stranger]:
    signed: bool = request.param
    now = datetime.now(UTC)
    pki.make_authority(tmp_path, now)
    vtn = pki.issue(tmp_path, "vtn", now, server=True)
    ven = pki.issue(tmp_path, "alice", now, server=False)
    logging.getLogger("openleadr").setLevel(logging.ERROR)

    def lookup(ven_id: str) -> dict[str, str]:
        return {
            "ven_id": ven_id,
            "ven_name": "alice",
            "fingerprint": certificate_fingerprint(ven.cert.read_text()),
            "registration_id": "reg-1",
        }

    server = OpenADRServer(
        vtn_id="stranger",
        cert=str(vtn.cert) if signed else None,
        key=str(vtn.key) if signed else None,
        show_fingerprint=False,
        http_host="127.0.0.1",
        http_port=unused_tcp_port,
        http_cert=str(vtn.cert),
        http_key=str(vtn.key),
        http_ca_file=str(vtn.ca),
        ven_lookup=lookup,
        verify_message_signatures=signed,
        requested_poll_freq=SECOND,
        show_server_cert_domain=False,
    )
    made = Stranger(server, ven, signed)
    server.add_handler("on_create_party_registration", made.registered)
    server.add_handler("on_register_report", made.asks_for)
    task = asyncio.create_task(server.run_async())
    await task
    yield made
    await server.stop()


@pytest.mark.parametrize("stranger", [False, True], ids=["unsigned", "signed"], indirect=True)
async def test_our_ven_registers_opts_in_and_reports_at_openleadrs_vtn(
    stranger: Stranger, tmp_path: Path
) -> None:
    settings = VenSettings(
        vtn_url=f"https://127.0.0.1:{stranger.server.http_port}",
        ven_name="alice",
        state_path=tmp_path / "ven.db",
        cert=stranger.identity.cert,
        key=stranger.identity.key,
        ca=stranger.identity.ca,
        xml_signature=stranger.signed,
    )
    site = Seconds(offered=[capability("TELEMETRY_USAGE", "load", min_period=SECOND, resource_id="house")])
    store = Store.open(settings.state_path)
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, site, store, lambda: datetime.now(UTC), asyncio.sleep, stop))
    await stranger.hears(lambda: len(stranger.values) >= 4)
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=10)
    event_id = stranger.server.add_event(
        ven_id="ven-0012",
        signal_name="SIMPLE",
        signal_type="level",
        intervals=[{"dtstart": start, "duration": timedelta(minutes=2), "signal_payload": 1.0}],
        callback=stranger.answered,
        market_context="http://stranger.test",
    )
    await stranger.hears(lambda: bool(stranger.opted))
    assert stranger.opted == [(event_id, "optIn")]
    assert site.decided == [(event_id, 0)]
    setpoint = site.timelines[-1].at(start)
    assert setpoint is not None
    assert setpoint.values == {"SIMPLE": 1.0}
    assert all(value == float(time.second) for time, value in stranger.values)
    times = [time for time, _ in stranger.values]
    assert times == [times[0] + step * SECOND for step in range(len(times))]
    known = store.load().registration
    assert known is not None
    assert (known.ven_id, known.vtn_id, known.poll_period_s) == ("ven-0012", "stranger", 1.0)
    await _changed_and_cancelled(stranger, site, event_id)
    stop.set()
    await task
    assert store.refused() == []
    held = store.load().events[event_id]
    assert (held.event.modification_number, held.is_followed) == (2, True)
    assert held.stop_at is not None
    store.close()


async def _changed_and_cancelled(stranger: Stranger, site: Seconds, event_id: str) -> None:
    """The stranger raises the level, then takes the event back; our answers are heard each time."""
    (told,) = stranger.server.events["ven-0012"]
    known = stranger.server.services["event_service"].event_callbacks
    told.event_signals[0].intervals[0]["signal_payload"] = 2.0
    increment_event_modification_number(told)
    known[event_id] = (told, stranger.answered)  # it listens for the first answer only
    stranger.server.events_updated["ven-0012"] = True
    await stranger.hears(lambda: len(stranger.opted) == 2)
    assert site.decided == [(event_id, 0), (event_id, 1)]
    setpoint = site.timelines[-1].at(told.active_period["dtstart"])
    assert setpoint is not None
    assert setpoint.values == {"SIMPLE": 2.0}
    known[event_id] = (told, stranger.answered)
    stranger.server.cancel_event("ven-0012", event_id)
    await stranger.hears(lambda: len(stranger.opted) == 3)
    assert set(stranger.opted) == {(event_id, "optIn")}
    assert stranger.server.events["ven-0012"] == []  # it took the confirmation
