"""Requests to the VTN: what goes out, what is taken for an answer, whom the VEN talks to (HTTP, SEC)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web

from flexpact import pki
from openadr import Poll, UpdateReport, decode, encode
from tests.ven.messages import VEN, metadata_taken, no, ok, registered
from tests.ven.site import NOW, Site
from tests.ven.wire import eventually, plain
from ven.client import Client
from ven.errors import BadAnswerError, UnreachableError, WrongStatusError
from ven.registration import Registration
from ven.report import digest
from ven.saved import Saved
from ven.settings import VenSettings
from ven.store import Store
from ven.transport import Backoff, Transport

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
POLL = encode(Poll(VEN))


@asynccontextmanager
async def answering(
    handler: Handler, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """A server on loopback that answers every request so; gives its port."""
    runner = web.ServerRunner(web.Server(handler))  # type: ignore[arg-type] - a request is a BaseRequest
    await runner.setup()
    site = web.TCPSite(runner, host, 0, ssl_context=context)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def posted(settings: VenSettings, body: bytes = POLL) -> bytes:
    async with Transport(settings, lambda: NOW) as transport:
        return await transport.post("OadrPoll", body)


def xml(body: bytes, **more: object) -> web.Response:
    return web.Response(body=body, content_type="application/xml", **more)  # type: ignore[arg-type] - options by name


@pytest.mark.criterion("HTTP-11")
async def test_http_10_a_request_is_xml_of_known_length_and_asks_for_no_compression(tmp_path: Path) -> None:
    seen: list[web.Request] = []
    bodies: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        bodies.append(await request.read())
        return xml(encode(ok()))

    async with answering(answer) as port:
        body = await posted(plain(port, tmp_path / "x"))
    assert decode(body) == ok()
    (request,) = seen
    assert (request.method, request.path) == ("POST", "/OpenADR2/Simple/2.0b/OadrPoll")
    assert request.headers["Content-Type"] == "application/xml"
    assert request.headers["Content-Length"] == str(len(POLL))
    assert "Transfer-Encoding" not in request.headers
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["Accept"] == "application/xml"
    assert bodies == [POLL]


@pytest.mark.parametrize(
    ("status", "refused"),
    [
        (404, True),
        (406, True),
        (501, True),
        (400, True),
        (413, True),
        (302, True),
        (403, False),
        (429, False),
        (500, False),
        (502, False),
        (503, False),
    ],
)
async def test_http_09_another_status_is_no_answer_and_says_whether_to_try_again(
    tmp_path: Path, status: int, refused: bool
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return xml(encode(ok()), status=status, headers={"Retry-After": "7"})

    async with answering(answer) as port:
        with pytest.raises(WrongStatusError, match=f"status {status}") as error:
            await posted(plain(port, tmp_path / "x"))
    assert error.value.refused is refused
    assert error.value.retry_after_s == 7


@pytest.mark.criterion("GEN-21")
async def test_an_answer_longer_than_the_limit_is_not_read(tmp_path: Path) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return xml(b" " * 3000)

    async with answering(answer) as port:
        with pytest.raises(BadAnswerError, match="longer than 2000 bytes"):
            await posted(plain(port, tmp_path / "x", response_limit_bytes=2000))


async def test_nobody_at_the_other_end_is_named(tmp_path: Path, unused_tcp_port: int) -> None:
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{unused_tcp_port}"):
        await posted(plain(unused_tcp_port, tmp_path / "x"))


async def test_a_transport_is_used_open(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await Transport(plain(1, tmp_path / "x"), lambda: NOW).post("OadrPoll", POLL)


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


def test_http_16_pauses_double_from_one_second_with_a_tenth_of_jitter_up_to_the_cap() -> None:
    for draw in (0.0, 0.5, 0.999):
        backoff = Backoff(lambda draw=draw: draw)
        pauses = [backoff.pause_s(60.0) for _ in range(8)]
        for index, pause in enumerate(pauses[:6]):
            assert 0.9 * 2**index <= pause <= 1.1 * 2**index
        assert pauses[7] == 60.0
        assert all(early <= late for early, late in pairwise(pauses))
        backoff.reset()
        assert 0.9 <= backoff.pause_s(60.0) <= 1.1


class Sleeper:
    """A sleep that returns at once and keeps what was asked for; the last one never returns."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pauses: list[float] = []
        self.full = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) >= self.count:
            self.full.set()
            await asyncio.Event().wait()


READY = Saved(registration=Registration(VEN, "reg-1", "vtn-1", 30.0), metadata=digest([]), synced=True)


