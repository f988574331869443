"""Ways round the budget, the second person and the calls of a day that are none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aggregator import request as operator_request
from aggregator.clearance import MACHINE_OWNER, Rules
from aggregator.commitment import asked_w, commitments
from aggregator.errors import ApprovalNeededError, BudgetExceededError
from aggregator.limit_settings import LimitSettings
from aggregator.portfolio import Portfolio
from aggregator.profile import Period
from aggregator.sent_event import event_of
from aggregator.store import StoredCall
from openadr import Duration, Signal, SignalInterval
from openadr.enums import SignalType
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.test_api_approvals import asked as over_limits  # noqa: F401 - a fixture
from tests.aggregator.test_api_serve import Caller, token_of
from tests.aggregator.test_clearance import (
    ANNA,
    CONTEXT,
    HOUR,
    NOW,
    approve,
    asked,
    enrol,
    events,
    limited,
    propose,
    send,
)
from vtn import publication, revision
from vtn.errors import NotAdmitted
from vtn.store import Database


def power(value: float, kind: SignalType = SignalType.DELTA, name: str = "LOAD_DISPATCH") -> Signal:
    interval = SignalInterval(duration=Duration(3600), payload_float=value)
    return Signal(
        intervals=(interval,), signal_name=name, signal_type=kind, signal_id=f"{name} {kind} {value}"
    )


@pytest.mark.parametrize(
    ("signals", "watts"),
    [
        ([power(-3)], 3),
        ([power(3)], 3),
        ([power(-3), power(4)], 7),  # for two resources, say
        ([power(2, SignalType.LEVEL, "SIMPLE"), power(-3)], 3),
        ([power(2, SignalType.LEVEL, "SIMPLE"), power(0)], 50),
        ([power(2, SignalType.LEVEL, "SIMPLE")], 50),
        ([power(0, SignalType.LEVEL, "SIMPLE")], 0),
        ([power(-3, SignalType.SETPOINT)], 50),
        ([power(0, SignalType.SETPOINT)], 50),
        ([power(0.3, SignalType.PRICE, "ELECTRICITY_PRICE")], 50),
        ([power(-3), power(0.3, SignalType.PRICE, "ELECTRICITY_PRICE")], 50),
        ([power(-90), power(0, SignalType.SETPOINT)], 90),
    ],
)
def test_an_event_asks_for_what_its_deltas_say_and_else_for_all_that_was_agreed(
    signals: list[Signal], watts: int
) -> None:
    event = event_of(StoredCall("e", "v", 1, Period(NOW, NOW + HOUR), 1, False, NOW), CONTEXT)
    assert asked_w(replace(event, signals=tuple(signals)), 50) == watts


@pytest.fixture
async def fleet(database: Database, tmp_path: Path) -> AsyncIterator[Database]:
    """Nodes that may be called at once and as often as one likes."""
    await enrol(database, tmp_path)
    yield database


async def test_many_small_events_at_once_are_a_large_one(fleet: Database, tmp_path: Path) -> None:
    of = limited(tmp_path, approval_above_kw=5)
    await send(fleet, of, asked(3))
    with pytest.raises(ApprovalNeededError):
        await send(fleet, of, asked(3, nodes=(2,)))
    await send(fleet, of, asked(3, start_h=2, nodes=(2,)))


async def test_what_was_approved_leaves_room_for_small_events(fleet: Database, tmp_path: Path) -> None:
    of = limited(tmp_path, approval_above_kw=5)
    await approve(fleet, of, await propose(fleet, of, asked(6)))
    await send(fleet, of, asked(5, nodes=(2,)))
    assert await events(fleet) == 2


async def test_what_is_taken_back_after_it_began_was_an_event_of_the_day(
    fleet: Database, tmp_path: Path
) -> None:
    of = limited(tmp_path, max_events_per_day=1)
    event_id = await send(fleet, of, asked(1))
    began = NOW + HOUR + timedelta(minutes=1)
    async with fleet.write() as conn:
        await operator_request.cancel(conn, event_id, began)
        (kept,) = await commitments(conn, NOW)
        assert kept.period == Period(NOW + HOUR, began)
    with pytest.raises(BudgetExceededError, match="2 events on that day"):
        await send(fleet, of, asked(1, start_h=3), MACHINE_OWNER)


async def test_what_is_taken_back_before_it_began_was_none(fleet: Database, tmp_path: Path) -> None:
    of = limited(tmp_path, max_events_per_day=1)
    event_id = await send(fleet, of, asked(1))
    async with fleet.write() as conn:
        await operator_request.cancel(conn, event_id, NOW + HOUR)
    await send(fleet, of, asked(1, start_h=3))


async def make(database: Database, of: Portfolio, event_id: str, node: int, kw: float) -> None:
    """An event by hand of one node, as the API makes it: judged, then published."""
    async with database.write() as conn:
        ven_id = (await of.nodes(conn))[node - 1].ven_id
        call = StoredCall(event_id, ven_id, 1, Period(NOW + HOUR, NOW + 2 * HOUR), int(kw * 1000), False, NOW)
        events = {ven_id: event_of(call, CONTEXT)}
        await of.judge(ANNA, conn, events, NOW)
        await publication.publish_all(conn, events, NOW, of.admit)


@pytest.mark.parametrize(
    ("limits", "clause"),
    [
        ({"approval_above_kw": 5}, "approval"),
        ({"approval_above_share": "0.25"}, "approval"),
        ({"max_concurrent_kw": 5}, "budget"),
        ({"max_ramp_kw_per_min": 5}, "budget"),
    ],
)
async def test_an_event_that_is_given_to_one_node_after_the_other_is_judged_as_a_whole(
    fleet: Database, tmp_path: Path, limits: dict[str, Any], clause: str
) -> None:
    of = limited(tmp_path, **limits)
    await make(fleet, of, "in-parts", 1, 3)
    with pytest.raises(NotAdmitted, match=r"two people|budget") as refused:
        await make(fleet, of, "in-parts", 2, 3)
    assert refused.value.clause == clause


async def test_an_event_by_hand_that_is_taken_back_after_it_began_was_a_call_of_the_day(
    fleet: Database, tmp_path: Path
) -> None:
    of = limited(tmp_path)
    await make(fleet, of, "by-hand", 1, 3)
    async with fleet.write() as conn:
        ven_id = (await of.nodes(conn))[0].ven_id
        began = NOW + HOUR + timedelta(minutes=1)
        await revision.cancel_all(conn, "by-hand", [ven_id], began)
        (kept,) = await commitments(conn, NOW, ven_id)
        assert (kept.period, kept.power_w) == (Period(NOW + HOUR, began), 3000)
        assert await commitments(conn, began) == []


def by_hand(asked_for: dict[str, Any], *values: float) -> dict[str, Any]:
    """An event of an hour, with a LOAD_DISPATCH delta for each value in kW."""
    signals = [
        {
            "signal_name": "LOAD_DISPATCH",
            "signal_type": "delta",
            "unit": {"kind": "powerReal", "scale": "k"},
            "intervals": [{"value": value}],
        }
        for value in values
    ]
    return {"start": asked_for["start"], "duration": "PT1H", "vens": ["node-1"], "signals": signals}


@pytest.mark.parametrize(("value", "clause"), [(3, "approval"), (30, "budget")])
async def test_a_rise_of_load_by_hand_counts_as_a_fall(
    house: House,  # noqa: F811
    over_limits: dict[str, Any],  # noqa: F811
    value: int,
    clause: str,
) -> None:
    program = Caller(house, await token_of(house))
    answer, said = await program.ask("POST", "/events", by_hand(over_limits, value))
    assert (answer.status, said.get("clause")) == (422, clause), said


async def test_a_rise_of_load_beyond_the_capacity_breaks_the_agreement(
    house: House,  # noqa: F811
    over_limits: dict[str, Any],  # noqa: F811
) -> None:
    portfolio = house.aggregator._portfolio
    portfolio.rules = Rules(LimitSettings(), portfolio.calendar)
    program = Caller(house, await token_of(house))
    answer, said = await program.ask("POST", "/events", by_hand(over_limits, 50_000))
    assert (answer.status, said.get("clause")) == (422, "capacity"), said


async def test_an_event_that_names_no_power_counts_as_all_that_was_agreed(
    house: House,  # noqa: F811
    over_limits: dict[str, Any],  # noqa: F811
) -> None:
    program = Caller(house, await token_of(house))
    event = by_hand(over_limits)
    event["signals"] = [{"signal_name": "SIMPLE", "signal_type": "level", "intervals": [{"value": 2}]}]
    answer, said = await program.ask("POST", "/events", event)
    assert (answer.status, said.get("clause")) == (422, "budget"), said
