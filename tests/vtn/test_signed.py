"""Signed messages at the VTN: over mutual TLS, with a real database, and a second worker beside the first."""

from __future__ import annotations

import hashlib
import re
import shutil
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from flexpact.pki import identity as pki_identity
from flexpact.pki import renew
from openadr import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    EiResponse,
    Poll,
    QueryRegistration,
    RegisterReport,
    RequestEvent,
    Response,
    decode,
    encode,
)
from openadr.certificate import KeyKind
from openadr.enums import OptType
from openadr.signature import EXCLUSIVE_C14N, INCLUSIVE_C14N
from openadr.verification import verify
from tests.openadr.signing import Identity as SignedBy
from tests.openadr.signing import identity, resigned
from tests.vtn.desk import anything_goes, created_event, make_event, metadata, usage
from tests.vtn.table import Party, Table, announcement
from vtn import event, finding, journal, original, signature
from vtn.exchange import ROUTES


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
    signing_pki: Path, database_path: Path
) -> None:
    async with aiohttp.ClientSession() as http:
        table = Table(signing_pki, database_path, http, rsa=True)
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
    signing_pki: Path, database_path: Path, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(signing_pki, tmp_path / "pki"))
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


@pytest.mark.goal(23)
async def test_keys_are_read_once(table: Table) -> None:
    """Their files may be gone while the server and a VEN sign."""
    await table.register(table.alice)
    for path in (table.settings.key, table.alice.identity.key):
        assert path is not None
        path.rename(path.with_suffix(".away"))
    try:
        for _ in range(3):
            assert isinstance(await table.say(table.alice, Poll(table.alice.ven_id)), Response)
    finally:
        for path in (table.settings.key, table.alice.identity.key):
            path.with_suffix(".away").rename(path)


async def test_messages_that_make_no_fact_fill_no_disk_however_often_they_are_signed(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(original, "LOOSE_KEPT", 2)
    alice = table.alice
    await table.register(alice)
    told = make_event()
    async with table.db.write() as conn:
        await event.publish(conn, told, alice.ven_id, table.now, anything_goes)
    answer = alice.signer.sign(encode(created_event(alice.ven_id, told, OptType.OPT_OUT)), table.now)
    assert (await table.post(alice, "EiEvent", answer))[0] == 200
    sent = []
    for again in range(4):
        table.now += timedelta(seconds=1)
        unknown = created_event(alice.ven_id, make_event(f"never-told-{again}"), OptType.OPT_IN)
        for service, message in (("EiReport", metadata(alice.ven_id)), ("EiEvent", unknown)):
            raw = alice.signer.sign(encode(message), table.now)
            assert (await table.post(alice, service, raw))[0] == 200
            sent.append(raw)
    async with table.db.read() as conn:
        kept = [await original.find(conn, hashlib.sha256(raw).hexdigest()) for raw in sent]
        assert kept == [None] * 6 + sent[6:]
        assert await original.find(conn, hashlib.sha256(answer).hexdigest()) == answer  # it made a fact
