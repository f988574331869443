"""Whatever is sent, proposed, approved, taken back or made by hand, in whatever order: the sum of what is
active is never over the budget.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from aggregator import approval, budget, enrolment
from aggregator import request as operator_request
from aggregator.clearance import MACHINE_OWNER, Sender
from aggregator.commitment import commitments
from aggregator.dispatch import ReductionRequest
from aggregator.errors import RequestRefusedError
from aggregator.limit_settings import LimitSettings
from aggregator.portfolio import Portfolio
from aggregator.profile import Period
from aggregator.request import Asked
from tests.aggregator.conftest import node_settings, write_settings
from vtn.errors import NotAdmitted
from vtn.store import Database

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
CONTEXT = "http://flexpact.example/peak"
BUDGET_W, RAMP_W, NODES, SLOTS = 10_000, 8000, 5, 8
PEOPLE = st.sampled_from(["u-anna", "u-bert", "u-cleo"])
KW, NODE, SLOT = st.integers(1, 7), st.integers(1, NODES), st.integers(0, SLOTS)


class Budget(RuleBasedStateMachine):
    """People who ask for things, over two hours."""

    template: Path
    fullest_w: ClassVar[int] = 0
    steepest_w: ClassVar[int] = 0
    """The most that was active at once, and the most that began at once, in any order that was tried."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.now = NOW
        self.events: list[str] = []
        self.proposals: list[str] = []

    @initialize()
    def begin(self) -> None:
        path = Path(self.folder.name) / "aggregator.sqlite"
        shutil.copy(self.template, path)
        nodes = [node_settings(n, max_calls_per_day=96, notice_min=0) for n in range(1, NODES + 1)]
        limits = LimitSettings.model_validate(
            {"max_concurrent_kw": 10, "max_ramp_kw_per_min": 8, "approval_above_kw": 4}
        )
        found = write_settings(path.parent, nodes).model_copy(update={"limits": limits})
        self.portfolio = Portfolio(found)

        async def enrol() -> Database:
            database = await Database.open(path)
            async with database.write() as conn:
                await enrolment.enrol(conn, found.nodes, NOW)
            return database

        self.database = self.runner.run(enrol())

    def teardown(self) -> None:
        self.runner.run(self.database.close())
        self.runner.close()
        self.folder.cleanup()

    def attempt(self, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        """What comes of a unit of work; None where it is refused."""

        async def run() -> Any:
            async with self.database.write() as conn:
                return await work(conn)

        try:
            return self.runner.run(run())
        except (RequestRefusedError, NotAdmitted):
            return None

    def asked(self, kw: int, nodes: set[int], slot: int, length: int) -> Asked:
        start = self.now + (slot + 1) * QUARTER
        watts = {f"node-{n}": kw * 1000 for n in nodes}
        return Asked(ReductionRequest(Period(start, start + length * QUARTER), sum(watts.values())), watts)

    @rule(kw=KW, nodes=st.sets(NODE, min_size=1, max_size=3), slot=SLOT, length=st.integers(1, 4), who=PEOPLE)
    def send(self, kw: int, nodes: set[int], slot: int, length: int, who: str) -> None:
        what = self.asked(kw, nodes, slot, length)
        sender = MACHINE_OWNER if who == "u-cleo" else Sender(who)
        answer = self.attempt(
            lambda conn: operator_request.send(conn, self.portfolio, CONTEXT, what, self.now, sender=sender)
        )
        if answer:
            self.events.append(answer["event_id"])

    @rule(kw=KW, nodes=st.sets(NODE, min_size=1, max_size=3), slot=SLOT, who=PEOPLE)
    def propose(self, kw: int, nodes: set[int], slot: int, who: str) -> None:
        what = self.asked(kw, nodes, slot, 3)
        made = self.attempt(
            lambda conn: approval.propose(conn, self.portfolio, what, self.now, sender=Sender(who))
        )
        if made:
            self.proposals.append(made.approval_id)

    @rule(which=st.integers(0, 5), who=PEOPLE)
    def approve(self, which: int, who: str) -> None:
        if self.proposals:
            name = self.proposals[which % len(self.proposals)]
            answer = self.attempt(
                lambda conn: approval.approve(conn, self.portfolio, CONTEXT, name, self.now, who=who)
            )
            if answer:
                self.events.append(answer["event_id"])

    @rule(which=st.integers(0, 5))
    def take_back(self, which: int) -> None:
        if self.events:
            name = self.events[which % len(self.events)]
            self.attempt(lambda conn: operator_request.cancel(conn, name, self.now))

    @rule(first=KW, second=KW, slot=SLOT)
    def two_at_once(self, first: int, second: int, slot: int) -> None:
        """Two units of one COMMIT."""

        async def both() -> list[Any]:
            async def one(kw: int, node: int) -> Any:
                what = self.asked(kw, {node}, slot, 2)
                async with self.database.write() as conn:
                    return await operator_request.send(
                        conn, self.portfolio, CONTEXT, what, self.now, sender=MACHINE_OWNER
                    )

            return list(await asyncio.gather(one(first, 1), one(second, 2), return_exceptions=True))

        came = self.runner.run(both())
        self.events += [answer["event_id"] for answer in came if isinstance(answer, dict)]

    @rule(quarters=st.integers(1, 3))
    def pass_time(self, quarters: int) -> None:
        self.now += quarters * QUARTER

    @rule()
    def close_breaker(self) -> None:
        self.attempt(lambda conn: budget.close_breaker(conn, "u-admin", self.now))

    @invariant()
    def the_budget_holds(self) -> None:
        if not hasattr(self, "database"):
            return
        found = self.attempt(lambda conn: commitments(conn, NOW))
        starts = {one.period.start for one in found}
        for at in starts:
            active_w = sum(one.power_w for one in found if one.period.contains(at))
            begins_w = sum(one.power_w for one in found if one.period.start == at)
            Budget.fullest_w = max(Budget.fullest_w, active_w)
            Budget.steepest_w = max(Budget.steepest_w, begins_w)
            assert active_w <= BUDGET_W
            assert begins_w <= RAMP_W


def _run(template: Path, examples: int, steps: int) -> tuple[int, int]:
    """The most that was ever active at once, and that ever began at once, in watts."""
    Budget.template, Budget.fullest_w, Budget.steepest_w = template, 0, 0
    run_state_machine_as_test(
        Budget,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return Budget.fullest_w, Budget.steepest_w


@pytest.mark.goal(34)
def test_the_sum_of_what_is_active_is_never_over_the_budget(database_template: Path) -> None:
    fullest_w, steepest_w = _run(database_template, 6, 25)
    assert 0 < fullest_w <= BUDGET_W
    assert 0 < steepest_w <= RAMP_W


@pytest.mark.goal(34)
@pytest.mark.long
def test_the_sum_is_never_over_the_budget_in_many_more_orders(database_template: Path) -> None:
    fullest_w, steepest_w = _run(database_template, 150, 50)
    assert 0 < fullest_w <= BUDGET_W
    assert 0 < steepest_w <= RAMP_W
