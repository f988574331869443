"""SIGHUP: the running server takes its new certificates."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flexpact import bare_vtn
from flexpact.clock import Clock
from flexpact.pki import identity, load, renew
from openadr.certificate import KeyKind
from tests.vtn.secure import context_of, make_pki, vtn_settings
from vtn import renewal


async def shown(port: int, context: ssl.SSLContext) -> bytes | None:
    """The certificate that the server shows to a new connection, None while nobody listens."""
    try:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except ConnectionRefusedError:
        return None
    der = bytes(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    writer.close()
    await writer.wait_closed()
    return der


async def shown_at_last(port: int, context: ssl.SSLContext, der: bytes) -> None:
    async with asyncio.timeout(30):
        while await shown(port, context) != der:
            pass


async def test_sighup_takes_the_new_certificates_and_sigterm_ends_the_server(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "LOOK_EVERY_S", 3600.0)  # no look of its own in this test
    now = datetime.now(UTC)
    make_pki(tmp_path, now)
    alice = context_of(tmp_path, identity(tmp_path, "alice", KeyKind.EC))
    settings = bare_vtn.Settings(vtn_settings(tmp_path, port=unused_tcp_port), None)
    serving = asyncio.create_task(bare_vtn.serve(tmp_path / "vtn.db", settings, Clock.real()))
    vtn = identity(tmp_path, "vtn", KeyKind.EC)
    old = load(vtn.cert)[0].der
    await shown_at_last(unused_tcp_port, alice, old)
    renew(vtn, KeyKind.EC, now)
    assert await shown(unused_tcp_port, alice) == old
    os.kill(os.getpid(), signal.SIGHUP)
    await shown_at_last(unused_tcp_port, alice, load(vtn.cert)[0].der)
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
