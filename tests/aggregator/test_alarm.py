"""Every alarm begins with its cause, once, and ends when the cause is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, select, update

from aggregator import alarm
from aggregator.access import user as users
from aggregator.access.permission import Role
from aggregator.alarm import AlarmKind, Condition, Severity
from aggregator.alarm_schema import alarm_table
from aggregator.dashboard.alarm_words import REMEDIES, TITLES, help_path, sentence
from aggregator.dashboard.wording import Wording
from aggregator.schema import call_table
from tests.aggregator.alarm_causes import (
    CAUSES,
    K,
    called,
    certificate_ends,
    chain_is_down,
    read_only,
    silent,
    speaks,
    writable,
)
from tests.aggregator.alarm_post import IDLE, Post
from tests.aggregator.conftest import START
from vtn.errors import UnknownObject
from vtn.schema import (
    certificate_table,
    event_table,
    ven_table,
)
from vtn.store import Database

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"


WORDS = Wording("en", ZoneInfo("UTC"), START)


@pytest.fixture
async def post(database: Database, tmp_path: Path) -> AsyncIterator[Post]:
    """A watch over an empty platform."""
    made = Post(database, certificates={"web web.pem": tmp_path / "web.pem"})
    yield made
    await made.watch.close()


@pytest.mark.goal(84)
def test_every_kind_is_tried_here_has_words_and_a_section_of_the_handbook() -> None:
    kinds = set(AlarmKind)
    assert kinds == set(CAUSES) == set(TITLES) == set(REMEDIES)
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    headings = {line.removeprefix("### ").replace(" ", "-") for line in lines if line.startswith("### ")}
    assert {help_path(kind).rpartition("#")[2] for kind in kinds} <= headings


@pytest.mark.goal(84)
@pytest.mark.parametrize("kind", [kind for kind in K if kind is not K.DATABASE_REFUSES])
async def test_an_alarm_begins_once_with_its_cause_and_ends_with_it(post: Post, kind: AlarmKind) -> None:
    cause, mend, severity = CAUSES[kind]
    assert await post.look() == []
    await cause(post)
    (begun,) = await post.look()
    assert (begun.kind, begun.severity, begun.since) == (kind, severity, START)
    assert "%(" not in sentence(begun, WORDS)
    assert await post.look() == [begun]
    await mend(post)
    assert await post.look() == []
    async with post.db.read() as conn:
        (ended,) = await alarm.history(conn, 10)
    assert (ended.alarm_id, ended.cleared_at) == (begun.alarm_id, START)


@pytest.mark.goal(84)
async def test_while_the_database_takes_nothing_the_alarm_is_known_and_later_it_is_history(
    post: Post,
) -> None:
    await read_only(post)
    assert await post.look() == []
    refusal = post.watch.refusal
    assert refusal is not None
    assert (refusal.kind, refusal.since) == (K.DATABASE_REFUSES, START)
    assert "disk is full" in sentence(refusal, WORDS)
    await post.look(minutes=1)
    assert post.watch.refusal == refusal
    await writable(post)
    assert await post.look(minutes=1) == []
    assert post.watch.refusal is None
    async with post.db.read() as conn:
        (ended,) = await alarm.history(conn, 10)
    assert (ended.kind, ended.since) == (K.DATABASE_REFUSES, START)
    assert ended.cleared_at == START + timedelta(minutes=2)


@pytest.mark.goal(82)
@pytest.mark.parametrize(
    ("days", "severity"),
    [
        (31, None),
        (29, Severity.INFO),
        (6, Severity.WARNING),
        (0.9, Severity.CRITICAL),
        (-1, Severity.CRITICAL),
    ],
)
async def test_a_certificate_is_told_of_30_7_and_1_days_before_it_ends(
    post: Post, days: float, severity: Severity | None
) -> None:
    await post.node("a")
    row = {"fingerprint": "1" * 64, "ven_id": "a", "since": START, "expires_at": START + timedelta(days=days)}
    await post.write(insert(certificate_table).values(row))
    assert [one.severity for one in await post.look()] == ([severity] if severity else [])


async def test_an_alarm_that_gets_worse_is_to_be_acknowledged_anew(post: Post) -> None:
    await certificate_ends(post)
    (before,) = await post.look()
    async with post.db.write() as conn:
        seen = await alarm.acknowledge(conn, before.alarm_id, "u_1", START)
    assert (seen.acknowledged_by, seen.acknowledged_at) == ("u_1", START)
    (worse,) = await post.look(days=4.5)
    assert (worse.alarm_id, worse.severity) == (before.alarm_id, Severity.CRITICAL)
    assert (worse.since, worse.acknowledged_at) == (START, None)


async def test_the_first_who_acknowledges_stands_there_with_his_name(post: Post) -> None:
    await silent(post)
    (begun,) = await post.look()
    async with post.db.write() as conn:
        ada = await users.add(conn, "Ada", Role.OPERATOR, START)
        ben = await users.add(conn, "Ben", Role.OPERATOR, START)
        await alarm.acknowledge(conn, begun.alarm_id, ada.user_id, START)
        later = START + timedelta(hours=1)
        seen = await alarm.acknowledge(conn, begun.alarm_id, ben.user_id, later)
        with pytest.raises(UnknownObject, match="'al_none'"):
            await alarm.acknowledge(conn, "al_none", ben.user_id, later)
        assert await alarm.unseen(conn) == (0, None)
    assert (seen.acknowledged_name, seen.acknowledged_at) == ("Ada", START)
    assert seen.is_open


async def test_a_silent_fleet_is_one_alarm(post: Post) -> None:
    for number in range(30):
        post.contacts[await post.node(f"node-{number:02}")] = START - timedelta(hours=1)
    (one,) = await post.look()
    assert (one.subject, one.severity, one.detail["nodes"]) == ("", Severity.CRITICAL, 30)
    assert sentence(one, WORDS).startswith("30 nodes are silent, among them node-00, node-01,")


async def test_a_shortfall_counts_who_has_not_answered_shortly_before_the_start(post: Post) -> None:
    await called(post, start=START + timedelta(minutes=30))
    await post.write(update(event_table).where(event_table.c.ven_id == "b").values(opt=None))
    assert await post.look() == []
    (one,) = await post.look(minutes=15)
    assert dict(one.detail) == {"event": "E1", "missing_w": 4000, "asked_w": 8000, "nodes": 1}
    assert "lacks 4.00" in sentence(one, WORDS)
    await post.write(update(call_table).values(cancelled_at=START))
    assert await post.look() == []


async def test_what_cannot_be_looked_at_yet_leaves_its_alarm_as_it_is(post: Post) -> None:
    await chain_is_down(post)
    (begun,) = await post.look()
    post.chain = IDLE | {"status": "not asked yet"}
    assert await post.look() == [begun]
    post.chain = IDLE
    assert await post.look() == []


async def test_two_writers_never_open_one_alarm_twice(post: Post) -> None:
    condition = Condition(K.CHAIN_DOWN, "", Severity.WARNING)
    async with post.db.write() as conn:
        first = await alarm.reconcile(conn, [condition], START)
        again = await alarm.reconcile(conn, [condition], START)
    assert (len(first.raised), again.raised) == (1, [])
    row = {"alarm_id": "al_2", "kind": "chain_down", "subject": "", "severity": 2, "detail": "{}"}
    with pytest.raises(Exception, match="UNIQUE"):
        await post.write(insert(alarm_table).values(row | {"since": START, "changed_at": START}))


async def test_a_suspended_node_raises_no_alarm(post: Post) -> None:
    await silent(post)
    assert len(await post.look()) == 1
    await post.suspend("a")
    assert await post.look() == []


async def test_old_alarms_are_forgotten_after_a_year_and_open_ones_never(post: Post) -> None:
    await silent(post)
    await post.look()
    await speaks(post)
    await post.look()
    await chain_is_down(post)
    await post.look(days=364)
    async with post.db.read() as conn:
        assert await alarm.ended(conn) == 1
    (standing,) = await post.look(days=2)
    assert standing.kind is K.CHAIN_DOWN
    async with post.db.read() as conn:
        assert await alarm.ended(conn) == 0
        assert (await conn.execute(select(ven_table.c.ven_id))).all()
