"""The list of events as bytes that were encoded before: the ordinary encoder's, and never stale."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import (
    DistributeEvent,
    Duration,
    EiResponse,
    Event,
    Message,
    RequestEvent,
    Target,
    decode,
    encode,
)
from openadr.enums import ResponseRequired
from openadr.parser import Limits
from openadr.timeline import in_order
from tests.openadr.samples.event import FULL_EVENT
from tests.vtn.desk import ALICE, NOW, Desk, anything_goes, make_event, with_period
from vtn import certificate, distribution, event, event_fragment, registration
from vtn.bounded import Bounded
from vtn.distribution import LIST_BYTES, Lists
from vtn.event_content import as_of, for_ven, parted, read, write, writer
from vtn.registration import Ven
from vtn.schema import event_table, outbox_table
from vtn.server import Server
from vtn.settings import VtnSettings
from vtn.store import Database

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
ASK = "EiEvent"
Change = Callable[[AsyncConnection, str], Awaitable[None]]
WIDE = Limits(max_bytes=2**24)


async def asked(desk: Desk, reply_limit: int | None = None) -> bytes:
    """The bytes that answer Alice's RequestEvent."""
    message = RequestEvent(request_id="q<7>", ven_id=desk.ids[ALICE], reply_limit=reply_limit)
    status, body = await desk.post(ASK, encode(message))
    assert status == 200
    return body


async def ordinary(desk: Desk, body: bytes, reply_limit: int | None = None) -> bytes:
    """The same answer as the ordinary encoder makes it of the stored events."""
    told, t, box = decode(body, WIDE), event_table, outbox_table
    assert isinstance(told, DistributeEvent)
    async with desk.db.read() as conn:
        rows = (await conn.execute(select(t).where(t.c.ven_id == desk.ids[ALICE]))).all()
        waiting = set((await conn.execute(select(box.c.key))).scalars())
    listed = [
        as_of(read(row.content), desk.now, cancelled=row.cancelled_at is not None)
        for row in rows
        if (row.ends_at is None or row.ends_at > desk.now)
        and (row.cancelled_at is None or row.event_id in waiting)
    ]
    events = tuple(in_order(listed, desk.now)[:reply_limit])
    response = EiResponse.ok("q<7>")
    return encode(
        DistributeEvent(response=response, request_id=told.request_id, vtn_id="FLEXPACT", events=events)
    )


def commented(made: Event) -> Event:
    comment = "<&> & ]]> \u00e9 <ei:venID>"
    return replace(made, descriptor=replace(made.descriptor, vtn_comment=comment))


async def settled(desk: Desk) -> str:
    """Alice with events of every kind."""
    ven_id = await desk.settle_in()
    minutes = Duration(600)
    await desk.publish(commented(make_event("plain", NOW + HOUR)))
    await desk.publish(with_period(make_event("ramp", NOW + 2 * HOUR), ramp_up=minutes, start_after=minutes))
    await desk.publish(make_event("first", NOW + 2 * HOUR, priority=1))
    await desk.publish(make_event("gone", NOW + HOUR))
    await desk.publish(replace(FULL_EVENT, target=replace(FULL_EVENT.target, ven_id=())))
    await desk.publish(with_period(make_event("endless", NOW + HOUR, Duration(0).to_timedelta())))
    await desk.cancel("gone")
    return ven_id


def instants() -> list[datetime]:
    """Edges of those events and the seconds around them; the clock may be set back."""
    minutes = timedelta(minutes=10)  # of ramp-up and of the random start
    edges = [
        NOW,
        NOW + HOUR,
        NOW + 2 * HOUR - minutes,
        NOW + 2 * HOUR,
        NOW + 3 * HOUR,
        NOW + 3 * HOUR + minutes,
    ]
    found = [edge + shift for edge in edges for shift in (-SECOND, timedelta(0), SECOND)]
    return [*found, NOW + SECOND / 2, NOW + timedelta(days=9), NOW]


@pytest.mark.goal(18)
@pytest.mark.criterion("EVT-03", "EVT-09", "EVT-13", "EVT-15", "EVT-16", "EVT-25")
async def test_joined_bytes_are_those_of_the_ordinary_encoder_at_every_instant(desk: Desk) -> None:
    await settled(desk)
    for desk.now in instants():
        for limit in (None, None, 2):
            body = await asked(desk, limit)
            assert body == await ordinary(desk, body, limit), (desk.now, limit)


@pytest.mark.goal(77)
async def test_what_was_over_is_listed_again_when_the_clock_is_set_back(desk: Desk) -> None:
    await told_before(desk)
    desk.now = NOW + timedelta(days=1)
    assert await names(desk) == []
    desk.now = NOW + HOUR
    assert await names(desk) == ["e0", "e1"]