async def conversation(
    tmp_path: Path, handler: Handler, saved: Saved, sleeps: int, *, reports: tuple[UpdateReport, ...] = ()
) -> tuple[Sleeper, Client, Store]:
    """Runs the VEN's loops against the handler until it has paused `sleeps` times."""
    store = Store.open(tmp_path / "ven.db")
    store.save(saved, reports)
    sleeper = Sleeper(sleeps)
    async with answering(handler) as port:
        settings = plain(port, tmp_path / "ven.db", backoff_cap_s=100.0)
        async with Transport(settings, lambda: NOW) as transport:
            client = Client(settings, Site(offered=[]), store, transport, clock=lambda: NOW, sleep=sleeper)
            loop = client.deliver() if reports else client.converse()
            task = asyncio.create_task(loop)
            await asyncio.wait_for(sleeper.full.wait(), 30)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return sleeper, client, store


def always(body: bytes, status: int = 200, **headers: str) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        return xml(body, status=status, headers=headers)

    return answer


async def test_http_16_a_poll_is_retried_with_back_off_up_to_its_own_rhythm(tmp_path: Path) -> None:
    sleeper, client, store = await conversation(tmp_path, always(b"", 503), READY, 8)
    assert all(0.9 * 2**n <= pause <= 1.1 * 2**n for n, pause in enumerate(sleeper.pauses[:4]))
    assert sleeper.pauses[-1] == 30.0
    assert client.session.saved == READY
    store.close()


async def test_a_vtn_that_says_how_long_to_wait_is_listened_to(tmp_path: Path) -> None:
    sleeper, _, store = await conversation(tmp_path, always(b"", 503, **{"Retry-After": "50"}), READY, 2)
    assert sleeper.pauses == [50.0, 50.0]
    store.close()


@pytest.mark.parametrize("status", [404, 406, 501])
async def test_http_09_an_answer_that_the_vtn_never_takes_is_dropped_and_polling_goes_on(
    tmp_path: Path, status: int
) -> None:
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path.rpartition("/")[2])
        good = paths[-1] == "OadrPoll"
        return xml(encode(ok()), status=200 if good else status)

    saved = Saved(READY.registration, READY.metadata, True, answers=(metadata_taken(),))
    _, client, store = await conversation(tmp_path, answer, saved, 1)
    assert paths == ["EiReport", "OadrPoll"]
    assert client.session.saved.answers == ()
    assert store.load().answers == ()
    store.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<no xml", 200), (b"", 200), (encode(registered()), 200), (b"", 500)],
    ids=["no XML", "nothing", "an answer to something else", "status 500"],
)
async def test_a_poll_answered_with_nonsense_is_given_up_until_the_next_one(
    tmp_path: Path, body: bytes, status: int
) -> None:
    requests: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append(await request.read())
        return xml(body, status=status)

    sleeper, client, store = await conversation(tmp_path, answer, READY, 3)
    assert requests == [POLL] * 3
    assert 30.0 <= sleeper.pauses[-1] <= 33.0
    assert client.session.saved == READY
    store.close()


async def test_an_answer_may_be_acknowledged_by_an_empty_body(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return xml(encode(ok()) if request.path.endswith("OadrPoll") else b"")

    saved = Saved(READY.registration, READY.metadata, True, answers=(metadata_taken(),))
    _, client, store = await conversation(tmp_path, answer, saved, 1)
    assert client.session.saved.answers == ()
    store.close()


def update() -> UpdateReport:
    from tests.ven.test_store import reports  # noqa: PLC0415 - one fixture of reports for both files

    return reports(1)[0]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (encode(no("454")), 200, "the VTN refused it"),
        (b"", 413, "HTTP status 413"),
        (b"<no xml", 200, "no OpenADR message"),
        (encode(registered()), 200, "cannot answer UpdateReport"),
    ],
    ids=["refused", "too large", "no XML", "an answer to something else"],
)
async def test_goals_80_a_report_that_is_never_taken_is_set_aside(
    tmp_path: Path, body: bytes, status: int, reason: str
) -> None:
    store = Store.open(tmp_path / "ven.db")
    store.save(READY, [update(), update()])
    store.close()
    sleeper, _, store = await conversation(tmp_path, always(body, status), READY, 8, reports=(update(),))
    assert store.next_queued() is None
    assert len(store.refused()) == 3
    assert reason in store.refused()[0][1]
    assert sleeper.pauses
    store.close()


async def test_a_report_waits_while_the_vtn_does_not_know_us(tmp_path: Path) -> None:
    sleeper, client, store = await conversation(
        tmp_path, always(encode(no("463"))), READY, 3, reports=(update(),)
    )
    assert store.next_queued() is not None
    assert sleeper.pauses[1] > sleeper.pauses[0]
    assert client.session.due(NOW) == [Poll(VEN)]
    store.close()


async def test_an_idle_ven_waits_for_its_next_poll(tmp_path: Path) -> None:
    sleeper, _, store = await conversation(tmp_path, always(encode(ok())), READY, 1)
    assert 30.0 <= sleeper.pauses[0] <= 33.0
    store.close()


async def test_eventually_is_patient_but_not_for_ever() -> None:
    with pytest.raises(TimeoutError):
        await eventually(lambda: False, 0.02)
