"""The list of nodes as the database makes it, against the rules in Python."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import insert

from aggregator.dashboard.health import Health, health
from aggregator.dashboard.node_query import NodeList, NodeQuery
from aggregator.schema import agreement_table
from vtn.registration import Ven
from vtn.schema import awaited_certificate_table, certificate_table, ven_table
from vtn.store import Database

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
POLL_S = 10
DAY = timedelta(days=1)


async def _enrol(database: Database, name: str, **columns: Any) -> None:
    row = {"ven_id": name, "ven_name": name, "enrolled_at": NOW, "registration_id": f"r-{name}"}
    async with database.write() as conn:
        await conn.execute(insert(ven_table).values({**row, "report_only": False, **columns}))


async def _certificate(database: Database, name: str, number: int, **columns: Any) -> None:
    row = {"fingerprint": f"{number:064x}", "ven_id": name, "since": NOW - DAY}
    async with database.write() as conn:
        await conn.execute(insert(certificate_table).values({**row, **columns}))


async def _names(database: Database, heard: Mapping[str, datetime] | None = None, **query: Any) -> list[str]:
    return [row.ven_name for row in (await _page(database, heard, **query)).rows]


async def _page(database: Database, heard: Mapping[str, datetime] | None = None, **query: Any) -> Any:
    async with database.read() as conn:
        return await NodeList(NOW, heard or {}, POLL_S).page(conn, NodeQuery(**query))


async def test_the_database_judges_health_as_the_one_rule_does(database: Database) -> None:
    expected = {}
    grid = product((None, 0, 30, 31, 120, 121, 500), (None, 30), (None, NOW), (None, "r"))
    for number, (seconds, period, suspended, registration) in enumerate(grid):
        contact = None if seconds is None else NOW - timedelta(seconds=seconds)
        columns = {"poll_period_s": period, "suspended_at": suspended, "last_contact": contact}
        own = None if registration is None else f"r{number}"
        await _enrol(database, f"n{number:03}", registration_id=own, **columns)
        ven = Ven("", "", NOW, own, None, contact, False, suspended, poll_period_s=period)
        expected[f"n{number:03}"] = health(ven, contact, POLL_S, NOW)
    listed = await _page(database, size="200")
    assert {row.ven_name: row.state for row in listed.rows} == expected
    assert dict(listed.states) == {
        state: list(expected.values()).count(state) for state in set(expected.values())
    }


async def test_what_only_the_process_knows_of_contacts_counts(database: Database) -> None:
    await _enrol(database, "quiet", last_contact=NOW - DAY)
    await _enrol(database, "heard", last_contact=NOW - DAY)
    heard = {"heard": NOW - timedelta(seconds=5), "nobody": NOW}
    assert await _names(database, heard, state=Health.OK) == ["heard"]
    assert await _names(database, heard, sort="contact", order="down") == ["heard", "quiet"]


async def test_a_node_is_listed_by_its_last_certificate_whose_end_is_known(database: Database) -> None:
    for name in ("replaced", "soon", "none", "unseen", "ended", "withdrawn", "given up"):
        await _enrol(database, name)
    await _certificate(database, "replaced", 1, expires_at=NOW + DAY / 2)
    await _certificate(database, "replaced", 2, expires_at=NOW + 300 * DAY)
    await _certificate(database, "soon", 3, expires_at=NOW + 300 * DAY, valid_until=NOW + 6 * DAY)
    await _certificate(database, "soon", 4)
    await _certificate(database, "unseen", 5)
    await _certificate(database, "ended", 6, expires_at=NOW - DAY)
    await _certificate(database, "withdrawn", 7, expires_at=NOW + DAY, valid_until=NOW)
    await _certificate(database, "given up", 8, valid_until=NOW + 20 * DAY)
    assert await _names(database, expiry="over") == ["ended", "none", "withdrawn"]
    assert await _names(database, expiry="1") == ["ended", "none", "withdrawn"]
    assert await _names(database, expiry="7") == ["ended", "none", "soon", "withdrawn"]
    by_end = await _names(database, sort="certificate")
    assert by_end[:4] == ["ended", "soon", "given up", "replaced"]
    assert (await _page(database)).ending == 5


async def test_a_certificate_that_is_awaited_is_one(database: Database) -> None:
    await _enrol(database, "awaited")
    async with database.write() as conn:
        row = {"digest": "sha256", "tail": "0" * 20, "ven_id": "awaited", "since": NOW}
        await conn.execute(insert(awaited_certificate_table).values(row))
    assert await _names(database, expiry="over") == []


async def test_text_finds_names_ids_and_fingerprints_and_takes_no_wildcard(database: Database) -> None:
    await _enrol(database, "Alpha_1")
    await _enrol(database, "alphaX1")
    await _certificate(database, "alphaX1", 0xABCDEF0123456789)
    assert await _names(database, text="alpha") == ["Alpha_1", "alphaX1"]
    assert await _names(database, text="a_1") == ["Alpha_1"]
    assert await _names(database, text="%") == []
    assert await _names(database, text="AB:CD:EF:01") == ["alphaX1"]


async def test_the_programme_is_those_with_an_agreement(database: Database) -> None:
    await _enrol(database, "in")
    await _enrol(database, "out")
    async with database.write() as conn:
        await conn.execute(insert(agreement_table).values(ven_id="in", terms="{}", since=NOW))
    assert await _names(database, programme="in") == ["in"]
    assert await _names(database, programme="out") == ["out"]


@pytest.mark.goal(66)
async def test_pages_are_cut_after_the_order_and_leave_none_out(database: Database) -> None:
    for number in range(120):
        await _enrol(database, f"n{number:03}")
    found = []
    for page in (1, 2, 3):
        listed = await _page(database, page=page, order="down")
        found += [row.ven_name for row in listed.rows]
    assert found == [f"n{number:03}" for number in reversed(range(120))]
    assert (listed.found, listed.pages(50)) == (120, 3)
    assert (await _page(database, page=100_000)).rows == []


async def test_nobody_sees_more_than_his_scope(database: Database) -> None:
    await _enrol(database, "mine")
    await _enrol(database, "other")
    async with database.read() as conn:
        listed = await NodeList(NOW, {}, POLL_S, scope={"mine"}).page(conn, NodeQuery())
    assert [row.ven_name for row in listed.rows] == ["mine"]
    assert sum(listed.states.values()) == 1


@pytest.mark.parametrize(
    "query",
    [
        {"page": "0"},
        {"page": "1e9"},
        {"page": "9" * 30},
        {"text": "a\x00"},
        {"text": "x" * 129},
        {"state": "odd"},
        {"size": "5000"},
        {"no": "1"},
    ],
)
def test_a_query_that_cannot_be_one_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        NodeQuery.model_validate(query)
