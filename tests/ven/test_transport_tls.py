"""The transport over TLS: both profiles, and no byte to a server that is not the VTN."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import web

from flexpact import pki
from openadr import decode, encode
from tests.ven.messages import ok
from tests.ven.test_transport import answering, posted, xml
from ven.errors import UnreachableError
from ven.settings import VenSettings


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    now = datetime.now(UTC)
    pki.make_authority(directory, now)
    pki.issue(directory, "vtn", now, server=True)
    pki.issue(directory, "second", now, server=True)
    pki.issue(directory, "ven", now, server=False)
    pki.issue(directory, "expired", now - timedelta(days=365), server=True)
    other = directory / "other"
    other.mkdir()
    pki.make_authority(other, now)
    pki.issue(other, "vtn", now, server=True)
    pki.issue(other, "alice", now, server=False)
    pki.issue(directory, "next-year", now + timedelta(days=300), server=True)
    return directory


def server_tls(directory: Path, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(directory / "ca.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(directory / f"{name}.pem", directory / f"{name}.key")
    return context


def over_tls(authority: Path, port: int, host: str = "127.0.0.1", **changes: object) -> VenSettings:
    values: dict[str, object] = {
        "vtn_url": f"https://{host}:{port}",
        "ven_name": "alice",
        "state_path": authority / "unused",
        "cert": authority / "ven.pem",
        "key": authority / "ven.key",
        "ca": authority / "ca.pem",
    }
    return VenSettings(**(values | changes))  # type: ignore[arg-type] - fields by name


def pin(path: Path) -> str:
    return sha256(ssl.PEM_cert_to_DER_cert(path.read_text())).hexdigest()


@pytest.mark.parametrize("profile", ["compat", "modern"])
async def test_sec_03_both_profiles_speak_mutual_tls(authority: Path, profile: str) -> None:
    seen: list[tuple[str, str, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        tls = request.transport.get_extra_info("ssl_object") if request.transport else None
        seen.append((tls.version(), tls.cipher()[0], tls.getpeercert(binary_form=True)))
        return xml(encode(ok()))

    async with answering(answer, server_tls(authority, "vtn")) as port:
        pinned = pin(authority / "vtn.pem")
        body = await posted(over_tls(authority, port, tls_profile=profile, vtn_fingerprint=pinned))
    assert decode(body) == ok()
    ((version, suite, certificate),) = seen
    expected = ("TLSv1.2", "ECDHE-ECDSA-AES128-SHA256") if profile == "compat" else ("TLSv1.3", suite)
    assert (version, suite) == expected
    assert sha256(certificate).hexdigest() == pin(authority / "ven.pem")


WRONG = {
    "another host": ("127.0.0.2", "vtn", None, "IP address mismatch"),
    "another authority": ("127.0.0.1", "other/vtn", None, "unable to get local issuer|self-signed|signature"),
    "a VEN's certificate": ("127.0.0.1", "ven", None, "purpose"),
    "an expired certificate": ("127.0.0.1", "expired", None, "expired"),
    "a certificate that is not the pinned one": (
        "127.0.0.1",
        "second",
        "vtn.pem",
        "not the pinned one, vtn_fingerprint",
    ),
}


@pytest.mark.goal(17)
@pytest.mark.criterion("SEC-07", "SEC-08")
@pytest.mark.parametrize(("host", "server", "pinned", "text"), WRONG.values(), ids=WRONG.keys())
async def test_goals_17_no_byte_goes_to_a_server_that_is_not_the_vtn(
    authority: Path, host: str, server: str, pinned: str | None, text: str
) -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return xml(encode(ok()))

    context = server_tls((authority / server).parent, (authority / server).name)
    async with answering(answer, context, host) as port:
        fingerprint = pin(authority / pinned) if pinned else None
        with pytest.raises(UnreachableError, match=text):
            await posted(over_tls(authority, port, host, vtn_fingerprint=fingerprint))
    assert seen == []


async def test_what_is_in_the_way_of_a_connection_is_said_in_words(
    authority: Path, unused_tcp_port: int
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return xml(encode(ok()))

    async def said(port: int, **changes: object) -> str:
        with pytest.raises(UnreachableError) as caught:
            await posted(over_tls(authority, port, **changes))  # type: ignore[arg-type] - fields by name
        return str(caught.value).partition("OadrPoll: ")[2]

    assert await said(unused_tcp_port) == "nobody listens there"
    assert (await said(1, vtn_url="https://vtn.invalid")).startswith("the name is not known: ")
    async with answering(answer) as port:
        assert await said(port) == "what answers there speaks no TLS that we do: is the port right?"
    async with answering(answer, server_tls(authority, "vtn")) as port:
        stranger = {
            name: authority / f"other/alice.{suffix}" for name, suffix in (("cert", "pem"), ("key", "key"))
        }
        assert "ends the connection as TLS begins: it does not take our certificate" in await said(
            port, **stranger
        )
    async with answering(answer, server_tls(authority, "next-year")) as port:
        assert (await said(port)).endswith(
            "certificate is not yet valid (is the clock of this machine right?)"
        )
