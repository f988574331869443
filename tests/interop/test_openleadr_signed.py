"""Signed messages with a stranger: openleadr at our VTN, and our VEN at openleadr's, over mutual TLS.

openleadr 0.5.36 signs as we do (inclusive C14N, two references), so nothing has to be forgiven to its
signatures. Its client says at registration that it does not sign, although it does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from flexpact import pki
from openadr.enums import OptType
from tests.interop.test_openleadr_ven import OpenADRClient, meeting
from tests.interop.test_openleadr_vtn import (
    SECOND,
    OpenADRServer,
    Seconds,
    Stranger,
    certificate_fingerprint,
)
from tests.ven.site import capability
from tests.vtn.desk import anything_goes, make_event
from ven.client import run
from ven.settings import VenSettings
from ven.store import Store
from vtn import event, registration, signature
from vtn.schema import nonce_table, original_table
from vtn.server import BASE
from vtn.settings import TlsProfile

pytestmark = [
    pytest.mark.filterwarnings("ignore::aiohttp.web_exceptions.NotAppKeyWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "required by the operator"])
async def test_openleadrs_ven_is_believed_and_believes_us(
    announced: bool, tmp_path: Path, database_path: Path
) -> None:
    logging.getLogger("openleadr").setLevel(logging.ERROR)

    async def opt_in(_told: dict[str, Any]) -> str:
        return "optIn"

    async with meeting(tmp_path, database_path, TlsProfile.COMPAT) as met:
        if not announced:
            async with met.db.write() as conn:
                await signature.require(conn, met.ven_id, required=True)
                await signature.set_leniency(conn, met.ven_id, leniency=True)
        client = OpenADRClient(
            ven_name="stranger",
            vtn_url=f"https://127.0.0.1:{met.server.port}{BASE}",
            cert=str(met.identity.cert),
            key=str(met.identity.key),
            ca_file=str(met.identity.ca),
            vtn_fingerprint=certificate_fingerprint((tmp_path / "vtn.pem").read_text()),
            show_fingerprint=False,
            allow_jitter=False,
        )
        if announced:
            client.create_party_registration = partial(client.create_party_registration, xml_signature=True)
        client.add_handler("on_event", opt_in)
        await client.run()
        start = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=10)
        async with met.db.write() as conn:
            made = make_event("reduce", start, timedelta(minutes=2))
            await event.publish(conn, made, met.ven_id, datetime.now(UTC), anything_goes)

        async def opted(conn: Any) -> bool:
            return [state.opt for state in await event.event_states(conn, "reduce")] == ["optIn"]

        await met.until(opted)
        await client.stop()
        async with met.db.read() as conn:
            assert (await registration.find(conn, met.ven_id)).signs
            for table in (nonce_table, original_table):
                assert (await conn.execute(select(func.count()).select_from(table))).scalar_one() >= 3


@pytest.fixture
async def signing(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Stranger]:
    now = datetime.now(UTC)
    pki.make_authority(tmp_path, now)
    vtn = pki.issue(tmp_path, "vtn", now, server=True)
    ven = pki.issue(tmp_path, "alice", now, server=False)
    logging.getLogger("openleadr").setLevel(logging.ERROR)

    def lookup(ven_id: str) -> dict[str, str]:
        fingerprint = certificate_fingerprint(ven.cert.read_text())
        return {
            "ven_id": ven_id,
            "ven_name": "alice",
            "fingerprint": fingerprint,
            "registration_id": "reg-1",
        }

    server = OpenADRServer(
        vtn_id="stranger",
        cert=str(vtn.cert),
        key=str(vtn.key),
        show_fingerprint=False,
        http_host="127.0.0.1",
        http_port=unused_tcp_port,
        http_cert=str(vtn.cert),
        http_key=str(vtn.key),
        http_ca_file=str(vtn.ca),
        ven_lookup=lookup,
        verify_message_signatures=True,
        requested_poll_freq=SECOND,
        show_server_cert_domain=False,
    )
    made = Stranger(server, ven)
    server.add_handler("on_create_party_registration", made.registered)
    server.add_handler("on_register_report", made.asks_for)
    task = asyncio.create_task(server.run_async())
    await task
    yield made
    await server.stop()


async def test_our_ven_is_believed_by_openleadrs_vtn_and_believes_it(
    signing: Stranger, tmp_path: Path
) -> None:
    settings = VenSettings(
        vtn_url=f"https://127.0.0.1:{signing.server.http_port}",
        ven_name="alice",
        state_path=tmp_path / "ven.db",
        cert=signing.identity.cert,
        key=signing.identity.key,
        ca=signing.identity.ca,
        xml_signature=True,
    )
    site = Seconds(offered=[capability("TELEMETRY_USAGE", "load", min_period=SECOND, resource_id="house")])
    store = Store.open(settings.state_path)
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, site, store, lambda: datetime.now(UTC), asyncio.sleep, stop))
    await signing.hears(lambda: len(signing.values) >= 2)
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=10)
    event_id = signing.server.add_event(
        ven_id="ven-0012",
        signal_name="SIMPLE",
        signal_type="level",
        intervals=[{"dtstart": start, "duration": timedelta(minutes=2), "signal_payload": 1.0}],
        callback=signing.answered,
        market_context="http://stranger.test",
    )
    await signing.hears(lambda: bool(signing.opted))
    stop.set()
    await task
    store.close()
    assert signing.opted == [(event_id, OptType.OPT_IN.value)]
