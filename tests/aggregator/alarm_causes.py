"""What each alarm comes of and what ends it, as steps that a test takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, insert, text, update

from aggregator import budget, store
from aggregator.alarm import AlarmKind, Severity
from aggregator.alarm_platform import Trouble
from aggregator.alarm_schema import notice_table
from aggregator.audit import JOURNAL
from aggregator.readings import TELEMETRY
from aggregator.schema import call_table
from ledger.agreement_schema import settlement_table
from ledger.store import checkpoint_table, leaf_table
from tests.aggregator.alarm_post import IDLE, Post, certificate_file
from tests.aggregator.conftest import START
from vtn import journal
from vtn.schema import (
    certificate_table,
    event_table,
    outbox_table,
    reading_table,
    report_request_table,
)

K = AlarmKind


Step = Callable[[Post], Awaitable[None]]


async def silent(post: Post) -> None:
    post.contacts[await post.node("a")] = post.clock.now - timedelta(minutes=3)


async def speaks(post: Post) -> None:
    post.contacts["a"] = post.clock.now


async def _owes_reports(post: Post) -> None:
    await post.node("a")
    request = {
        "ven_id": "a",
        "report_request_id": "q",
        "specifier_id": "s",
        "report_name": TELEMETRY,
        "r_ids": [],
        "requested_at": START - timedelta(hours=3),
        "accepted_at": START - timedelta(hours=2),
    }
    await post.write(insert(report_request_table).values(request))


async def _reports(post: Post) -> None:
    reading = {
        "ts": post.clock.now - timedelta(minutes=15),
        "ven_id": "a",
        "r_id": "load",
        "report_name": TELEMETRY,
        "duration_s": 900.0,
        "value": 1.0,
        "quality": "Quality Good",
        "created_at": post.clock.now,
        "report_request_id": "q",
    }
    await post.write(insert(reading_table).values(reading))


async def certificate_ends(post: Post) -> None:
    await post.node("a")
    row = {"fingerprint": "1" * 64, "ven_id": "a", "since": START, "expires_at": START + timedelta(days=5)}
    await post.write(insert(certificate_table).values(row))


async def _another_certificate(post: Post) -> None:
    row = {"fingerprint": "2" * 64, "ven_id": "a", "since": START, "expires_at": START + timedelta(days=90)}
    await post.write(insert(certificate_table).values(row))


async def _clock_ahead(post: Post) -> None:
    post.skews[await post.node("a")] = timedelta(minutes=5)


async def _clock_right(post: Post) -> None:
    post.skews["a"] = timedelta(seconds=-2)


async def _leaves_unanswered(post: Post) -> None:
    await post.node("a")
    row = {"ven_id": "a", "kind": "event", "key": "E1", "queued_at": START - timedelta(hours=1), "offers": 3}
    await post.write(insert(outbox_table).values(row))


async def _answers(post: Post) -> None:
    await post.write(delete(outbox_table))


async def called(post: Post, **columns: Any) -> None:
    """Two nodes that are asked for 4 kW each; of the first it is known what it answered."""
    for name in ("a", "b"):
        await post.node(name)
        call = {
            "event_id": "E1",
            "ven_id": name,
            "agreement_id": 1,
            "start": START - timedelta(minutes=5),
            "end": START + timedelta(hours=1),
            "power_w": 4000,
            "test_event": False,
            "notified_at": START - timedelta(hours=2),
            "settled_revision": 0,
        }
        event = {
            "ven_id": name,
            "event_id": "E1",
            "modification_number": 0,
            "content": b"",
            "published_at": START - timedelta(hours=2),
            "opt": "optIn",
        }
        await post.write(insert(call_table).values(call | columns), insert(event_table).values(event))


async def _one_opts_out(post: Post) -> None:
    await called(post)
    await post.write(update(event_table).where(event_table.c.ven_id == "a").values(opt="optOut"))


async def _comes_back(post: Post) -> None:
    await post.write(update(event_table).values(opt="optIn"))


async def _too_much(post: Post) -> None:
    async with post.db.write() as conn:
        await budget.open_breaker(conn, "9000 kW at once", "u_1", START)


async def _closed_again(post: Post) -> None:
    async with post.db.write() as conn:
        await budget.close_breaker(conn, "u_1", START)


async def _long_over(post: Post) -> None:
    await called(post, start=START - timedelta(hours=9), end=START - timedelta(hours=8))


async def _settled(post: Post) -> None:
    await post.write(update(call_table).values(settled_revision=1))


async def _owed(post: Post) -> None:
    row = {
        "subject": "a",
        "event_id": "E1",
        "event_key": b"k",
        "agreement_id": b"a",
        "salt": b"s",
        "booking": "{}",
        "revisions": "[]",
        "state": "open",
        "text": "",
        "look_at": int((START - timedelta(days=2)).timestamp()),
    }
    await post.write(insert(settlement_table).values(row))


async def _paid(post: Post) -> None:
    await post.write(update(settlement_table).values(state="paid"))


async def _unsealed(post: Post) -> None:
    async with post.db.write() as conn:
        at = START - timedelta(hours=1)
        await journal.record(conn, "registration", "a", "x", body={}, now=at)


async def _sealed(post: Post) -> None:
    async with post.db.write() as conn:
        await store.move(conn, JOURNAL, await journal.newest(conn))


async def _unsigned(post: Post) -> None:
    await post.write(insert(leaf_table).values(leaf_index=0, key="k", salt=b"", canonical=b""))


async def _signed(post: Post) -> None:
    await post.write(delete(leaf_table), delete(checkpoint_table))


async def chain_is_down(post: Post) -> None:
    since = (START - timedelta(minutes=20)).isoformat()
    post.chain = {"status": "chain down", "text": "no answer", "alarm": True, "behind_since": since}


async def _out_of_gas(post: Post) -> None:
    post.chain = IDLE | {"status": "failed", "text": "the account has no funds"}


async def _chain_is_back(post: Post) -> None:
    post.chain = IDLE


async def _witness_refuses(post: Post) -> None:
    post.witnesses = [Trouble("dso.example/witness", START - timedelta(minutes=20), "it refused")]


async def _witness_cosigns(post: Post) -> None:
    post.witnesses = []


async def _own_certificate_ends(post: Post) -> None:
    certificate_file(post.certificates["web web.pem"], START + timedelta(hours=20))


async def _own_certificate_is_new(post: Post) -> None:
    certificate_file(post.certificates["web web.pem"], START + timedelta(days=365))


async def read_only(post: Post) -> None:
    refuse = (
        "CREATE TRIGGER full BEFORE UPDATE ON agg_position BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    )
    async with post.db.write() as conn:
        await store.move(conn, "alarms-looked", 1)
        await conn.execute(text(refuse))


async def writable(post: Post) -> None:
    await post.write(text("DROP TRIGGER full"))


async def _disk_fills(post: Post) -> None:
    post.free_bytes = 50 * 10**6


async def _room(post: Post) -> None:
    post.free_bytes = 2**40


async def _task_fails(post: Post) -> None:
    post.tasks = [Trouble("attend", START - timedelta(minutes=2), "OSError: away")]


async def _task_works(post: Post) -> None:
    post.tasks = []


async def _nobody_takes_notices(post: Post) -> None:
    row = {
        "notice_id": "n1",
        "channel": "webhook",
        "target": "https://hooks.example/",
        "body": "{}",
        "queued_at": START - timedelta(hours=1),
        "due_at": START + timedelta(days=1),
        "tries": 3,
        "error": "it answered with status 500",
    }
    await post.write(insert(notice_table).values(row))


async def _somebody_does(post: Post) -> None:
    await post.write(update(notice_table).values(sent_at=START))


CAUSES: Mapping[AlarmKind, tuple[Step, Step, Severity]] = {
    K.NODE_SILENT: (silent, speaks, Severity.WARNING),
    K.REPORT_LATE: (_owes_reports, _reports, Severity.WARNING),
    K.CERTIFICATE_ENDING: (certificate_ends, _another_certificate, Severity.WARNING),
    K.CLOCK_SKEW: (_clock_ahead, _clock_right, Severity.WARNING),
    K.OUTBOX_BACKLOG: (_leaves_unanswered, _answers, Severity.WARNING),
    K.SHORTFALL: (_one_opts_out, _comes_back, Severity.CRITICAL),
    K.BREAKER_OPEN: (_too_much, _closed_again, Severity.CRITICAL),
    K.SETTLEMENT_LATE: (_long_over, _settled, Severity.WARNING),
    K.SETTLEMENT_UNPAID: (_owed, _paid, Severity.WARNING),
    K.AUDIT_LATE: (_unsealed, _sealed, Severity.CRITICAL),
    K.CHECKPOINT_LATE: (_unsigned, _signed, Severity.WARNING),
    K.CHAIN_DOWN: (chain_is_down, _chain_is_back, Severity.WARNING),
    K.ANCHORING_FAILED: (_out_of_gas, _chain_is_back, Severity.CRITICAL),
    K.WITNESS_FAILING: (_witness_refuses, _witness_cosigns, Severity.WARNING),
    K.SERVER_CERTIFICATE: (_own_certificate_ends, _own_certificate_is_new, Severity.CRITICAL),
    K.DATABASE_REFUSES: (read_only, writable, Severity.CRITICAL),
    K.DATABASE_SPACE: (_disk_fills, _room, Severity.CRITICAL),
    K.TASK_FAILING: (_task_fails, _task_works, Severity.CRITICAL),
    K.NOTICES_STUCK: (_nobody_takes_notices, _somebody_does, Severity.WARNING),
}
