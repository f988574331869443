"""The rule of two people and the budget, asked over the network by programs and people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aggregator.access.permission import Role
from aggregator.clearance import Rules
from aggregator.limit_settings import LimitSettings
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.test_api_serve import Caller, token_of


@pytest.fixture
def asked(house: House) -> dict[str, Any]:  # noqa: F811
    """A request of the first node; limits are set that it exceeds."""
    portfolio = house.aggregator._portfolio
    limits = LimitSettings.model_validate({"approval_above_kw": 2, "max_concurrent_kw": 20})
    portfolio.rules = Rules(limits, portfolio.calendar)
    start = house.aggregator._clock() + timedelta(hours=4)
    start = start.replace(minute=0, second=0, microsecond=0)
    end = start + timedelta(hours=1)
    return {"start": start.isoformat(), "end": end.isoformat(), "nodes": {"node-1": 3}}


@pytest.mark.goal(33)
async def test_a_program_proposes_and_a_person_approves(
    house: House,  # noqa: F811
    asked: dict[str, Any],
) -> None:
    program = Caller(house, await token_of(house))
    answer, said = await program.ask("POST", "/requests", asked)
    assert (answer.status, "Two people" in said["detail"]) == (409, True)
    answer, effect = await program.ask("POST", "/requests/effect", asked)
    assert (effect["asked_kw"], effect["nodes"], effect["needs_second_person"]) == (3.0, 1, True)
    answer, _ = await program.ask("POST", "/approvals", {**asked, "previewed": "0" * 64})
    assert answer.status == 409
    answer, made = await program.ask("POST", "/approvals", {**asked, "previewed": effect["digest"]})
    assert (answer.status, made["state"]) == (201, "waiting")
    answer, _ = await program.ask("POST", f"/approvals/{made['approval_id']}/approve")
    assert answer.status == 403
    answer, listed = await program.ask("GET", "/approvals")
    assert [one["approval_id"] for one in listed["approvals"]] == [made["approval_id"]]
    answer, shown = await program.ask("GET", f"/approvals/{made['approval_id']}")
    assert shown["digest"] == effect["digest"]


@pytest.mark.goal(33, 34)
async def test_an_event_by_hand_does_not_go_round_either(house: House, asked: dict[str, Any]) -> None:  # noqa: F811
    program = Caller(house, await token_of(house))
    length = {"start": asked["start"], "duration": "PT1H"}
    interval = {"value": -3}
    signal = {
        "signal_name": "LOAD_DISPATCH",
        "signal_type": "delta",
        "unit": {"kind": "powerReal", "scale": "k"},
        "intervals": [interval],
    }
    event = {**length, "vens": ["node-1"], "signals": [signal]}
    for power_kw, clause in ((-3, "approval"), (-30, "budget"), (-1, "breaker")):
        interval["value"] = power_kw
        answer, said = await program.ask("POST", "/events", event)
        assert (answer.status, said.get("clause")) == (422, clause), said
    answer, said = await program.ask("GET", "/breaker")
    assert said["open"] and "30 kW at once" in said["reason"]
    answer, _ = await program.ask("POST", "/breaker/close")
    assert answer.status == 403
    viewer = Caller(house, await token_of(house, Role.VIEWER))
    answer, _ = await viewer.ask("POST", "/approvals", asked)
    assert answer.status == 403
