"""Signed messages at the VTN: over mutual TLS, with a real database, and a second worker beside the first."""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from flexpact.pki import Identity, issue, make_authority, renew
from flexpact.pki import identity as pki_identity
from openadr import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    DistributeEvent,
    EiResponse,
    Message,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    Response,
    UpdatedReport,
    decode,
    encode,
)
from openadr.certificate import KeyKind
from openadr.enums import OptType
from openadr.errors import BadSignature, InvalidData
from openadr.signature import EXCLUSIVE_C14N, INCLUSIVE_C14N, Signer
from openadr.verification import verify
from tests.openadr.signing import Identity as SignedBy
from tests.openadr.signing import identity, resigned
from tests.vtn.desk import NOW, anything_goes, created_event, make_event, metadata, request_all, usage
from vtn import event, finding, journal, nonce, original, registration, signature
from vtn.exchange import ROUTES
from vtn.hooks import Review, pass_all
from vtn.server import BASE, Server
from vtn.settings import VtnSettings
from vtn.store import Database


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One authority with a server that has both kinds of keys, and two VENs."""
    directory = tmp_path_factory.mktemp("pki")
    now = datetime.now(UTC)
    make_authority(directory, now, (KeyKind.EC, KeyKind.RSA))
    issue(directory, "vtn", now, server=True)
    issue(directory, "vtn", now, server=True, kind=KeyKind.RSA)
    for name in ("alice", "bob"):
        issue(directory, name, now, server=False)
    return directory


@dataclass
class Party:
    """A VEN with its certificate: what it sends is signed unless it says otherwise."""

    identity: Identity
    ven_id: str = ""

    @cached_property
    def signer(self) -> Signer:
        return Signer((self.identity.cert.read_bytes(), "cert"), (self.identity.key.read_bytes(), "key"))

    @cached_property
    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.identity.ca)
        context.load_cert_chain(self.identity.cert, self.identity.key)
        return context

    @property
    def fingerprint(self) -> str:
        return self.signer.fingerprint


class Table:
    """Workers over one database, and two VENs that speak to them."""

    def __init__(
        self, directory: Path, path: Path, http: aiohttp.ClientSession, *, rsa: bool = False
    ) -> None:
        self.now = NOW
        self.http = http
        self.alice, self.bob = (Party(pki_identity(directory, name, KeyKind.EC)) for name in ("alice", "bob"))
        mine = {kind: pki_identity(directory, "vtn", kind) for kind in (KeyKind.EC, KeyKind.RSA)}
        self.settings = VtnSettings(
            port=0,
            cert=mine[KeyKind.EC].cert,
            key=mine[KeyKind.EC].key,
            rsa_cert=mine[KeyKind.RSA].cert if rsa else None,
            rsa_key=mine[KeyKind.RSA].key if rsa else None,
            ca=mine[KeyKind.EC].ca,
            busy_timeout_s=0.2,
        )
        self.fingerprints = {kind: each.fingerprint for kind, each in mine.items()}
        self._path = path
        self._workers: list[tuple[Server, Database]] = []

    async def worker(self, review: Review = pass_all) -> Server:
        """One more worker on the same database."""
        db = await Database.open(self._path, busy_timeout_s=0.2)
        server = Server(self.settings, db, lambda: self.now, request_all, review)
        await server.start()
        self._workers.append((server, db))
        return server

    async def close(self) -> None:
        while self._workers:
            server, db = self._workers.pop()
            await server.stop()
            await db.close()

    @property
    def server(self) -> Server:
        return self._workers[0][0]

    @property
    def db(self) -> Database:
        return self._workers[0][1]

    async def post(
        self, who: Party, service: str, raw: bytes, server: Server | None = None
    ) -> tuple[int, bytes]:
        url = f"https://127.0.0.1:{(server or self.server).port}{BASE}{service}"
        headers = {"Content-Type": "application/xml"}
        async with self.http.post(url, data=raw, headers=headers, ssl=who.context) as response:
            return response.status, await response.read()

    async def say(self, who: Party, message: Message, *, signed: bool = True) -> Message:
        """The reply, which is signed by the VTN's P-256 certificate if the message was."""
        service = sorted(ROUTES[type(message)].services)[0]
        raw = encode(message)
        status, body = await self.post(who, service, who.signer.sign(raw, self.now) if signed else raw)
        assert status == 200, (status, body)
        if not signed:
            assert b"Signature>" not in body
            return decode(body)
        return decode(verify(body, {self.fingerprints[KeyKind.EC]}, self.now).body)

    async def enrol(self, who: Party, name: str) -> None:
        async with self.db.write() as conn:
            who.ven_id = await registration.enrol(conn, name, who.fingerprint, self.now)

    async def register(self, who: Party, name: str = "alice") -> None:
        """A VEN that signs, and for which nothing waits."""
        await self.enrol(who, name)
        reply = await self.say(who, announcement())
        assert isinstance(reply, CreatedPartyRegistration)
        assert reply.response.is_success, reply
        own = await self.say(who, Poll(who.ven_id))
        assert isinstance(own, RegisterReport)
        await self.say(who, RegisteredReport(response=EiResponse.ok(own.request_id), ven_id=who.ven_id))

    async def ven(self, who: Party) -> registration.Ven:
        async with self.db.read() as conn:
            return await registration.find(conn, who.ven_id)

    async def opts(self, event_id: str) -> list[str | None]:
        async with self.db.read() as conn:
            return [state.opt for state in await event.event_states(conn, event_id)]