@asynccontextmanager
async def elsewhere(path: Path) -> AsyncIterator[AsyncConnection]:
    """A transaction of another process: this listener hears nothing of it."""
    other = await Database.open(path)
    try:
        async with other.write() as conn:
            yield conn
    finally:
        await other.close()


async def told_before(desk: Desk, count: int = 2) -> str:
    """Alice, who was told of her events already."""
    ven_id = await desk.settle_in()
    for number in range(count):
        await desk.publish(make_event(f"e{number}", NOW + (number + 1) * HOUR))
    assert await names(desk) == [f"e{number}" for number in range(count)]
    return ven_id


async def names(desk: Desk) -> list[str]:
    """The ids of Alice's events, asked for twice."""
    first, again = [decode(await asked(desk), WIDE) for _ in range(2)]
    assert isinstance(first, DistributeEvent) and isinstance(again, DistributeEvent)
    assert first.events == again.events
    return [f"{each.event_id}{'!' * each.modification_number}" for each in first.events]


async def modified(conn: AsyncConnection, ven_id: str) -> None:
    await event.modify(conn, make_event("e0", NOW + 3 * HOUR), ven_id, NOW, anything_goes)


async def cancelled(conn: AsyncConnection, ven_id: str) -> None:
    await event.cancel(conn, "e0", ven_id, NOW)


async def published(conn: AsyncConnection, ven_id: str) -> None:
    await event.publish(conn, make_event("e2", NOW + HOUR / 2), ven_id, NOW, anything_goes)


async def by_hand(conn: AsyncConnection, ven_id: str) -> None:
    await conn.exec_driver_sql("DELETE FROM vtn_event WHERE ven_id = ? AND event_id = 'e0'", (ven_id,))


CHANGES = [
    (modified, ["e1", "e0!"]),
    (cancelled, ["e0!", "e1"]),
    (published, ["e2", "e0", "e1"]),
    (by_hand, ["e1"]),
]


@pytest.mark.parametrize(("change", "after"), CHANGES, ids=lambda value: getattr(value, "__name__", ""))
async def test_what_another_process_changed_is_told_at_once(
    desk: Desk, database_path: Path, change: Change, after: list[str]
) -> None:
    ven_id = await told_before(desk)
    async with elsewhere(database_path) as conn:
        await change(conn, ven_id)
    assert await names(desk) == after


@pytest.mark.parametrize(("change", "after"), CHANGES, ids=lambda value: getattr(value, "__name__", ""))
async def test_what_changed_while_the_server_was_down_is_told(
    desk: Desk, database_path: Path, change: Change, after: list[str]
) -> None:
    ven_id = await told_before(desk)
    await desk.server.stop()
    async with elsewhere(database_path) as conn:
        await change(conn, ven_id)
    await desk.restart()
    assert await names(desk) == after


async def test_an_answered_cancellation_is_listed_no_more(desk: Desk) -> None:
    await told_before(desk)
    await desk.cancel("e0")
    assert await names(desk) == ["e0!", "e1"]
    told = decode(await asked(desk), WIDE)
    assert isinstance(told, DistributeEvent)
    await desk.answer(told.events[0])
    assert await names(desk) == ["e1"]


async def test_a_second_time_nothing_is_written_and_a_new_event_is_noted(desk: Desk) -> None:
    await told_before(desk)

    async def offers() -> list[int]:
        async with desk.db.read() as conn:
            return list((await conn.execute(select(outbox_table.c.offers))).scalars())

    before = await offers()
    await names(desk)
    assert await offers() == before
    await desk.publish(make_event("e9", NOW + HOUR))
    await names(desk)
    (state,) = await _states(desk, "e9")
    assert state.offered_at == NOW


async def _states(desk: Desk, event_id: str) -> list[event.EventState]:
    async with desk.db.read() as conn:
        return await event.event_states(conn, event_id)


