"""A VTN that deviates: refused by default, forgiven and named once where the VEN is set so."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from aiohttp import web

from openadr import EiResponse, Message, QueryRegistration, encode
from tests.openadr.test_lenient import bare
from tests.ven.messages import registered
from tests.ven.site import NOW, Site
from tests.ven.test_transport import answering, xml
from tests.ven.wire import plain
from ven.client import Client
from ven.errors import BadAnswerError
from ven.store import Store
from ven.transport import Transport

WIRE = encode(registered(ven_id=None))
QUALIFIED = b'ei:schemaVersion="2.0b"'
DEVIATIONS = {
    "GEN-04": WIRE.replace(QUALIFIED, b'schemaVersion="2.0b"'),
    "GEN-03": bare(WIRE),
    "ERR-06": WIRE.replace(b">200<", b">000<"),
}


async def asked(tmp_path: Path, body: bytes, *, lenient: bool, times: int = 1) -> Message:
    """What the VEN reads from that answer to its query."""

    async def answer(_request: web.Request) -> web.Response:
        return xml(body)

    async def no_sleep(_seconds: float) -> None:
        raise AssertionError("nothing waits here")

    store = Store.open(tmp_path / "ven.db")
    try:
        async with answering(answer) as port:
            settings = plain(port, tmp_path / "ven.db", lenient=lenient)
            async with Transport(settings, lambda: NOW) as transport:
                client = Client(settings, Site(), store, transport, clock=lambda: NOW, sleep=no_sleep)
                for _ in range(times):
                    read = await client._ask(QueryRegistration(request_id="q"))
                return read
    finally:
        store.close()


@pytest.mark.criterion("GEN-03", "GEN-04", "ERR-06", who="ven")
@pytest.mark.parametrize("rule", DEVIATIONS)
async def test_a_known_deviation_is_forgiven_only_where_that_is_set(
    rule: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = DEVIATIONS[rule]
    assert body != WIRE
    if rule == "ERR-06":
        strict = await asked(tmp_path, body, lenient=False)
        response = getattr(strict, "response", None)
        assert isinstance(response, EiResponse)
        assert not response.is_success
    else:
        with pytest.raises(BadAnswerError):
            await asked(tmp_path, body, lenient=False)
    assert caplog.messages == []
    with caplog.at_level(logging.WARNING):
        assert await asked(tmp_path, body, lenient=True, times=3) == registered(ven_id=None)
    assert len([text for text in caplog.messages if rule in text]) == 1


async def test_a_lenient_ven_refuses_everything_else_as_before(tmp_path: Path) -> None:
    with pytest.raises(BadAnswerError):
        await asked(tmp_path, WIRE.replace(b"vtnID", b"vtnNumber"), lenient=True)
