"""Signed messages at the VEN: what it sends, what it believes, and a whole conversation with our VTN."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import select

from flexpact import pki
from openadr import CreatePartyRegistration, Message, Poll, decode, encode
from openadr.certificate import KeyKind
from openadr.signature import EXCLUSIVE_C14N, INCLUSIVE_C14N, Signer
from openadr.verification import Policy, Verified, verify
from tests.openadr.signing import Identity, identity, resigned
from tests.ven.conversation import make_session, talk
from tests.ven.messages import REGISTRATION, VEN, VTN, metadata_taken, ok, registered
from tests.ven.site import NOW, Site
from tests.ven.test_transport import answering
from tests.ven.wire import FastClock, eventually, running
from tests.vtn.desk import anything_goes, make_event, request_all
from ven import client
from ven.errors import BadAnswerError, IgnoredAnswerError, SettingsError, WrongStatusError
from ven.registration import Registration, create
from ven.settings import VenSettings
from ven.store import NONCES_KEPT, Store
from ven.tls import Tls
from ven.transport import Transport
from vtn import event, original, registration
from vtn.schema import original_table
from vtn.server import Server
from vtn.settings import VtnSettings
from vtn.store import Database

POLL = encode(Poll(VEN))
WIDE = Policy(window=timedelta(days=1))
ANSWER = ok()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One authority, a VTN, another server of the same authority, and two VENs of either key family."""
    made = tmp_path_factory.mktemp("pki")
    now = datetime.now(UTC)
    pki.make_authority(made, now, (KeyKind.EC, KeyKind.RSA))
    pki.issue(made, "vtn", now, server=True)
    pki.issue(made, "other", now, server=True)
    for kind in KeyKind:
        pki.issue(made, "alice", now, server=False, kind=kind)
    return made


def signer(directory: Path, name: str) -> Signer:
    found = pki.identity(directory, name, KeyKind.EC)
    return Signer((found.cert.read_bytes(), name), (found.key.read_bytes(), name))


def vtn_context(directory: Path) -> ssl.SSLContext:
    mine = pki.identity(directory, "vtn", KeyKind.EC)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mine.cert, mine.key)
    return context


@dataclass
class FakeVtn:
    """A VTN whose answers are what the test says; `seen` has every body that came."""

    directory: Path
    state: Path
    now: datetime = NOW
    answer: bytes = b""
    port: int = 0
    seen: list[bytes] = field(default_factory=list)

    def settings(self, kind: KeyKind = KeyKind.EC, **changes: object) -> VenSettings:
        mine = pki.identity(self.directory, "alice", kind)
        values: dict[str, object] = {
            "vtn_url": f"https://localhost:{self.port}",
            "ven_name": "alice",
            "state_path": self.state,
            "cert": mine.cert,
            "key": mine.key,
            "ca": mine.ca,
            "xml_signature": True,
        }
        return VenSettings(**(values | changes))  # type: ignore[arg-type] - fields by name

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append(await request.read())
        return web.Response(body=self.answer, content_type="application/xml")

    def signed(self, name: str = "vtn", now: datetime | None = None, message: Message = ANSWER) -> bytes:
        return signer(self.directory, name).sign(encode(message), now or self.now)

    async def ask(self, store: Store, **changes: object) -> Message:
        """What the VEN believes that it was answered."""
        async with Transport(self.settings(**changes), lambda: self.now, store.spend) as transport:  # type: ignore[arg-type] - fields by name
            return decode(await transport.post("OadrPoll", POLL))


@pytest.fixture
async def vtn(directory: Path, tmp_path: Path) -> AsyncIterator[FakeVtn]:
    fake = FakeVtn(directory, tmp_path / "state")
    async with answering(fake.handle, vtn_context(directory)) as fake.port:
        yield fake


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "state")
    yield opened
    opened.close()


@pytest.mark.criterion("SIG-01", "SIG-02", "SIG-03", "SIG-04", "SIG-07")
@pytest.mark.parametrize("kind", KeyKind)
async def test_sig_04_a_resend_is_signed_again_when_it_is_sent(
    vtn: FakeVtn, store: Store, kind: KeyKind
) -> None:
    settings = vtn.settings(kind)
    fingerprint = pki.identity(vtn.directory, "alice", kind).fingerprint
    found: list[Verified] = []
    async with Transport(settings, lambda: vtn.now, store.spend) as transport:
        for _ in range(2):
            vtn.answer = vtn.signed()
            await transport.post("OadrPoll", POLL)
            found.append(verify(vtn.seen[-1], {fingerprint}, vtn.now))
            vtn.now += timedelta(seconds=90)
    first, again = found
    assert first.body == again.body
    assert first.nonce != again.nonce
    assert (first.signed_at, again.signed_at) == (NOW, NOW + timedelta(seconds=90))


