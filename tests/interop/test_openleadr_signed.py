"""Signed messages with a stranger: openleadr's VEN at our VTN, over mutual TLS.

Its client says at registration that it does not sign, although it does.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.interop.test_openleadr_ven import OpenADRClient, meeting
from tests.interop.test_openleadr_vtn import certificate_fingerprint
from tests.vtn.desk import anything_goes, make_event
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