async def test_an_event_that_nobody_answers_is_counted_each_time(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    await desk.publish(make_event("quiet", response_required=ResponseRequired.NEVER))
    for _ in range(distribution.OFFERS_WITHOUT_ANSWER + 1):
        assert b"quiet" in await asked(desk)
    async with desk.db.read() as conn:
        waiting = select(func.count()).select_from(outbox_table).where(outbox_table.c.ven_id == ven_id)
        assert (await conn.execute(waiting)).scalar_one() == 0
    assert b"quiet" in await asked(desk)


async def suspended(conn: AsyncConnection, ven_id: str) -> None:
    await registration.suspend(conn, ven_id, NOW)


async def withdrawn(conn: AsyncConnection, ven_id: str) -> None:
    (entry,) = await certificate.enrolled(conn, ven_id)
    await conn.exec_driver_sql(
        "UPDATE vtn_certificate SET valid_until = 0 WHERE fingerprint = ?", (entry.fingerprint,)
    )


@pytest.mark.criterion("SEC-10", "SEC-12", who="vtn")
@pytest.mark.parametrize("change", [suspended, withdrawn])
async def test_a_ven_that_another_process_turned_away_is_told_nothing_more(
    desk: Desk, database_path: Path, change: Change
) -> None:
    ven_id = await told_before(desk)
    async with elsewhere(database_path) as conn:
        await change(conn, ven_id)
    refused = decode(await asked(desk))
    assert isinstance(refused, DistributeEvent) and refused.response is not None
    assert (refused.response.code, refused.events) == ("463", ())


async def test_a_ven_that_must_sign_from_now_on_gets_nothing_unsigned(
    desk: Desk, database_path: Path
) -> None:
    ven_id = await told_before(desk)
    async with elsewhere(database_path) as conn:
        await registration.change(conn, ven_id, signature_required=True)
    message = RequestEvent(request_id="q", ven_id=ven_id)
    status, body = await desk.post(ASK, encode(message))
    assert (status, body) == (403, b"")


async def test_an_id_of_another_is_refused_as_ever(desk: Desk) -> None:
    await told_before(desk)
    refused = await desk.say(RequestEvent(request_id="q", ven_id="another"))
    assert isinstance(refused, DistributeEvent) and refused.response is not None
    assert (refused.response.code, refused.events) == ("452", ())


async def test_an_integrators_hook_sees_each_request(desk: Desk) -> None:
    await told_before(desk)
    seen: list[str] = []

    async def review(message: Message, ven: Ven, conn: AsyncConnection, now: datetime) -> None:
        seen.append(type(message).__name__)

    await desk.server.stop()
    settings = VtnSettings(port=0, insecure_dev=True)
    desk.server = Server(settings, desk.db, lambda: desk.now, lambda _ven, _reports, _now: [], review)
    await desk.server.start()
    await names(desk)
    assert seen == ["RequestEvent"] * 2


async def test_lists_and_fragments_are_bounded_and_made_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_fragment, "_kept", kept := Bounded[object, object](6_000))
    ven_id = await told_before(desk, 5)
    assert 0 < kept.size <= 6_000
    lists = Lists(max_bytes=100)
    message = RequestEvent(request_id="q", ven_id=ven_id)
    bodies = [
        desk.db.look(lambda view: lists.repeated(view, message, ven_id, "FLEXPACT", NOW)) for _ in range(2)
    ]
    assert all(body is not None and body.count(b"<oadr:oadrEvent>") == 5 for body in bodies)
    assert lists.size == 0


async def test_lists_without_events_are_bounded_too(desk: Desk) -> None:
    lists = Lists(max_bytes=2 * LIST_BYTES)
    for who, name in (("d4" * 32, "dora"), ("e5" * 32, "emil"), ("f6" * 32, "fred")):
        ven_id = await desk.register(who, name)
        message = RequestEvent(request_id="q", ven_id=ven_id)
        body = desk.db.look(partial(lists.repeated, message=message, ven_id=ven_id, vtn_id="V", now=NOW))
        assert body is not None
        assert b"<oadr:oadrEvent>" not in body
    assert lists.size == 2 * LIST_BYTES


def test_the_least_used_goes_first() -> None:
    kept = Bounded[str, int](10)
    kept.put("a", 1, 4)
    kept.put("b", 2, 4)
    kept.put("b", 3, 5)
    assert (kept.get("a"), kept.get("b"), kept.size) == (1, 3, 9)
    kept.get("a")
    kept.put("c", 4, 6)
    assert (kept.get("a"), kept.get("b"), kept.get("c"), kept.size) == (1, None, 4, 10)
    kept.put("huge", 5, 11)
    assert (kept.get("huge"), kept.size) == (None, 0)


VEN_IDS = ["ven-1", "a&b", "<v>", "caf\u00e9", "-", " x ", "a'b\"c", "v" * 128]


@pytest.mark.parametrize("target", [Target(), Target(resource_id=("r",)), FULL_EVENT.target])
def test_what_is_written_for_many_vens_is_what_is_written_for_each(target: Target) -> None:
    made = replace(FULL_EVENT, target=replace(target, ven_id=()))
    write_for = writer(for_ven(made, "somebody", 0, NOW))
    for ven_id in VEN_IDS:
        alone = for_ven(made, ven_id, 0, NOW)
        assert write_for(ven_id) == write(alone)
        assert read(write_for(ven_id)).target.ven_id == (
            () if target == Target(resource_id=("r",)) else (ven_id,)
        )
        assert read(write_for(ven_id)) == alone


def test_an_event_with_a_second_ven_id_is_shared_with_nobody() -> None:
    (signal,) = make_event().signals[:1]
    made = replace(make_event(), signals=(replace(signal, target=Target(ven_id=("another",))),))
    for_one = for_ven(made, "ven-1", 0, NOW)
    assert parted(write(for_one)) == (write(for_one), b"", b"")
    assert writer(for_one)("ven-2") == write(for_ven(made, "ven-2", 0, NOW))
    assert read(write(for_one)) == for_one
