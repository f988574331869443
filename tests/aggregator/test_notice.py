"""Notices reach a real web server and a real mail server, signed, at least once, and nobody else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web
from sqlalchemy import update

from aggregator import alarm, notice, operator_choice
from aggregator.alarm_schema import notice_table
from aggregator.notice import REST, WAITS, Channel, Target
from aggregator.notice_settings import NoticeSettings
from aggregator.notifier import FACTS_AT_A_TIME
from aggregator.operator_choice import NoticeChoice
from aggregator.webhook import BarredError, Bounds, UndeliveredError, Webhooks
from tests.aggregator.alarm_post import IDLE, Post
from tests.aggregator.conftest import START
from vtn import journal
from vtn.errors import StartupError
from vtn.store import Database

KEY = b"k" * 32
MESSAGE = {"type": "test", "alarm": {"kind": ""}}


@dataclass
class Receiver:
    """A web server that keeps what it is sent, and answers as the test says."""

    port: int = 0
    status: int = 200
    got: list[tuple[dict[str, str], str]] = field(default_factory=list)
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Event = field(default_factory=asyncio.Event)  # for what waits until the test says so

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def types(self) -> list[str]:
        """What it was told, in order."""
        return [json.loads(body)["type"] for _, body in self.got]

    async def take(self, request: web.Request) -> web.Response:
        """Keep one; at /slow not before the test says so."""
        if request.path.endswith("/slow"):
            self.asked.set()
            await self.answer.wait()
        self.got.append((dict(request.headers), await request.text()))
        self.taken.set()
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A web server."""
    made = Receiver()
    app = web.Application()
    app.router.add_post("/{tail:.*}", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def secret_file(folder: Path) -> Path:
    path = folder / "webhook.secret"
    path.write_text(f"whsec_{base64.b64encode(KEY).decode()}\n", encoding="ascii")
    path.chmod(0o600)
    return path


@pytest.fixture
async def post(database: Database, receiver: Receiver, tmp_path: Path) -> AsyncIterator[Post]:
    """A watch whose notices may go to the receiver."""
    settings = NoticeSettings(
        hosts=(f"127.0.0.1:{receiver.port}",),
        networks=("127.0.0.0/8",),
        secret_file=secret_file(tmp_path),
    )
    made = Post(database, notices=settings)
    yield made
    await made.watch.close()


async def choose(post: Post, **values: Any) -> None:
    """What an admin wants."""
    async with post.db.write() as conn:
        _, version = await operator_choice.read(conn, NoticeChoice)
        await operator_choice.write(conn, NoticeChoice(**values), version, "u_1", START)


async def chain_fails(post: Post) -> None:
    post.chain = IDLE | {"status": "failed", "text": "no funds"}
    await post.look()


async def rows(post: Post) -> list[notice.Notice]:
    """What was laid down, but for what is said of notices themselves."""
    async with post.db.read() as conn:
        found = await notice.newest(conn, 100)
    return [one for one in found if one.body["alarm"]["kind"] != "notices_stuck"]


async def test_an_alarm_is_told_when_it_begins_and_ends_and_its_signature_is_that_of_the_standard(
    post: Post, receiver: Receiver
) -> None:
    await choose(post, webhooks=(receiver.url,))
    await chain_fails(post)
    await post.notifier.deliver(post.db)
    post.chain = IDLE
    await post.look()
    await post.notifier.deliver(post.db)
    assert receiver.types == ["alarm.raised", "alarm.cleared"]
    headers, body = receiver.got[0]
    told = json.loads(body)
    assert told["alarm"]["kind"] == "anchoring_failed"
    assert "no funds" in told["text"] and "restart the aggregator" in told["text"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    made = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{made}"
    assert headers["webhook-id"] == told["id"]
    assert int(headers["webhook-timestamp"]) == int(START.timestamp())


def dead_and_alive(post: Post, receiver: Receiver) -> tuple[Target, Target]:
    """A target where nobody listens, and the receiver."""
    post.notifier._webhooks.bounds._hosts |= {"127.0.0.1:1"}
    return Target(Channel.WEBHOOK, "http://127.0.0.1:1/"), Target(Channel.WEBHOOK, receiver.url)


async def test_what_is_not_taken_is_tried_again_with_the_same_id_later_and_later(
    post: Post, receiver: Receiver
) -> None:
    await choose(post, webhooks=(receiver.url,))
    receiver.status = 503
    await chain_fails(post)
    for wait in WAITS[:3]:
        await post.notifier.deliver(post.db)
        await post.notifier.deliver(post.db)  # not before its time
        await post.clock.move(post.clock.now + wait)
    assert len(receiver.got) == 3
    receiver.status = 204
    await post.notifier.deliver(post.db)
    await post.notifier.deliver(post.db)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    (row,) = await rows(post)
    assert (row.tries, row.sent_at, row.error) == (4, post.clock.now, "")


@pytest.mark.goal(43)
async def test_a_redirect_is_not_followed_and_after_all_tries_it_is_given_up(
    post: Post, receiver: Receiver
) -> None:
    await choose(post, webhooks=(receiver.url,))
    receiver.status = 307
    await chain_fails(post)
    for wait in (*WAITS, timedelta(days=1)):
        await post.notifier.deliver(post.db)
        await post.clock.move(post.clock.now + wait)
    await post.notifier.deliver(post.db)
    assert len(receiver.got) == len(WAITS) + 1
    (row,) = await rows(post)
    assert row.given_up_at is not None
    assert row.error == "it answered with status 307"


async def test_a_target_that_does_not_answer_holds_up_no_other(post: Post, receiver: Receiver) -> None:
    closed = receiver.url.replace(f":{receiver.port}", ":1")
    post.notifier._webhooks.bounds._hosts |= {"127.0.0.1:1"}
    await choose(post, webhooks=(closed, receiver.url))
    await chain_fails(post)
    await post.notifier.deliver(post.db)
    assert receiver.types == ["alarm.raised"]
    assert sorted((row.sent_at is not None, row.tries) for row in await rows(post)) == [(False, 1), (True, 1)]


async def test_many_old_notices_to_a_dead_target_leave_the_others_their_turn(
    post: Post, receiver: Receiver
) -> None:
    closed, alive = dead_and_alive(post, receiver)
    async with post.db.write() as conn:
        for _ in range(60):
            await notice.queue(conn, [closed], MESSAGE, START - timedelta(hours=1))
        await notice.queue(conn, [alive], MESSAGE, START)
    await post.notifier.deliver(post.db)
    assert receiver.types == ["test"]
    async with post.db.read() as conn:
        assert await notice.due(conn, START + WAITS[0] - timedelta(seconds=1)) == {}
        assert set(await notice.due(conn, START + WAITS[0])) == {closed}


async def test_a_notice_that_is_never_taken_delays_the_others_to_its_target_by_minutes_only(
    post: Post, receiver: Receiver
) -> None:
    closed, _ = dead_and_alive(post, receiver)
    async with post.db.write() as conn:
        (first, _) = [(await notice.queue(conn, [closed], MESSAGE, START))[0] for _ in range(2)]
        await conn.execute(
            update(notice_table).where(notice_table.c.notice_id == first).values(tries=len(WAITS) - 1)
        )
        one = next(n for n in (await notice.due(conn, START))[closed] if n.notice_id == first)
        await notice.failed(conn, one, "no", START, final=False)
        assert len((await notice.due(conn, START + REST))[closed]) == 1
        assert len((await notice.due(conn, START + WAITS[-1]))[closed]) == 2


async def test_while_a_target_keeps_us_waiting_another_is_told_what_comes_later(
    post: Post, receiver: Receiver
) -> None:
    slow, quick = Target(Channel.WEBHOOK, f"{receiver.url}/slow"), Target(Channel.WEBHOOK, receiver.url)
    async with post.db.write() as conn:
        await notice.queue(conn, [slow], MESSAGE, START)
    await post.notifier.begin(post.db)
    async with asyncio.timeout(5):
        await receiver.asked.wait()
        async with post.db.write() as conn:
            await notice.queue(conn, [quick], MESSAGE, START)
        await post.notifier.begin(post.db)
        await receiver.taken.wait()
    receiver.answer.set()
    await post.notifier.deliver(post.db)
    assert len(receiver.got) == 2  # the slow one was asked once


async def test_the_log_names_the_host_of_a_target_and_not_what_may_be_a_secret(
    post: Post, receiver: Receiver
) -> None:
    receiver.status = 503
    async with post.db.write() as conn:
        await notice.queue(conn, [Target(Channel.WEBHOOK, f"{receiver.url}/s3cret")], MESSAGE, START)
    with structlog.testing.capture_logs() as said:
        await post.notifier.deliver(post.db)
    assert [(line["channel"], line["host"]) for line in said] == [("webhook", "127.0.0.1")]
    assert "s3cret" not in str(said)


async def test_what_is_said_of_a_broken_answer_holds_no_secret(post: Post) -> None:
    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"this is not HTTP\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    post.notifier._webhooks.bounds._hosts |= {f"127.0.0.1:{port}"}
    try:
        with pytest.raises(UndeliveredError) as raised:
            await post.notifier._webhooks.send(f"http://127.0.0.1:{port}/s3cret", "n_1", "{}", START)
    finally:
        server.close()
    assert "s3cret" not in str(raised.value)


async def test_what_nobody_acknowledges_is_told_a_second_time_once(post: Post, receiver: Receiver) -> None:
    await choose(post, webhooks=(receiver.url,), escalate_after_min=15, escalate_to=("boss@example.org",))
    await chain_fails(post)
    await post.look(minutes=14)
    assert len(await rows(post)) == 1
    await post.look(minutes=1)
    await post.look(minutes=30)
    told = [(row.target, row.body["type"]) for row in await rows(post)]
    hook, boss = Target(Channel.WEBHOOK, receiver.url), Target(Channel.MAIL, "boss@example.org")
    assert sorted(told, key=str) == sorted(
        [(hook, "alarm.raised"), (hook, "alarm.escalated"), (boss, "alarm.escalated")], key=str
    )


async def test_what_somebody_has_in_hand_is_not_told_again(post: Post, receiver: Receiver) -> None:
    await choose(post, webhooks=(receiver.url,), escalate_after_min=15)
    await chain_fails(post)
    async with post.db.write() as conn:
        (one,) = await alarm.open_alarms(conn)
        await alarm.acknowledge(conn, one.alarm_id, "u_1", START)
    await post.look(minutes=60)
    assert len(await rows(post)) == 1


async def test_only_alarms_as_bad_as_chosen_are_told(post: Post, receiver: Receiver) -> None:
    await choose(post, webhooks=(receiver.url,), least=3)
    post.contacts[await post.node("a")] = START - timedelta(hours=1)
    await post.look()
    assert await rows(post) == []
    await chain_fails(post)
    assert len(await rows(post)) == 1


async def publish(post: Post, event_id: str, *ven_ids: str) -> None:
    """The facts of an event that was sent."""
    facts = [journal.New(ven_id, f"{event_id}/0", {"action": "published"}, None) for ven_id in ven_ids]
    async with post.db.write() as conn:
        await journal.record_all(conn, "signal", facts, START)


async def test_an_event_is_told_once_however_many_nodes_it_has(post: Post, receiver: Receiver) -> None:
    await choose(post, webhooks=(receiver.url,), events=True)
    await publish(post, "E0", "a")  # before anybody looked: no news
    await post.look()
    await publish(post, "E1", *(f"n{number}" for number in range(FACTS_AT_A_TIME + 2)))
    await post.look()
    await post.look()
    await post.notifier.deliver(post.db)
    assert receiver.types == ["event.published"]
    assert json.loads(receiver.got[0][1])["text"] == "Event E1 was published; nodes: 1002."


async def test_an_event_is_told_at_the_next_look_whatever_else_is_in_the_journal(
    post: Post, receiver: Receiver
) -> None:
    await choose(post, webhooks=(receiver.url,), events=True)
    await post.look()
    async with post.db.write() as conn:
        reports = [journal.New("a", f"r{number}", {}, None) for number in range(FACTS_AT_A_TIME + 1)]
        await journal.record_all(conn, "report", reports, START)
    await publish(post, "E1", "a")
    await post.look()
    await post.notifier.deliver(post.db)
    assert receiver.types == ["event.published"]


async def test_while_the_database_takes_nothing_everybody_is_told_from_memory(
    post: Post, receiver: Receiver
) -> None:
    await choose(post, webhooks=(receiver.url,))
    await post.look()
    async with post.db.write() as conn:
        await conn.exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON agg_position BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    await post.look()
    await post.look()
    assert receiver.types == ["alarm.raised"]
    assert json.loads(receiver.got[0][1])["alarm"]["kind"] == "database_refuses"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://evil.example/", "not among notices.hosts"),
        ("https://hooks.example:8443/", "not among notices.hosts"),
        ("ftp://hooks.example/", "not among notices.hosts"),
        ("https://169.254.169.254/latest", "private address"),
        ("https://[::ffff:10.0.0.1]/", "private address"),
        ("http://hooks.example/", "plain http"),
    ],
)
def test_an_address_outside_the_bounds_is_barred(url: str, why: str) -> None:
    hosts = ("hooks.example", "169.254.169.254", "::ffff:10.0.0.1", "::ffff:a00:1")
    with pytest.raises(BarredError, match=why):
        Bounds(NoticeSettings(hosts=hosts)).check(url)


async def test_a_name_that_leads_to_a_private_address_is_not_asked(
    receiver: Receiver, tmp_path: Path
) -> None:
    settings = NoticeSettings(
        hosts=(f"localhost:{receiver.port}",), networks=("10.0.0.0/8",), secret_file=secret_file(tmp_path)
    )
    hooks = Webhooks(settings)
    with pytest.raises(UndeliveredError, match="private address"):
        await hooks.send(f"http://localhost:{receiver.port}/", "n_1", "{}", START)
    await hooks.close()
    assert receiver.got == []


@pytest.mark.parametrize(("mode", "text"), [(0o644, f"whsec_{base64.b64encode(KEY).decode()}"), (0o600, "x")])
def test_a_secret_that_others_can_read_or_that_is_none_stops_the_start(
    tmp_path: Path, mode: int, text: str
) -> None:
    path = tmp_path / "secret"
    path.write_text(text, encoding="ascii")
    path.chmod(mode)
    with pytest.raises(StartupError, match="secret_file"):
        NoticeSettings(hosts=("hooks.example",), secret_file=path).check()
    with pytest.raises(StartupError, match="webhooks are signed"):
        NoticeSettings(hosts=("hooks.example",)).check()
