"""How a VEN reaches its VTN and what it takes for an answer, whatever the service (GEN, HTTP, ERR)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from aiohttp import web

from openadr import Poll, RegisterReport, decode, encode
from tests.ven.conversation import response_of, talk
from tests.ven.messages import VEN, metadata_taken, ok, registered
from tests.ven.site import NOW, Site
from tests.ven.test_transport import answering, xml
from tests.ven.wire import plain
from ven.client import Client
from ven.errors import BadAnswerError, SettingsError, UnreachableError
from ven.settings import VenSettings
from ven.store import Store
from ven.transport import Transport


def clock() -> datetime:
    return NOW


@pytest.mark.parametrize(("lenient", "synced"), [(False, False), (True, True)])
async def test_err_06_code_000_is_success_only_where_it_is_forgiven(
    tmp_path: Path, lenient: bool, synced: bool
) -> None:
    body = encode(metadata_taken()).replace(b">200<", b">000<")

    async def answer(_request: web.Request) -> web.Response:
        return xml(body)

    store = Store.open(tmp_path / "ven.db")
    async with answering(answer) as port:
        settings = plain(port, tmp_path / "ven.db", lenient=lenient)
        async with Transport(settings, clock) as opened:
            client = Client(settings, Site(), store, opened, clock=clock, sleep=no_sleep)
            talk(client.session, registered(ven_id=None), registered())
            (asked,) = client.session.due(NOW)
            assert isinstance(asked, RegisterReport)
            taken = await client._ask(asked)  # one exchange of the loop
    assert response_of(taken).is_success is synced
    store.close()


async def no_sleep(_seconds: float) -> None:
    raise AssertionError("nothing waits here")


@pytest.mark.parametrize(
    "spelt", ["HTTP://127.0.0.1:{}", "http://127.0.0.1:{}/", "http://LOCALHOST:{}/a/../%7Eb/.."]
)
async def test_http_04_an_address_may_be_spelt_in_any_equivalent_way(tmp_path: Path, spelt: str) -> None:
    paths = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return xml(encode(ok()))

    async with answering(answer) as port:
        settings = plain(port, tmp_path / "x", vtn_url=spelt.format(port))
        async with Transport(settings, clock) as opened:
            await opened.post("OadrPoll", b"")
    assert paths == ["/OpenADR2/Simple/2.0b/OadrPoll"]


async def test_https_in_capitals_is_https(tmp_path: Path) -> None:
    """The certificate of the VTN is checked however the scheme is spelt."""
    authority = tmp_path / "a.pem"
    settings = VenSettings(
        vtn_url="HTTPS://127.0.0.1:1", ven_name="a", state_path=tmp_path / "s", cert=authority, ca=authority
    )
    with pytest.raises(SettingsError):
        Transport(settings, clock)  # reads the certificate


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/?a=b", "http://127.0.0.1:1/#a"])
def test_an_address_with_a_query_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="query or fragment"):
        plain(1, tmp_path / "x", vtn_url=url)


async def test_http_12_a_request_accepts_xml_and_an_answers_headers_change_nothing(tmp_path: Path) -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers)
        return web.Response(body=encode(ok()), headers={"Server": "any", "Content-Type": "text/plain"})

    async with answering(answer) as port, Transport(plain(port, tmp_path / "x"), clock) as opened:
        assert decode(await opened.post("OadrPoll", b"")) == ok()
    assert seen[0]["Accept"] == "application/xml"


async def test_gen_24_a_ven_finds_its_vtn_below_a_prefix(tmp_path: Path) -> None:
    paths = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return xml(encode(ok()))

    async with answering(answer) as port:
        settings = plain(port, tmp_path / "x", vtn_url=f"http://127.0.0.1:{port}/site-1/up")
        async with Transport(settings, clock) as opened:
            await opened.post("OadrPoll", b"")
    assert paths == ["/site-1/up/OpenADR2/Simple/2.0b/OadrPoll"]


@pytest.mark.parametrize("body", [b"<no xml", b"<a/>", encode(ok())[:-9], b"\xff\xfe"])
async def test_gen_02_an_answer_that_is_no_message_is_none(tmp_path: Path, body: bytes) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return xml(body)

    store = Store.open(tmp_path / "ven.db")
    async with answering(answer) as port:
        settings = plain(port, tmp_path / "ven.db")
        async with Transport(settings, clock) as opened:
            client = Client(settings, Site(), store, opened, clock=clock, sleep=no_sleep)
            with pytest.raises(BadAnswerError):
                await client._ask(Poll(VEN))
    store.close()


async def test_http_15_a_vtn_that_does_not_answer_is_left_after_the_timeout(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="at least 5"):
        plain(1, tmp_path / "x", timeout_s=4.9)
    settings = plain(1, tmp_path / "x", timeout_s=7.0)
    async with Transport(settings, clock) as opened:
        assert opened._pool is not None
        assert opened._pool.session.timeout.total == 7.0
        with pytest.raises(UnreachableError):
            await opened.post("OadrPoll", b"")
