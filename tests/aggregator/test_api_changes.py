"""A request that is changed over the network after it was sent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from aggregator import sent_event
from aggregator.access.permission import Role
from aggregator.clearance import Rules
from aggregator.limit_settings import LimitSettings
from aggregator.schema import agreement_table
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.test_api_serve import Caller, token_of


@pytest.fixture
async def program(house: House) -> Caller:  # noqa: F811
    """A program of an operator."""
    return Caller(house, await token_of(house))


@pytest.fixture
async def request_id(house: House, program: Caller) -> str:  # noqa: F811
    """A request of 3 kW of the first node, four hours ahead."""
    start = (house.aggregator._clock() + timedelta(hours=4)).replace(minute=0, second=0, microsecond=0)
    body = {
        "start": start.isoformat(),
        "end": (start + timedelta(hours=1)).isoformat(),
        "nodes": {"node-1": 3},
    }
    answer, said = await program.ask("POST", "/requests", body)
    assert answer.status == 201, said
    return str(said["request_id"])


async def test_what_is_left_out_of_a_change_stays_and_the_end_moves_with_the_start(
    program: Caller, request_id: str
) -> None:
    _, before = await program.ask("GET", f"/requests/{request_id}")
    start = datetime.fromisoformat(before["start"]) + timedelta(hours=1)
    answer, said = await program.ask("PATCH", f"/requests/{request_id}", {"start": start.isoformat()})
    assert answer.status == 200, said
    assert said["start"] == before["end"]
    assert datetime.fromisoformat(said["end"]) == start + timedelta(hours=1)
    assert [(node["ven_name"], node["power_kw"]) for node in said["nodes"]] == [("node-1", 3.0)]
    _, shown = await program.ask("GET", f"/requests/{request_id}")
    assert shown == said


async def test_the_effect_is_what_is_sent_or_nothing_is(program: Caller, request_id: str) -> None:
    change: dict[str, Any] = {"nodes": {"node-1": 2}, "reason": "the line is back"}
    answer, effect = await program.ask("POST", f"/requests/{request_id}/effect", change)
    assert (answer.status, effect["asked_kw"], effect["nodes"]) == (200, 2.0, 1)
    answer, said = await program.ask("PATCH", f"/requests/{request_id}", {**change, "previewed": "0" * 64})
    assert (answer.status, "previewed" in said["detail"]) == (409, True)
    answer, said = await program.ask(
        "PATCH", f"/requests/{request_id}", {**change, "previewed": effect["digest"]}
    )
    assert (answer.status, said["power_kw"]) == (200, 2.0)
    answer, said = await program.ask(
        "PATCH", f"/requests/{request_id}", {"nodes": {"node-1": 3}, "previewed": effect["digest"]}
    )
    assert answer.status == 409


async def test_a_version_that_is_no_more_is_412_with_what_changed_and_a_key_is_one_change(
    program: Caller, request_id: str
) -> None:
    path = f"/requests/{request_id}"
    answer, _ = await program.ask("GET", path)
    seen, change = answer.headers["ETag"], {"nodes": {"node-1": 4}}
    first, said = await program.ask("PATCH", path, change, If_Match=seen, Idempotency_Key="k-1")
    again, repeat = await program.ask("PATCH", path, change, If_Match=seen, Idempotency_Key="k-1")
    assert (first.status, again.status, repeat) == (200, 200, said)
    answer, said = await program.ask("PATCH", path, {"nodes": {"node-1": 5}}, If_Match=seen)
    assert answer.status == 412
    assert {"field": "power_kw", "value": "4.0", "detail": "it was 3.0"} in said["errors"]
    answer, said = await program.ask("PATCH", path, {"nodes": {"node-1": 5}}, If_Match=first.headers["ETag"])
    assert (answer.status, said["power_kw"]) == (200, 5.0)


async def test_a_change_of_that_size_is_for_two_people(
    house: House,  # noqa: F811
    program: Caller,
    request_id: str,
) -> None:
    portfolio = house.aggregator._portfolio
    limits = LimitSettings.model_validate({"approval_above_kw": 4})
    portfolio.rules = Rules(limits, portfolio.calendar)
    change = {"nodes": {"node-1": 5}}
    answer, said = await program.ask("PATCH", f"/requests/{request_id}", change)
    assert (answer.status, "Two people" in said["detail"]) == (409, True)
    answer, made = await program.ask("POST", f"/requests/{request_id}/proposals", change)
    assert (answer.status, made["state"]) == (201, "waiting")
    _, shown = await program.ask("GET", f"/requests/{request_id}")
    assert made["changes"] == shown["event_id"]
    viewer = Caller(house, await token_of(house, Role.VIEWER))
    answer, _ = await viewer.ask("PATCH", f"/requests/{request_id}", change)
    assert answer.status == 403


@pytest.mark.parametrize("gone", ["it stayed out", "its agreement ended"])
async def test_where_nobody_is_left_there_is_nothing_to_change(
    house: House,  # noqa: F811
    program: Caller,
    request_id: str,
    gone: str,
) -> None:
    _, before = await program.ask("GET", f"/requests/{request_id}")
    async with house.desk.db.write() as conn:
        if gone == "it stayed out":
            ven_ids = list((await sent_event.find(conn, before["event_id"])).parts)
            await sent_event.take_out(conn, before["event_id"], ven_ids, house.aggregator._clock())
        else:
            await conn.execute(delete(agreement_table))
    later = datetime.fromisoformat(before["end"]) + timedelta(minutes=15)
    for method, path in (("PATCH", ""), ("POST", "/effect"), ("POST", "/proposals")):
        answer, said = await program.ask(method, f"/requests/{request_id}{path}", {"end": later.isoformat()})
        assert (answer.status, said["detail"]) == (422, "nobody is left in this event"), path


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"power_kw": 0}, "power_kw"),
        ({"power_kw": 1, "nodes": {"node-1": 1}}, ""),
        ({"start": "2026-01-20T00:00:00"}, "start"),
        ({"start": "2020-01-20T00:00:00Z"}, "start"),
        ({"reason": "storm \u202eover"}, "reason"),
        ({"test_event": True}, "test_event"),
    ],
    ids=["no power", "power and nodes", "no zone", "in the past", "turned text", "unknown field"],
)
async def test_what_cannot_be_is_refused_with_its_field(
    program: Caller, request_id: str, change: dict[str, Any], field: str
) -> None:
    answer, said = await program.ask("PATCH", f"/requests/{request_id}", change)
    assert answer.status in (400, 422), said
    assert [one["field"] for one in said.get("errors", [])] == ([field] if field else [])