def announcement(**changes: object) -> CreatePartyRegistration:
    values: dict[str, object] = {"request_id": "r", "http_pull_model": True, "xml_signature": True}
    return CreatePartyRegistration(**(values | changes))  # type: ignore[arg-type] - fields by name


@pytest.fixture
async def table(pki: Path, database_path: Path) -> AsyncIterator[Table]:
    async with aiohttp.ClientSession() as http:
        opened = Table(pki, database_path, http)
        await opened.worker()
        yield opened
        await opened.close()


@pytest.mark.criterion("SEC-18", "SIG-11")
async def test_sig_11_a_ven_that_announces_signatures_signs_and_is_signed_to(table: Table) -> None:
    alice = table.alice
    await table.enrol(alice, "alice")
    assert await table.post(alice, "EiRegisterParty", encode(announcement())) == (403, b"")
    assert (await table.ven(alice)).registration_id is None
    await table.register(alice)  # every reply is checked to be signed
    ven = await table.ven(alice)
    assert (ven.registered, ven.signs) == (True, True)
    assert await table.say(alice, Poll(alice.ven_id)) == Response(
        response=EiResponse.ok(), ven_id=alice.ven_id
    )
    query = await table.say(alice, QueryRegistration(request_id="q"))
    assert isinstance(query, CreatedPartyRegistration)
    assert query.registration_id == ven.registration_id


@pytest.mark.criterion("SIG-11")
async def test_sig_11_before_a_registration_who_signs_is_signed_to(table: Table) -> None:
    bob = table.bob
    asked = QueryRegistration(request_id="q")
    for _ in ("a stranger", "enrolled"):
        assert isinstance(await table.say(bob, asked), CreatedPartyRegistration)
        assert isinstance(await table.say(bob, asked, signed=False), CreatedPartyRegistration)
        lost = await table.say(bob, Poll("once-known"))
        assert isinstance(lost, Response)
        assert lost.response.code == "463"
        bad = bob.signer.sign(encode(asked), table.now - timedelta(hours=1))
        status, body = await table.post(bob, "EiRegisterParty", bad)
        assert (status, b"Signature>" in body) == (200, False)
        await table.enrol(bob, "bob")


async def test_sig_11_a_ven_that_does_not_announce_them_gets_none_whatever_it_sends(table: Table) -> None:
    bob = table.bob
    await table.enrol(bob, "bob")
    reply = await table.say(bob, announcement(xml_signature=False), signed=False)
    assert isinstance(reply, CreatedPartyRegistration)
    assert reply.response.is_success
    status, body = await table.post(bob, "OadrPoll", bob.signer.sign(encode(Poll(bob.ven_id)), table.now))
    assert status == 200
    assert isinstance(decode(body), RegisterReport)
    assert b"Signature>" not in body