@pytest.mark.criterion("SIG-06")
async def test_sig_06_answers_that_are_not_signed_by_the_vtn_are_ignored(vtn: FakeVtn, store: Store) -> None:
    good = vtn.signed()
    assert vtn.answer == b""
    vtn.answer = good
    assert await vtn.ask(store) == ANSWER
    told = re.search(rb"<oadr:oadrSignedObject .*</oadr:oadrSignedObject>", good)
    assert told is not None
    evil = told[0].replace(b"200", b"463")
    for answer in (
        encode(ANSWER),
        vtn.signed("other"),  # SIG-08: trusted, but not the VTN
        identity("stranger").signer.sign(encode(ANSWER), NOW),
        good.replace(b">200<", b">463<"),
        good.replace(told[0], evil).replace(b"</ds:KeyInfo>", told[0] + b"</ds:KeyInfo>"),
        vtn.signed(now=NOW - timedelta(seconds=61)),
        vtn.signed(now=NOW + timedelta(seconds=61)),
    ):
        vtn.answer = answer
        with pytest.raises((IgnoredAnswerError, BadAnswerError)):
            await vtn.ask(store)


@pytest.mark.criterion("SIG-08")
async def test_sig_08_only_the_vtn_of_the_connection_signs_for_it(vtn: FakeVtn, store: Store) -> None:
    vtn.answer = vtn.signed("other")
    with pytest.raises(IgnoredAnswerError, match="not the one of the peer"):
        await vtn.ask(store)


@pytest.mark.goal(4)
@pytest.mark.criterion("SIG-05")
async def test_sig_05_a_replayed_answer_is_ignored_after_a_restart_too(vtn: FakeVtn, store: Store) -> None:
    vtn.answer = vtn.signed()
    assert await vtn.ask(store) == ANSWER
    with pytest.raises(IgnoredAnswerError, match="replay"):
        await vtn.ask(store)
    store.close()
    reopened = Store.open(vtn.state)
    with pytest.raises(IgnoredAnswerError, match="replay"):
        await vtn.ask(reopened)
    reopened.close()


def test_sig_05_nonces_are_kept_longer_than_their_messages_are_accepted(store: Store) -> None:
    assert store.spend("vtn", "n", NOW)
    assert store.spend("another", "n", NOW)
    assert not store.spend("vtn", "n", NOW)
    store.spend("vtn", "later", NOW + NONCES_KEPT)
    assert not store.spend("vtn", "n", NOW)
    store.spend("vtn", "last", NOW + NONCES_KEPT + timedelta(minutes=2))
    assert store.spend("vtn", "n", NOW)


async def test_without_a_memory_no_signed_answer_is_believed(vtn: FakeVtn) -> None:
    vtn.answer = vtn.signed()
    async with Transport(vtn.settings(), lambda: NOW) as transport:
        with pytest.raises(IgnoredAnswerError):
            await transport.post("OadrPoll", POLL)


async def test_what_is_no_message_is_told_from_what_is_not_signed(vtn: FakeVtn, store: Store) -> None:
    vtn.answer = b"<html>"
    with pytest.raises(BadAnswerError, match="no OpenADR message"):
        await vtn.ask(store)


async def test_an_empty_answer_has_nothing_to_sign(vtn: FakeVtn, store: Store) -> None:
    async with Transport(vtn.settings(), lambda: NOW, store.spend) as transport:
        assert await transport.post("EiRegisterParty", POLL) == b""


@pytest.mark.criterion("SIG-07")
async def test_old_and_lenient_signatures_are_believed_by_explicit_setting_only(
    vtn: FakeVtn, store: Store
) -> None:
    mine = pki.identity(vtn.directory, "vtn", KeyKind.EC)
    who = Identity.read("vtn", mine.cert, mine.key)
    for setting, old, new in (
        ("signature_leniency", INCLUSIVE_C14N, EXCLUSIVE_C14N),
        (
            "signature_sha1",
            "http://www.w3.org/2001/04/xmlenc#sha256",
            "http://www.w3.org/2000/09/xmldsig#sha1",
        ),
    ):
        vtn.answer = resigned(vtn.signed().replace(old.encode(), new.encode()), who)
        with pytest.raises(IgnoredAnswerError):
            await vtn.ask(store)
        assert await vtn.ask(store, **{setting: True}) == ANSWER


async def test_a_vtn_that_ignores_us_is_asked_again(vtn: FakeVtn, store: Store) -> None:
    async def forbid(_request: web.Request) -> web.Response:
        return web.Response(status=403)

    async with answering(forbid, vtn_context(vtn.directory)) as vtn.port:
        with pytest.raises(WrongStatusError) as caught:
            await vtn.ask(store)
    assert not caught.value.refused


