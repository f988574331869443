"""A signed message is acted on once: at any worker, after a restart, and not when it is old (SIG-05)."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import (
    CancelPartyRegistration,
    DistributeEvent,
    Message,
    Poll,
    RequestEvent,
    UpdatedReport,
    decode,
    encode,
)
from openadr.certificate import KeyKind
from openadr.enums import OptType
from openadr.errors import BadSignature, InvalidData
from openadr.verification import verify
from tests.vtn.desk import NOW, anything_goes, created_event, make_event, usage
from tests.vtn.table import Table, announcement
from vtn import event, finding, nonce, original, registration
from vtn.schema import micros


@pytest.mark.goal(4)
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


@pytest.mark.goal(4)
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


@pytest.mark.criterion("SIG-05")
async def test_sig_05_what_was_signed_before_a_backup_was_put_back_is_ignored(table: Table) -> None:
    """The nonce was spent after the backup, so the database that is back does not know it."""
    alice = table.alice
    await table.register(alice)
    poll = encode(Poll(alice.ven_id))
    polled = alice.signer.sign(poll, table.now)
    asked = alice.signer.sign(encode(RequestEvent(request_id="e", ven_id=alice.ven_id)), table.now)
    row = (micros(table.now),)
    async with table.db.write() as conn:
        await conn.exec_driver_sql(nonce.REFUSE_UP_TO, row)
        await conn.exec_driver_sql(nonce.REFUSE_UP_TO, row)
    assert await table.post(alice, "OadrPoll", polled) == (403, b"")
    assert await table.post(alice, "EiEvent", asked) == (403, b"")
    table.now += timedelta(seconds=1)
    assert (await table.post(alice, "OadrPoll", alice.signer.sign(poll, table.now)))[0] == 200
