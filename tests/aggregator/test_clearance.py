"""Budget, breaker and the second person: nothing goes round them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import insert

from aggregator import approval, budget, enrolment, operator_choice
from aggregator import request as operator_request
from aggregator.alarm_schema import setting_table
from aggregator.budget import Limit, judged, peak_w, ramp_w
from aggregator.clearance import MACHINE_OWNER, Sender
from aggregator.commitment import Commitment, commitments
from aggregator.dispatch import ReductionRequest
from aggregator.errors import (
    ApprovalError,
    ApprovalNeededError,
    BreakerOpenError,
    BudgetExceededError,
    PreviewChangedError,
)
from aggregator.limit_settings import LimitSettings
from aggregator.operator_choice import LimitChoice
from aggregator.portfolio import Portfolio
from aggregator.profile import Calendar, Period
from aggregator.request import Asked
from aggregator.totals import totals
from tests.aggregator.conftest import node_settings, write_settings
from vtn.store import Database

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONTEXT = "http://flexpact.example/peak"
ANNA, BERT = Sender("u-anna"), Sender("u-bert")
NODES = 4


def part(event: str, start_h: float, end_h: float, kw: float, ven: str = "v") -> Commitment:
    return Commitment(event, ven, Period(NOW + start_h * HOUR, NOW + end_h * HOUR), int(kw * 1000))


class TestTheSums:
    def test_the_peak_is_the_largest_sum_in_the_period_and_ends_do_not_count(self) -> None:
        parts = [part("a", 0, 2, 3), part("b", 1, 3, 4), part("c", 2, 4, 5), part("d", 10, 11, 99)]
        assert peak_w(parts, [Period(NOW, NOW + 4 * HOUR)]) == 9000
        assert peak_w(parts, [Period(NOW, NOW + HOUR)]) == 3000

    def test_what_begins_or_ends_within_a_minute_is_one_ramp(self) -> None:
        second = 1 / 3600
        parts = [part("a", 1, 3, 3), part("b", 1 + 59 * second, 5, 4), part("c", 1 + 61 * second, 3, 6)]
        assert ramp_w(parts, {NOW + HOUR}) == 7000  # c begins more than a minute after a, but ends with it
        assert ramp_w(parts, {NOW + 3 * HOUR}) == 9000

    @pytest.mark.goal(34)
    def test_each_part_of_the_budget_is_told_with_both_values(self) -> None:
        limits = LimitSettings(
            max_concurrent_kw=Decimal(5), max_ramp_kw_per_min=Decimal(4), max_events_per_day=1
        )
        found = judged(limits, Calendar(), [part("new", 1, 2, 5)], [part("old", 1.5, 3, 1)])
        assert [(one.limit, one.wanted, one.allowed) for one in found] == [
            (Limit.POWER, 6000, 5000),
            (Limit.RAMP, 5000, 4000),
            (Limit.EVENTS, 2, 1),
        ]
        assert str(found[0]) == "6 kW at once, the budget is 5 kW"

    def test_the_day_of_every_part_is_counted(self) -> None:
        limits = LimitSettings(max_events_per_day=1)
        wanted = [part("new", 1, 2, 5), part("new", 25, 26, 5, "w")]
        (excess,) = judged(limits, Calendar(), wanted, [part("old", 27, 28, 1)])
        assert (excess.wanted, excess.allowed) == (2, 1)


def limited(tmp_path: Path, **limits: object) -> Portfolio:
    nodes = [node_settings(n, max_calls_per_day=96, notice_min=0) for n in range(1, NODES + 1)]
    settings = write_settings(tmp_path, nodes)
    return Portfolio(settings.model_copy(update={"limits": LimitSettings.model_validate(limits)}))


async def enrol(database: Database, tmp_path: Path) -> None:
    nodes = [node_settings(n, max_calls_per_day=96, notice_min=0) for n in range(1, NODES + 1)]
    async with database.write() as conn:
        await enrolment.enrol(conn, write_settings(tmp_path, nodes).nodes, NOW)


@pytest.fixture
async def fleet(database: Database, tmp_path: Path) -> AsyncIterator[Database]:
    """Nodes that may be called at once and as often as one likes."""
    await enrol(database, tmp_path)
    yield database


def asked(kw: float, start_h: float = 1, nodes: Sequence[int] = (1,), key: str | None = None) -> Asked:
    """The power is of each node."""
    period = Period(NOW + start_h * HOUR, NOW + (start_h + 1) * HOUR)
    watts = {f"node-{n}": int(kw * 1000) for n in nodes}
    return Asked(ReductionRequest(period, sum(watts.values())), watts, False, key)


async def send(database: Database, of: Portfolio, what: Asked, sender: Sender = ANNA) -> str:
    async with database.write() as conn:
        answer = await operator_request.send(conn, of, CONTEXT, what, NOW, sender=sender)
    return str(answer["event_id"])


async def propose(database: Database, of: Portfolio, what: Asked, sender: Sender = ANNA) -> str:
    async with database.write() as conn:
        return (await approval.propose(conn, of, what, NOW, sender=sender)).approval_id


async def approve(
    database: Database, of: Portfolio, approval_id: str, who: str = BERT.who, now: datetime = NOW
) -> str:
    async with database.write() as conn:
        answer = await approval.approve(conn, of, CONTEXT, approval_id, now, who=who)
    return str(answer["event_id"])


async def state_of(database: Database, approval_id: str) -> str:
    async with database.write() as conn:
        return (await approval.find(conn, approval_id)).state


async def events(database: Database) -> int:
    async with database.write() as conn:
        return (await totals(conn)).events


class TestTheBudget:
    @pytest.mark.goal(34)
    async def test_it_binds_the_owner_of_the_machine_too_and_a_refusal_opens_the_breaker(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        of = limited(tmp_path, max_concurrent_kw=10)
        await send(fleet, of, asked(10), MACHINE_OWNER)
        with pytest.raises(BudgetExceededError, match="11 kW at once, the budget is 10 kW"):
            await send(fleet, of, asked(1, nodes=(2,)), MACHINE_OWNER)
        with pytest.raises(BreakerOpenError, match="11 kW at once"):
            await send(fleet, of, asked(1, start_h=5), ANNA)
        async with fleet.write() as conn:
            assert await budget.close_breaker(conn, "u-admin", NOW)
            assert not await budget.close_breaker(conn, "u-admin", NOW)
        await send(fleet, of, asked(1, start_h=5), ANNA)
        assert await events(fleet) == 2

    async def test_an_open_breaker_does_not_keep_anything_from_being_taken_back(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        of = limited(tmp_path, max_concurrent_kw=10)
        event_id = await send(fleet, of, asked(10))
        async with fleet.write() as conn:
            await budget.open_breaker(conn, "by hand", "u-admin", NOW)
            await operator_request.cancel(conn, event_id, NOW)
            assert await commitments(conn, NOW) == []


class TestLimitsThatCannotBeRead:
    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ('{"max_events_per_day": 1, "max_concurrent_kw": "many"}', "(max_concurrent_kw)"),
            ('{"max_events_per_day": 1, "most_homes": 4}', "(most_homes)"),
            ('{"max_events_per_day": 1', "max_events_per_day, max_ramp_kw_per_min)"),
            ("[]", "max_events_per_day, max_ramp_kw_per_min)"),
        ],
    )
    async def test_nothing_is_sent_until_an_admin_saves_them_anew(
        self, fleet: Database, tmp_path: Path, content: str, told: str
    ) -> None:
        of = limited(tmp_path)
        event_id = await send(fleet, of, asked(2))
        row = {"name": "limits", "content": content, "version": 3, "changed_by": "u-admin"}
        async with fleet.write() as conn:
            await conn.execute(insert(setting_table).values(row | {"changed_at": NOW}))
            await of.follow_limits(conn)
            await budget.close_breaker(conn, "u-admin", NOW)
        assert of.rules.limits.max_events_per_day == (1 if "}" in content else None)
        with pytest.raises(BreakerOpenError, match="cannot be read") as refused:
            await send(fleet, of, asked(1, 3), MACHINE_OWNER)
        assert told in str(refused.value)
        async with fleet.write() as conn:
            await operator_request.cancel(conn, event_id, NOW)
            await operator_choice.write(conn, LimitChoice(), 3, "u-admin", NOW)
            await of.follow_limits(conn)
        await send(fleet, of, asked(1, 3))


class TestTheSecondPerson:
    @pytest.mark.goal(33)
    async def test_a_large_event_is_sent_by_another_person_only(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        of = limited(tmp_path, approval_above_kw=5)
        await send(fleet, of, asked(5))
        with pytest.raises(ApprovalNeededError):
            await send(fleet, of, asked(6, start_h=3))
        approval_id = await propose(fleet, of, asked(6, start_h=3))
        with pytest.raises(ApprovalError, match="another person"):
            await approve(fleet, of, approval_id, ANNA.who)
        await approve(fleet, of, approval_id)
        assert await state_of(fleet, approval_id) == "sent"
        assert await events(fleet) == 2

    @pytest.mark.goal(33)
    async def test_it_depends_on_the_share_of_the_fleet_too(self, fleet: Database, tmp_path: Path) -> None:
        of = limited(tmp_path, approval_above_share="0.5")
        await send(fleet, of, asked(1, nodes=(1, 2)))
        with pytest.raises(ApprovalNeededError):
            await send(fleet, of, asked(1, start_h=3, nodes=(1, 2, 3)))

    async def test_the_owner_of_the_machine_needs_nobody(self, fleet: Database, tmp_path: Path) -> None:
        await send(fleet, limited(tmp_path, approval_above_kw=5), asked(6), MACHINE_OWNER)
        assert await events(fleet) == 1

    @pytest.mark.goal(33)
    async def test_any_change_voids_it_for_good(self, fleet: Database, tmp_path: Path) -> None:
        """A node of it is called by another event meanwhile."""
        of = limited(tmp_path, approval_above_kw=5)
        approval_id = await propose(fleet, of, asked(3, nodes=(1, 2)))
        event_id = await send(fleet, of, asked(1, nodes=(1,)))
        with pytest.raises(ApprovalError, match="not be the event that was proposed"):
            await approve(fleet, of, approval_id)
        assert await state_of(fleet, approval_id) == "void"
        async with fleet.write() as conn:
            await operator_request.cancel(conn, event_id, NOW)
        with pytest.raises(ApprovalError, match="decided already"):
            await approve(fleet, of, approval_id)
        assert await events(fleet) == 0

    @pytest.mark.goal(33)
    async def test_it_expires(self, fleet: Database, tmp_path: Path) -> None:
        of = limited(tmp_path, approval_above_kw=5, approval_expires_s=600)
        approval_id = await propose(fleet, of, asked(6))
        with pytest.raises(ApprovalError, match="expired"):
            await approve(fleet, of, approval_id, now=NOW + timedelta(seconds=600))

    @pytest.mark.goal(33)
    async def test_two_approvers_at_once_make_one_event(self, fleet: Database, tmp_path: Path) -> None:
        of = limited(tmp_path, approval_above_kw=5)
        approval_id = await propose(fleet, of, asked(6))
        came = await asyncio.gather(
            *(approve(fleet, of, approval_id, who) for who in ("u-bert", "u-cleo")), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in came) == ["ApprovalError", "str"]
        assert await events(fleet) == 1

    async def test_a_refused_one_cannot_be_approved(self, fleet: Database, tmp_path: Path) -> None:
        of = limited(tmp_path, approval_above_kw=5)
        approval_id = await propose(fleet, of, asked(6))
        async with fleet.write() as conn:
            await approval.refuse(conn, approval_id, BERT.who, NOW)
        with pytest.raises(ApprovalError, match="decided already"):
            await approve(fleet, of, approval_id)

    async def test_a_double_click_is_one_proposal_and_one_of_another_look_is_none(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        of = limited(tmp_path, approval_above_kw=5)
        first = await propose(fleet, of, asked(6, key="k"))
        assert await propose(fleet, of, asked(6, key="k")) == first
        with pytest.raises(PreviewChangedError):
            async with fleet.write() as conn:
                await approval.propose(conn, of, asked(6), NOW, sender=ANNA, previewed="0" * 64)

    @pytest.mark.goal(34)
    async def test_approvals_cannot_exceed_the_budget(self, fleet: Database, tmp_path: Path) -> None:
        of = limited(tmp_path, approval_above_kw=5, max_concurrent_kw=10)
        approval_id = await propose(fleet, of, asked(6))
        await send(fleet, of, asked(5, nodes=(2,)))
        with pytest.raises(BudgetExceededError):
            await approve(fleet, of, approval_id)
