"""The message trace is bounded by count and age, and a fault of it disturbs nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.vtn.desk import NOW
from vtn import registration, trace
from vtn.store import Database
from vtn.trace import Exchange, Tracer

DAY = timedelta(days=1)


def said(number: int, at: timedelta = timedelta(0), ven_id: str = "v") -> Exchange:
    body = f"<x:oadrPayload><oadrSignedObject><y:oadrPoll>{number}".encode()
    return Exchange(
        ven_id=ven_id, at=NOW + at, service="OadrPoll", http_status=200, request=body, response=b""
    )


async def bodies(db: Database, ven_id: str = "v", at: timedelta = timedelta(0)) -> list[str]:
    async with db.read() as conn:
        found = await trace.newest(conn, ven_id, 1000, NOW + at)
    return [exchange.request.decode().rpartition(">")[2] for _, exchange in found]


async def test_the_newest_of_each_ven_stay(database: Database) -> None:
    tracer = Tracer(database, count=3)
    for number in range(5):
        await tracer.keep(said(number))
        await tracer.keep(said(number + 10, ven_id="w"))
    assert await bodies(database) == ["2", "3", "4"]
    assert await bodies(database, "w") == ["12", "13", "14"]


async def test_what_is_too_old_goes_and_is_not_shown_before_it_went(database: Database) -> None:
    tracer = Tracer(database, age=2 * DAY)
    for number in range(3):
        await tracer.keep(said(number, number * DAY))
    async with database.read() as conn:
        assert await trace.kept(conn, "v") == 2
    assert await bodies(database, at=7.5 * DAY) == ["1", "2"]
    assert await bodies(database, at=8.5 * DAY) == ["2"]


async def test_a_database_that_takes_nothing_is_no_fault_of_the_exchange(database: Database) -> None:
    tracer = Tracer(database)
    await database.close()
    with capture_logs() as logs:
        await tracer.keep(said(1))
    assert [(line["log_level"], line["error"]) for line in logs] == [("warning", "the database is closed")]


async def test_who_is_traced_is_known_at_once_and_after_a_restart(database: Database) -> None:
    tracer = Tracer(database)
    await tracer.open()
    async with database.write() as conn:
        ven_id = await registration.enrol(conn, "alice", "a1" * 32, NOW)
        await trace.turn(conn, ven_id, True, NOW)
        assert tracer.traced == set()
    assert tracer.traced == {ven_id}
    again = Tracer(database)
    await again.open()
    assert again.traced == {ven_id}
    async with database.write() as conn:
        await trace.turn(conn, ven_id, False, NOW)
        await trace.turn(conn, ven_id, False, NOW)
    assert (tracer.traced, again.traced) == (set(), set())


@pytest.mark.parametrize(
    ("body", "name", "code"),
    [
        (b"<p:oadrPayload><oadrSignedObject><q:oadrResponse><z:responseCode>200<", "oadrResponse", "200"),
        (b"<oadrPayloadSize/>", "oadrPayloadSize", None),
        (b"<responseCode> 452 </responseCode>", None, "452"),
        (b" " * 70_000 + b"<oadrPoll>", None, None),
        (b"", None, None),
    ],
    ids=["an answer", "a longer name", "a code alone", "far behind", "nothing"],
)
def test_name_and_code_are_those_at_the_beginning(body: bytes, name: str | None, code: str | None) -> None:
    exchange = Exchange(ven_id="v", at=NOW, service="s", http_status=200, request=body, response=body)
    assert (exchange.request_name, exchange.response_code) == (name, code)


async def test_of_large_exchanges_fewer_are_shown_at_once(database: Database) -> None:
    tracer = Tracer(database)
    for number in range(3):
        large = said(number)
        await tracer.keep(replace(large, response=bytes(trace.SHOWN_BYTES // 2)))
    assert await bodies(database) == ["2"]
