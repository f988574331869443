"""What a signature covers is what is acted on: no wrapped answer is taken by the VEN (GOALS 3)."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from flexpact import pki
from openadr import Poll, decode
from tests.openadr.test_signature_attacks import ALICE, ODD, SIGNED, WRAPPED
from tests.ven.messages import VEN
from tests.ven.site import NOW
from tests.ven.test_signed import POLL
from tests.ven.test_transport import answering
from ven.errors import BadAnswerError, IgnoredAnswerError
from ven.settings import VenSettings
from ven.store import Store
from ven.transport import Transport


class Answering:
    """A VTN with alice's key and certificate, which gives one answer."""

    def __init__(self, folder: Path) -> None:
        self.answer = b""
        self.cert, self.key = folder / "alice.pem", folder / "alice.key"
        self.cert.write_bytes(ALICE.certificate_pem)
        self.key.write_bytes(ALICE.key_pem)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.cert, self.key)

    async def handle(self, _request: web.Request) -> web.Response:
        return web.Response(body=self.answer, content_type="application/xml")


@pytest.fixture
async def transport(tmp_path: Path) -> AsyncIterator[tuple[Answering, Transport]]:
    """A VEN's transport to such a VTN; it believes what the connection's certificate has signed."""
    now = datetime.now(UTC)
    pki.make_authority(tmp_path / "pki", now)
    mine = pki.issue(tmp_path / "pki", "ven", now, server=False)
    vtn = Answering(tmp_path)
    store = Store.open(tmp_path / "state")
    async with answering(vtn.handle, vtn.context) as port:
        settings = VenSettings(
            vtn_url=f"https://localhost:{port}",
            ven_name="alice",
            state_path=tmp_path / "state",
            cert=mine.cert,
            key=mine.key,
            ca=vtn.cert,
            xml_signature=True,
        )
        async with Transport(settings, lambda: NOW, store.spend) as opened:
            yield vtn, opened
    store.close()


@pytest.mark.goal(3)
@pytest.mark.criterion("SIG-06", "SIG-09")
async def test_no_wrapped_or_oddly_signed_answer_is_taken(transport: tuple[Answering, Transport]) -> None:
    vtn, client = transport
    for name, raw in {**WRAPPED, **ODD}.items():
        vtn.answer = raw
        try:
            taken = await client.post("OadrPoll", POLL)
        except (IgnoredAnswerError, BadAnswerError):
            continue
        pytest.fail(f"{name}: {decode(taken)}")
    vtn.answer = SIGNED
    assert decode(await client.post("OadrPoll", POLL)) == Poll(VEN)  # unchanged it is believed
    with pytest.raises(IgnoredAnswerError):  # once
        await client.post("OadrPoll", POLL)