async def test_an_ignored_answer_counts_as_none_however_often_it_comes(vtn: FakeVtn, store: Store) -> None:
    """The request is not dropped: the fifth answer, which is signed, is the first that counts."""
    answers = [encode(registered(ven_id=None))] * (client.TRIES + 1)
    clock, stop = FastClock(speed=30), asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        vtn.seen.append(await request.read())
        vtn.now = clock()
        if answers:
            body = answers.pop()
        elif len(vtn.seen) == client.TRIES + 2:
            body = vtn.signed(message=registered(ven_id=None))
        else:
            stop.set()
            body = vtn.signed(message=metadata_taken())
        return web.Response(body=body, content_type="application/xml")

    async with answering(handle, vtn_context(vtn.directory)) as vtn.port, asyncio.timeout(60):
        await client.run(vtn.settings(), Site(), store, clock, clock.sleep, stop)
    fingerprint = pki.identity(vtn.directory, "alice", KeyKind.EC).fingerprint
    proofs = [verify(raw, {fingerprint}, clock(), WIDE) for raw in vtn.seen]
    assert len({proof.nonce for proof in proofs}) == len(proofs)
    names = [type(decode(proof.body)).__name__ for proof in proofs]
    assert names == ["QueryRegistration"] * (client.TRIES + 2) + ["CreatePartyRegistration"]


@pytest.mark.criterion("SIG-11")
@pytest.mark.parametrize("signs", [True, False])
def test_sig_11_the_registration_tells_whether_we_sign(signs: bool, directory: Path, tmp_path: Path) -> None:
    settings = FakeVtn(directory, tmp_path / "x", port=1).settings(xml_signature=signs)
    assert create(settings, "r", None).xml_signature is signs
    assert create(settings, "r", Registration("v", "r", "vtn")).xml_signature is signs
    assert (Tls(settings).signer is not None) is signs


@pytest.mark.criterion("SEC-18", "SIG-11", who="both")
async def test_sec_18_vtn_and_ven_speak_signed_from_the_first_word_on(
    directory: Path, database: Database, tmp_path: Path
) -> None:
    clock = FastClock(speed=20)
    mine = pki.identity(directory, "vtn", KeyKind.EC)
    settings = VtnSettings(port=0, cert=mine.cert, key=mine.key, ca=mine.ca, poll_period_s=5)
    server = Server(settings, database, clock, request_all)
    await server.start()
    alice = pki.identity(directory, "alice", KeyKind.RSA)
    async with database.write() as conn:
        ven_id = await registration.enrol(conn, "alice", alice.fingerprint, clock())
    fake = FakeVtn(directory, tmp_path / "ven", port=server.port)
    site = Site()
    try:
        async with running(fake.settings(KeyKind.RSA), site, clock) as store:
            await eventually(lambda: store.load().synced)
            async with database.write() as conn:
                told = make_event("e1", clock() + timedelta(hours=1))
                await event.publish(conn, told, ven_id, clock(), anything_goes)
            await eventually(lambda: bool(site.decided) and not store.load().answers)
        async with database.read() as conn:
            ven = await registration.find(conn, ven_id)
            states = await event.event_states(conn, "e1")
            hashes = list((await conn.execute(select(original_table.c.sha256))).scalars())
            raws = [await original.find(conn, sha256) or b"" for sha256 in hashes]
    finally:
        await server.stop()
    assert ven.signs
    assert [state.opt for state in states] == ["optIn"]
    names = {type(decode(verify(raw, {alice.fingerprint}, clock(), WIDE).body)).__name__ for raw in raws}
    assert {"CreatePartyRegistration", "RegisterReport", "RequestEvent", "CreatedEvent"} <= names


async def test_sig_11_a_ven_that_begins_to_sign_registers_again_before_anything_else(
    directory: Path, tmp_path: Path
) -> None:
    plain = FakeVtn(directory, tmp_path / "x", port=1).settings(xml_signature=False)
    session = make_session(settings=plain)
    talk(session, registered(ven_id=None), registered())
    assert session.saved.registration == Registration(VEN, REGISTRATION, VTN, 300.0)
    signing = replace(plain, xml_signature=True)
    session = make_session(session.saved, settings=signing)
    first = session.due(NOW)[0]
    assert isinstance(first, CreatePartyRegistration)
    assert (first.xml_signature, first.registration_id) == (True, REGISTRATION)
    session.receive(registered(), NOW)
    store = Store.open(plain.state_path)
    store.save(session.saved)
    store.close()
    saved = Store.open(plain.state_path).load()
    assert saved.registration is not None
    assert saved.registration.xml_signature
    again = make_session(saved, settings=signing)
    assert not isinstance(again.due(NOW)[0], CreatePartyRegistration)


def test_signatures_need_https(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="xml_signature needs https"):
        VenSettings(
            vtn_url="http://127.0.0.1:1",
            insecure_dev=True,
            ven_name="alice",
            state_path=tmp_path / "x",
            xml_signature=True,
        )


@pytest.mark.parametrize("seconds", [0, 301])
def test_the_window_is_bounded(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(SettingsError, match=f"from 1 to 300, got {seconds}"):
        VenSettings(
            vtn_url="http://127.0.0.1:1",
            insecure_dev=True,
            ven_name="alice",
            state_path=tmp_path / "x",
            signature_window_s=seconds,
        )
