"""The dashboard's listener: TLS or loopback, time and size of requests, and what is no HTTP at all."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aggregator.access.permission import Role
from aggregator.errors import SettingsError
from aggregator.settings import AggregatorSettings
from aggregator.web_settings import WebSettings
from flexpact.pki import Identity, issue, make_authority
from tests.aggregator.access.conftest import House, open_house
from tests.aggregator.conftest import node_settings, write_settings
from vtn.errors import StartupError


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """A certificate for this machine."""
    folder, now = tmp_path / "pki", datetime.now(UTC)
    folder.mkdir()
    make_authority(folder, now)
    return issue(folder, "web", now, server=True)


def settings(**values: Any) -> WebSettings:
    """Settings of the listener."""
    return WebSettings.model_validate({"port": 0, **values})


async def raw(house: House, sent: bytes) -> bytes:
    """What a connection answers before it is closed."""
    port = house.aggregator.web.port if house.aggregator.web else 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


async def test_it_speaks_tls_1_2_and_later_and_tells_browsers_to_stay(
    state: Path, identity: Identity
) -> None:
    files = {"insecure_dev": False, "cert": str(identity.cert), "key": str(identity.key)}
    async with open_house(state, **files) as house:
        assert house.address.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=str(identity.cert.parent / "ca.pem"))
        async with house.http.get(f"{house.address}/login", ssl=trusted) as answer:
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"] == "max-age=63072000"
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(aiohttp.ClientConnectorError):
            await house.http.get(f"{house.address}/login", ssl=old)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.set_ciphers("AES128-SHA256:ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0")
        with pytest.raises(aiohttp.ClientConnectorError):
            await house.http.get(f"{house.address}/login", ssl=old)


async def test_a_renewed_certificate_is_shown_after_a_reload(
    state: Path, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    files = {"insecure_dev": False, "cert": str(identity.cert), "key": str(identity.key)}
    async with open_house(state, **files) as house:
        before = await _shown_certificate(house)
        other = issue(identity.cert.parent, "other", datetime.now(UTC), server=True)
        identity.cert.write_bytes(other.cert.read_bytes())
        identity.key.write_bytes(other.key.read_bytes())
        house.aggregator.reload()
        assert await _shown_certificate(house) != before
        identity.cert.write_bytes(b"broken")
        house.aggregator.reload()
        assert "the certificate stays as it was: web: TLS takes not" in caplog.text
        assert await _shown_certificate(house) != before


async def _shown_certificate(house: House) -> bytes:
    port = house.aggregator.web.port if house.aggregator.web else 0
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=blind)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return bytes(shown)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "TLS needs cert and key: cert, key is not set"),
        ({"cert": "/nowhere.pem"}, "key is not set"),
        ({"cert": "/nowhere.pem", "key": "/nowhere.key"}, "the cert file /nowhere.pem does not exist"),
        ({"insecure_dev": True, "host": "0.0.0.0"}, "for loopback only, not for 0.0.0.0"),
        ({"insecure_dev": True, "host": "192.0.2.1"}, "for loopback only"),
        ({"insecure_dev": True, "cert": "/nowhere.pem"}, "exclude each other"),
    ],
)
def test_a_half_secured_listener_does_not_start(values: dict[str, Any], text: str) -> None:
    with pytest.raises(StartupError, match=text):
        settings(**values).check()


def test_beyond_loopback_it_must_know_what_browsers_type(identity: Identity) -> None:
    files = {"cert": str(identity.cert), "key": str(identity.key), "host": "0.0.0.0"}
    with pytest.raises(StartupError, match="public_url is needed"):
        settings(**files).check()
    with pytest.raises(StartupError, match="must begin with https"):
        settings(**files, public_url="http://flexpact.example").check()
    settings(**files, public_url="https://flexpact.example").check()


@pytest.mark.parametrize(
    "url", ["flexpact.example", "ftp://a.example", "https://a.example/x", "https://u@a.example", "https://"]
)
def test_a_public_url_is_an_origin(url: str) -> None:
    with pytest.raises(ValueError, match="it is https://"):
        settings(public_url=url)


def test_our_own_pages_come_from_where_browsers_reach_us() -> None:
    own = settings(insecure_dev=True).origins(8446)
    assert own == {"http://127.0.0.1:8446", "http://localhost:8446", "http://[::1]:8446"}
    public = settings(host="0.0.0.0", public_url="https://Flexpact.example:443/")
    assert public.origins(8446) == {"https://flexpact.example"}


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["TLS", "two lengths", "NUL", "a long line"],
)
async def test_what_is_no_http_is_refused_with_our_headers(house: House, sent: bytes) -> None:
    answer = (await raw(house, sent)).decode()
    assert " 400 Bad Request\r\n" in answer, answer
    assert "Server: flexpact\r\n" in answer
    assert "Content-Security-Policy: default-src 'none'" in answer


async def test_what_is_no_http_is_not_quoted_in_the_log(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await raw(house, b"GET / HTTP/1.1\r\nCookie: canary-5e0c\x00\r\n\r\n")
    assert "what is no request was refused" in caplog.text
    assert "canary-5e0c" not in caplog.text


async def test_who_is_silent_or_slow_is_hung_up_on(state: Path) -> None:
    async with open_house(state, header_timeout_s=0.2, body_timeout_s=0.2) as house:
        assert await raw(house, b"") == b""
        assert await raw(house, b"GET / HTTP/1.1\r\nHost: a\r\n") == b""
        head = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        assert await raw(house, head + b"Content-Length: 100\r\n\r\nname=") == b""


async def test_one_address_has_so_many_connections(state: Path) -> None:
    async with open_house(state, max_connections_per_address=2, header_timeout_s=300) as house:
        port = house.aggregator.web.port if house.aggregator.web else 0
        open_now = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        async with asyncio.timeout(20):
            assert await open_now[2][0].read() == b""
        assert not open_now[0][0].at_eof()
        for _, writer in open_now:
            writer.close()


async def test_a_form_that_is_too_large_is_refused(house: House) -> None:
    viewer = await house.person(Role.VIEWER)
    answer = await viewer.post("/account", {"language": "x" * 300_000})
    assert answer.status == 413


async def test_a_path_with_another_method_is_405_and_an_unknown_one_404(house: House) -> None:
    viewer = await house.person(Role.VIEWER)
    assert (await viewer.ask("DELETE", "/login")).status == 405
    answer = await viewer.get("/nothing")
    assert (answer.status, "There is no such page" in answer.text) == (404, True)


def test_files_of_the_listener_lie_beside_its_configuration(tmp_path: Path) -> None:
    write_settings(tmp_path, [node_settings(1)])
    config = tmp_path / "aggregator.toml"
    node = 'ven_name = "n"\nfingerprint = "' + "0" * 64 + '"\n'
    agreement = "agreement = {capacity_kw = 1, price_minor_per_kwh = 1, penalty_minor_per_kwh = 1, "
    agreement += 'threshold = 0.5, max_calls_per_day = 1, notice_min = 1, currency = "EUR"}\n'
    config.write_text(
        'state = "state"\nsocket = "s"\n[vtn]\ninsecure_dev = true\n'
        '[log]\norigin = "o"\nkey_file = "log.key"\n'
        '[web]\ncert = "web.pem"\nkey = "keys/web.key"\n'
        f"[[nodes]]\n{node}{agreement}"
    )
    found = AggregatorSettings.load(config).web
    assert found is not None
    assert (found.cert, found.key) == (tmp_path / "web.pem", tmp_path / "keys/web.key")
    config.write_text(config.read_text().replace("[web]", "[web]\nhostname = 1"))
    with pytest.raises(SettingsError, match=r"web\.hostname"):
        AggregatorSettings.load(config)