@pytest.mark.criterion("SIG-06")
async def test_sig_06_what_a_signing_ven_does_not_sign_is_ignored(table: Table) -> None:
    alice = table.alice
    await table.register(alice)
    told = make_event()
    async with table.db.write() as conn:
        await event.publish(conn, told, alice.ven_id, table.now, anything_goes)
    before = await table.ven(alice)
    for message in (
        Poll(alice.ven_id),
        QueryRegistration(request_id="q"),
        RequestEvent(request_id="e", ven_id=alice.ven_id),
        created_event(alice.ven_id, told),
        CancelPartyRegistration(
            request_id="c", registration_id=str(before.registration_id), ven_id=alice.ven_id
        ),
        announcement(xml_signature=False),
        announcement(),
    ):
        service = sorted(ROUTES[type(message)].services)[0]
        assert await table.post(alice, service, encode(message)) == (403, b""), message
    assert await table.ven(alice) == before
    assert await table.opts("e1") == [None]
    await table.server.stop()
    async with table.db.read() as conn:
        found = {each.rule: each for each in await finding.findings_of(conn, alice.ven_id)}
    assert (found["SIG-06"].count, found["SIG-06"].text) == (7, "the message is not signed")


@pytest.mark.criterion("SIG-06", "GEN-02")
async def test_gen_02_what_is_no_message_is_406_signed_or_not(table: Table) -> None:
    alice = table.alice
    await table.register(alice)
    bad = encode(Poll(alice.ven_id)).replace(b"venID", b"vemID")
    for raw in (bad, alice.signer.sign(bad, table.now), b"<"):
        assert await table.post(alice, "OadrPoll", raw) == (406, b"")


@pytest.mark.criterion("SIG-05")
@pytest.mark.parametrize("kind", ["poll from memory", "poll", "change", "refused", "stranger"])
async def test_sig_05_a_replay_is_ignored_by_all_workers_and_after_a_restart(table: Table, kind: str) -> None:
    alice, told = table.alice, make_event()
    await table.register(alice)
    if kind in ("poll", "change"):
        async with table.db.write() as conn:
            await event.publish(conn, told, alice.ven_id, table.now, anything_goes)
    who, message, service = {
        "poll from memory": (alice, Poll(alice.ven_id), "OadrPoll"),
        "poll": (alice, Poll(alice.ven_id), "OadrPoll"),
        "change": (alice, created_event(alice.ven_id, told), "EiEvent"),
        "refused": (
            alice,
            CancelPartyRegistration(request_id="c", registration_id="none"),
            "EiRegisterParty",
        ),
        "stranger": (table.bob, announcement(), "EiRegisterParty"),
    }[kind]
    raw = who.signer.sign(encode(message), table.now)
    other = await table.worker()
    assert (await table.post(who, service, raw))[0] == 200
    if kind == "change":  # the VEN thinks better of it; the replay must not bring the first answer back
        await table.say(alice, created_event(alice.ven_id, told, OptType.OPT_OUT))
    assert await table.post(who, service, raw) == (403, b"")
    assert await table.post(who, service, raw, other) == (403, b"")
    await table.close()
    restarted = await table.worker()
    assert await table.post(who, service, raw, restarted) == (403, b"")
    assert await table.opts("e1") == (["optOut"] if kind == "change" else [None] if kind == "poll" else [])


