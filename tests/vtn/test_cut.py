"""A request cut at any byte changes nothing, a reply cut at any byte loses nothing (delivery, GOALS 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import MetaData

from openadr import CreatePartyRegistration, DistributeEvent, Message, RequestEvent, decode, encode
from tests.vtn.desk import ALICE, NOW, QUARTER, Desk, created_event, make_event, metadata, usage
from tests.vtn.test_exchange import response_of
from vtn.exchange import ROUTES
from vtn.schema import metadata as tables
from vtn.server import BASE, DEV_FINGERPRINT

STEP = 61
"""The gate tries each 61st byte, `--all` each."""
OF_CONTACT = ("last_contact", "offered_at", "offers", "delivered_at")
"""What an exchange may change each time: when the VEN was there, what it was offered and how often."""
MESSAGES: dict[str, Callable[[str], Message]] = {
    "registration": lambda ven_id: CreatePartyRegistration(
        request_id="r2", ven_name="alice", http_pull_model=True, registration_id="?", ven_id=ven_id
    ),
    "answer": lambda ven_id: created_event(ven_id, make_event()),
    "metadata": metadata,
    "report": lambda ven_id: usage(ven_id, [(NOW, 1.0), (NOW + QUARTER, 2.0)]),
}
Contents = dict[str, list[tuple[object, ...]]]


def request(message: Message) -> bytes:
    service = sorted(ROUTES[type(message)].services)[0]
    body = encode(message)
    head = (
        f"POST {BASE}{service} HTTP/1.1\r\nHost: vtn\r\nContent-Type: application/xml\r\n"
        f"Connection: close\r\n{DEV_FINGERPRINT}: {ALICE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def send(desk: Desk, raw: bytes, *, read: int = -1) -> bytes:
    """What comes back for these bytes: all of it, or at most `read` bytes before we hang up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
    try:
        writer.write(raw)
        await writer.drain()
        return await reader.read(read)
    finally:
        writer.transport.abort()


def message_in(answer: bytes) -> Message:
    return decode(answer.partition(b"\r\n\r\n")[2])


async def contents(desk: Desk) -> Contents:
    """Every row of the server's tables, times of contact apart."""
    found: Contents = {}
    known: MetaData = tables
    async with desk.db.read() as conn:
        for table in known.sorted_tables:
            columns = [column for column in table.c if column.name not in OF_CONTACT]
            rows = await conn.execute(table.select().with_only_columns(*columns))
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


async def prepare(desk: Desk, name: str) -> bytes:
    """A VEN that may say this now; its request."""
    ven_id = await desk.settle_in()
    await desk.say(metadata(ven_id))
    await desk.publish(make_event())
    assert isinstance(await desk.say(RequestEvent(request_id="q", ven_id=ven_id)), DistributeEvent)
    return request(MESSAGES[name](ven_id))


async def cut_requests(desk: Desk, name: str, step: int) -> tuple[Contents, Contents]:
    """What is kept before and after parts of a request."""
    raw = await prepare(desk, name)
    before = await contents(desk)
    for length in [*range(0, len(raw), step), len(raw) - 1]:
        await send(desk, raw[:length], read=0)
    await desk.poll()
    return before, await contents(desk)


async def cut_replies(desk: Desk, name: str, step: int) -> tuple[Contents, Contents, set[type[Message]]]:
    """What is kept after a reply and after parts of it, and of what kinds the replies are."""
    raw = await prepare(desk, name)
    whole = await send(desk, raw)
    after, kinds = await contents(desk), {type(message_in(whole))}
    for length in [*range(0, len(whole), step), len(whole) - 1]:
        await send(desk, raw, read=length)
        kinds.add(type(message_in(await send(desk, raw))))
    return after, await contents(desk), kinds


@pytest.mark.goal(71)
async def test_an_answer_cut_at_every_byte_changes_nothing_and_is_no_fault_of_the_server(desk: Desk) -> None:
    """The peer says that no more will come, and listens: nothing is said, or a 400."""
    raw = await prepare(desk, "answer")
    before = await contents(desk)
    for length in range(len(raw)):
        reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
        writer.write(raw[:length])
        writer.write_eof()
        said = await reader.read()
        assert said == b"" or said.startswith(b"HTTP/1.1 400 "), (length, said)
        writer.close()
    assert await contents(desk) == before
    assert response_of(message_in(await send(desk, raw))).is_success


@pytest.mark.goal(71)
@pytest.mark.parametrize("name", MESSAGES)
async def test_a_request_that_was_cut_changes_nothing(desk: Desk, name: str) -> None:
    before, after = await cut_requests(desk, name, STEP)
    assert after == before


@pytest.mark.goal(70)
@pytest.mark.parametrize("name", MESSAGES)
async def test_a_reply_that_was_cut_is_had_by_asking_again_and_nothing_is_doubled(
    desk: Desk, name: str
) -> None:
    once, often, kinds = await cut_replies(desk, name, STEP)
    assert often == once
    assert len(kinds) == 1


@pytest.mark.goal(71)
@pytest.mark.long
@pytest.mark.parametrize("name", MESSAGES)
async def test_a_request_cut_at_every_byte_changes_nothing(desk: Desk, name: str) -> None:
    before, after = await cut_requests(desk, name, 1)
    assert after == before


@pytest.mark.goal(70)
@pytest.mark.long
@pytest.mark.parametrize("name", MESSAGES)
async def test_a_reply_cut_at_every_byte_is_had_by_asking_again(desk: Desk, name: str) -> None:
    once, often, kinds = await cut_replies(desk, name, 1)
    assert often == once
    assert len(kinds) == 1