@pytest.mark.criterion("SIG-05")
async def test_sig_05_the_nonce_of_a_message_that_cannot_be_read_is_spent(table: Table) -> None:
    alice = table.alice
    await table.register(alice)
    report = encode(usage(alice.ven_id, [(table.now, 1.0)]))
    value = re.search(rb"<oadr:oadrReportPayload>.*</oadr:oadrReportPayload>", report)
    assert value is not None
    odd = b"<ei:signalPayload><ei:payloadFloat><ei:value>1</ei:value></ei:payloadFloat></ei:signalPayload>"
    raw = alice.signer.sign(report.replace(value[0], odd), table.now)
    status, body = await table.post(alice, "EiReport", raw)
    assert status == 200
    reply = decode(verify(body, {table.fingerprints[KeyKind.EC]}, table.now).body)
    assert isinstance(reply, UpdatedReport)
    assert reply.response.code == "454"
    assert await table.post(alice, "EiReport", raw) == (403, b"")
    async with table.db.read() as conn:
        assert await original.find(conn, hashlib.sha256(raw).hexdigest()) is None


@pytest.mark.criterion("SIG-05")
async def test_sig_05_a_refusal_undoes_what_was_written_but_not_the_nonce(table: Table) -> None:
    async def write_and_refuse(
        _message: Message, ven: registration.Ven, conn: AsyncConnection, now: datetime
    ) -> None:
        await registration.suspend(conn, ven.ven_id, now)
        raise InvalidData("not today")

    alice = table.alice
    await table.register(alice)
    before = await table.ven(alice)
    other = await table.worker(write_and_refuse)
    raw = alice.signer.sign(encode(RequestEvent(request_id="e", ven_id=alice.ven_id)), table.now)
    status, body = await table.post(alice, "EiEvent", raw, other)
    reply = decode(verify(body, {table.fingerprints[KeyKind.EC]}, table.now).body)
    assert isinstance(reply, DistributeEvent)
    assert reply.response is not None
    assert (status, reply.response.code) == (200, "454")
    assert await table.ven(alice) == before
    assert await table.post(alice, "EiEvent", raw) == (403, b"")
    async with table.db.read() as conn:
        assert await original.find(conn, hashlib.sha256(raw).hexdigest()) is None


@pytest.mark.criterion("SIG-05")
@pytest.mark.parametrize("seconds", [-61, 61])
async def test_sig_05_stale_and_future_messages_are_ignored_and_the_operator_is_told(
    table: Table, seconds: int
) -> None:
    alice = table.alice
    await table.register(alice)
    raw = alice.signer.sign(encode(Poll(alice.ven_id)), table.now + timedelta(seconds=seconds))
    assert await table.post(alice, "OadrPoll", raw) == (403, b"")
    await table.server.stop()
    async with table.db.read() as conn:
        texts = [each.text for each in await finding.findings_of(conn, alice.ven_id)]
    assert texts == [f"the clocks differ: signed {seconds:+} s from now, 60 s are allowed"]


@pytest.mark.criterion("SIG-05")
async def test_sig_05_nonces_are_pruned_when_their_messages_are_too_old_anyway(table: Table) -> None:
    old, young = NOW - nonce.KEPT - timedelta(seconds=1), NOW - nonce.KEPT
    async with table.db.write() as conn:
        await nonce.spend(conn, "f", "old", old)
        await nonce.spend(conn, "f", "young", young)
        await nonce.prune(conn, NOW)
        await nonce.spend(conn, "f", "old", old)
        await nonce.spend(conn, "g", "young", young)  # a nonce belongs to its signer
        with pytest.raises(BadSignature, match="replay"):
            await nonce.spend(conn, "f", "young", young)


async def test_what_the_database_did_not_take_may_be_sent_again(table: Table, database_path: Path) -> None:
    alice = table.alice
    await table.register(alice)
    raw = alice.signer.sign(encode(RequestEvent(request_id="e", ven_id=alice.ven_id)), table.now)
    lock = sqlite3.connect(database_path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    assert (await table.post(alice, "EiEvent", raw))[0] == 503
    lock.execute("ROLLBACK")
    lock.close()
    assert (await table.post(alice, "EiEvent", raw))[0] == 200


@pytest.mark.criterion("SIG-08")
async def test_sig_08_nobody_signs_for_another(table: Table) -> None:
    alice, bob = table.alice, table.bob
    await table.register(alice)
    await table.register(bob, "bob")
    poll = encode(Poll(alice.ven_id))
    for signer in (bob.signer, identity("stranger").signer):
        assert await table.post(alice, "OadrPoll", signer.sign(poll, table.now)) == (403, b"")
    # alice's own message on bob's connection
    assert await table.post(bob, "OadrPoll", alice.signer.sign(poll, table.now)) == (403, b"")
    wrong = await table.say(bob, Poll(alice.ven_id))
    assert isinstance(wrong, Response)
    assert wrong.response.code == "452"


@pytest.mark.criterion("SIG-09")
@pytest.mark.parametrize("name", ["ds:Object", "ds:KeyInfo", "ds:X509Data"])
async def test_sig_09_a_wrapped_message_changes_nothing(table: Table, name: str) -> None:
    alice = table.alice
    await table.register(alice)
    told = make_event()
    async with table.db.write() as conn:
        await event.publish(conn, told, alice.ven_id, table.now, anything_goes)
    signed = alice.signer.sign(encode(created_event(alice.ven_id, told, OptType.OPT_OUT)), table.now)
    good = re.search(rb"<oadr:oadrSignedObject .*</oadr:oadrSignedObject>", signed, re.DOTALL)
    assert good is not None
    for evil in (
        good[0].replace(b"optOut", b"optIn"),
        good[0].replace(b"optOut", b"optIn").replace(b' oadr:Id="oadrSignedObject"', b""),
    ):
        place = f"</{name}>".encode()
        raw = signed.replace(good[0], evil).replace(place, good[0] + place)
        assert (await table.post(alice, "EiEvent", raw))[0] in (403, 406)
    assert await table.opts("e1") == [None]
    assert (await table.post(alice, "EiEvent", signed))[0] == 200
    assert await table.opts("e1") == ["optOut"]


@pytest.mark.criterion("SIG-12")
async def test_sig_12_signed_messages_are_kept_byte_for_byte(table: Table) -> None:
    alice = table.alice
    await table.register(alice)
    message = metadata(alice.ven_id)
    raw = alice.signer.sign(encode(message), table.now).replace(
        b"<ds:KeyInfo>", b"\n <!-- odd --><ds:KeyInfo >"
    )
    assert (await table.post(alice, "EiReport", raw))[0] == 200
    poll = alice.signer.sign(encode(Poll(alice.ven_id)), table.now)
    assert (await table.post(alice, "OadrPoll", poll))[0] == 200
    report = alice.signer.sign(encode(usage(alice.ven_id, [(table.now, 1.0)])), table.now)
    assert (await table.post(alice, "EiReport", report))[0] == 200
    async with table.db.read() as conn:
        assert await original.find(conn, hashlib.sha256(raw).hexdigest()) == raw
        assert await original.find(conn, hashlib.sha256(poll).hexdigest()) is None
        facts = [fact for fact in await journal.facts_after(conn, 0, 100) if fact.kind == "report"]
        assert await original.find(conn, str(facts[-1].raw_sha256)) == report


@pytest.mark.criterion("SIG-11")
async def test_sig_11_only_a_signed_registration_ends_signatures(table: Table) -> None:
    alice = table.alice
    await table.register(alice)
    plain = announcement(xml_signature=False)
    assert await table.post(alice, "EiRegisterParty", encode(plain)) == (403, b"")
    await table.say(alice, plain)
    assert not (await table.ven(alice)).signs
    assert isinstance(await table.say(alice, Poll(alice.ven_id), signed=False), RegisterReport)


async def test_the_end_of_a_registration_ends_what_it_announced(table: Table) -> None:
    alice = table.alice
    await table.register(alice)
    ended = str((await table.ven(alice)).registration_id)
    reply = await table.say(alice, CancelPartyRegistration(request_id="c", registration_id=ended))
    assert isinstance(reply, CanceledPartyRegistration)
    assert not (await table.ven(alice)).signs
    await table.say(alice, announcement(xml_signature=False), signed=False)


@pytest.mark.criterion("SIG-11")
async def test_sig_11_the_operator_may_require_signatures(table: Table) -> None:
    alice = table.alice
    await table.enrol(alice, "alice")
    async with table.db.write() as conn:
        await signature.require(conn, alice.ven_id, required=True)
    assert await table.post(alice, "EiRegisterParty", encode(QueryRegistration(request_id="q"))) == (403, b"")
    refused = await table.say(alice, announcement(xml_signature=False))
    assert isinstance(refused, CreatedPartyRegistration)
    assert (refused.response.code, refused.ven_id) == ("469", None)
    await table.register(alice)
    async with table.db.write() as conn:
        await signature.require(conn, alice.ven_id, required=False)
    assert isinstance(await table.say(alice, Poll(alice.ven_id), signed=False), Response)


async def test_a_message_on_its_way_when_the_operator_begins_to_require_signatures_is_ignored(
    table: Table,
) -> None:
    """The listener's memory still says that nothing is required; the transaction knows better."""
    bob = table.bob
    await table.enrol(bob, "bob")
    await table.say(bob, announcement(xml_signature=False), signed=False)
    other = await table.worker()
    async with table.db.write() as conn:
        await signature.require(conn, bob.ven_id, required=True)
    raw = encode(RequestEvent(request_id="e", ven_id=bob.ven_id))
    assert await table.post(bob, "EiEvent", raw, other) == (403, b"")


async def test_signature_leniency_is_for_one_ven(table: Table) -> None:
    alice = table.alice
    await table.register(alice)
    mine = SignedBy.read("alice", alice.identity.cert, alice.identity.key)
    poll = alice.signer.sign(encode(Poll(alice.ven_id)), table.now)
    raw = resigned(poll.replace(INCLUSIVE_C14N.encode(), EXCLUSIVE_C14N.encode()), mine)
    assert await table.post(alice, "OadrPoll", raw) == (403, b"")
    async with table.db.write() as conn:
        await signature.set_leniency(conn, alice.ven_id, leniency=True)
    assert (await table.post(alice, "OadrPoll", raw))[0] == 200
    assert await table.post(alice, "OadrPoll", raw) == (403, b"")  # its ReplayProtect is signed all the same


@pytest.mark.criterion("SIG-07", "SIG-08")
async def test_sig_07_replies_are_signed_by_the_certificate_of_the_connection(
    pki: Path, database_path: Path
) -> None:
    async with aiohttp.ClientSession() as http:
        table = Table(pki, database_path, http, rsa=True)
        await table.worker()
        alice = table.alice
        await table.register(alice)
        for suite, kind in (("AES128-SHA256", KeyKind.RSA), ("ECDHE-ECDSA-AES128-SHA256", KeyKind.EC)):
            fresh = Party(alice.identity)
            fresh.context.maximum_version = ssl.TLSVersion.TLSv1_2
            fresh.context.set_ciphers(suite)
            raw = alice.signer.sign(encode(Poll(alice.ven_id)), table.now)
            status, body = await table.post(fresh, "OadrPoll", raw)
            assert status == 200
            assert (
                verify(body, set(table.fingerprints.values()), table.now).fingerprint
                == (table.fingerprints[kind])
            )
        await table.close()


async def test_an_open_connection_keeps_its_signer_when_the_certificate_is_renewed(
    pki: Path, database_path: Path, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(pki, tmp_path / "pki"))
    async with aiohttp.ClientSession() as http:
        table = Table(directory, database_path, http)
        await table.worker()
        alice = table.alice
        await table.register(alice)
        before = table.fingerprints[KeyKind.EC]
        renew(pki_identity(directory, "vtn", KeyKind.EC), KeyKind.EC, datetime.now(UTC))
        after = pki_identity(directory, "vtn", KeyKind.EC).fingerprint
        table.server.reload()
        for party, fingerprint in ((alice, before), (Party(alice.identity), after)):
            raw = alice.signer.sign(encode(Poll(alice.ven_id)), table.now)
            _, body = await table.post(party, "OadrPoll", raw)
            assert verify(body, {before, after}, table.now).fingerprint == fingerprint
        await table.close()
