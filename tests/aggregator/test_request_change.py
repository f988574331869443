"""An event that is changed after it was sent: its calls, its budget, its two people, its keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from aggregator import approval, budget, enrolment, event_book, sent_event, store
from aggregator import request as operator_request
from aggregator.dispatch import ReductionRequest
from aggregator.errors import (
    ApprovalError,
    ApprovalNeededError,
    BreakerOpenError,
    BudgetExceededError,
    KeyReusedError,
    PreviewChangedError,
    RequestRefusedError,
    StaleEventError,
)
from aggregator.portfolio import Portfolio
from aggregator.preview import preview
from aggregator.profile import Period
from aggregator.request import Asked, Change
from tests.aggregator.conftest import node_settings, write_settings
from tests.aggregator.test_clearance import (
    ANNA,
    BERT,
    CONTEXT,
    HOUR,
    NOW,
    approve,
    asked,
    enrol,
    limited,
    propose,
    send,
    state_of,
)
from vtn import event as vtn_event
from vtn import registration
from vtn.store import Database


@pytest.fixture
async def fleet(database: Database, tmp_path: Path) -> AsyncIterator[Database]:
    """Four nodes that may be called at once and as often as one likes."""
    await enrol(database, tmp_path)
    yield database


@dataclass(frozen=True)
class Part:
    """One node's part; `number` is that of the version of the event."""

    start_h: float
    kw: float
    number: int
    out: bool = False


async def parts(database: Database, event_id: str) -> dict[str, Part]:
    """By the node's name."""
    async with database.read() as conn:
        names = {ven.ven_id: ven.ven_name for ven in await registration.vens(conn)}
        found = await store.calls(conn, event_id=event_id)
    return {
        names[call.ven_id]: Part(
            (call.period.start - NOW) / HOUR,
            call.power_w / 1000,
            call.modification_number,
            call.cancelled_at is not None,
        )
        for call in found
    }


async def version(database: Database, event_id: str) -> int:
    async with database.read() as conn:
        return (await sent_event.find(conn, event_id)).version


async def to(database: Database, event_id: str, what: Asked, reason: str | None = None) -> Asked:
    """The change of the event, as it stands now, into this."""
    return replace(what, change=Change(event_id, await version(database, event_id), reason))


async def sent(database: Database, of: Portfolio, kw: float, nodes: Sequence[int], start_h: float = 1) -> str:
    return await send(database, of, asked(kw, start_h, nodes))


def shorter(what: Asked) -> Asked:
    """By half."""
    period = what.reduction.period
    half = Period(period.start, period.start + (period.end - period.start) / 2)
    return replace(what, reduction=ReductionRequest(half, what.reduction.power_w))


class TestWhatNodesAreSent:
    async def test_each_node_has_a_new_version_and_its_call_follows_it(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        of = limited(tmp_path)
        event_id = await sent(fleet, of, 5, (1, 2))
        changed = await to(fleet, event_id, asked(7, 2, (1, 2)), "more wind than forecast")
        assert await send(fleet, of, changed) == event_id
        assert await parts(fleet, event_id) == {"node-1": Part(2, 7, 1), "node-2": Part(2, 7, 1)}
        async with fleet.read() as conn:
            (first, *_) = await vtn_event.event_states(conn, event_id)
            event = await vtn_event.event_of(conn, first.ven_id, event_id)
            entry = await event_book.find(conn, event_id)
        assert event is not None and entry is not None
        assert (event.dtstart, event.modification_number) == (NOW + 2 * HOUR, 1)
        assert event.descriptor.modification_reason == "more wind than forecast"
        assert (entry.start, entry.power_w, entry.nodes) == (NOW + 2 * HOUR, 14_000, 2)

    async def test_what_a_node_has_already_is_not_sent_again_and_who_is_left_out_is_taken_out(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        of = limited(tmp_path)
        event_id = await sent(fleet, of, 5, (1, 2, 3))
        kept = asked(5, 1, (1,))
        watts = {"node-1": 5000, "node-2": 6000, "node-4": 3000}
        await send(fleet, of, await to(fleet, event_id, replace(kept, nodes=watts)))
        assert await parts(fleet, event_id) == {
            "node-1": Part(1, 5, 0),
            "node-2": Part(1, 6, 1),
            "node-3": Part(1, 5, 0, out=True),
            "node-4": Part(1, 3, 0),
        }
        async with fleet.read() as conn:
            entry = await event_book.find(conn, event_id)
            named = await event_book.parts(conn, event_id, 10)
        assert entry is not None and (entry.power_w, entry.nodes) == (14_000, 3)
        assert {part.ven_name for part in named} == {"node-1", "node-2", "node-4"}

    async def test_who_was_taken_out_stays_out_and_the_reason_is_said(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        of = limited(tmp_path)
        event_id = await sent(fleet, of, 5, (1, 2))
        await send(fleet, of, await to(fleet, event_id, asked(5, 1, (1,))))
        again = await to(fleet, event_id, asked(5, 1, (1, 2)))
        async with fleet.read() as conn:
            dispatch = await operator_request.plan(conn, of, again, NOW)
        assert [one.ven_name for one in dispatch.assignments] == ["node-1"]
        assert "taken out of this event" in dispatch.passed[0].hits[0].text

    async def test_a_clause_stands_against_what_is_new_and_not_against_what_was_promised(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        """4 kW are agreed from now on: that keeps node 2 out; node 1, whose part stays, is not judged."""
        of = limited(tmp_path)
        event_id = await sent(fleet, of, 5, (1, 2))
        terms = {"max_calls_per_day": 96, "notice_min": 0, "capacity_kw": 4}
        async with fleet.write() as conn:
            nodes = [node_settings(n, **terms) for n in (1, 2)]
            await enrolment.enrol(conn, write_settings(tmp_path, nodes).nodes, NOW)
        more = replace(asked(5, 1, (1, 2)), nodes={"node-1": 5000, "node-2": 6000})
        async with fleet.read() as conn:
            dispatch = await operator_request.plan(conn, of, await to(fleet, event_id, more), NOW)
        assert [(one.ven_name, one.power_w) for one in dispatch.assignments] == [("node-1", 5000)]
        assert [(one.ven_name, str(one.hits[0].clause)) for one in dispatch.passed] == [
            ("node-2", "capacity")
        ]

    async def test_taking_it_back_ends_the_parts_that_are_left(self, fleet: Database, tmp_path: Path) -> None:
        of = limited(tmp_path)
        event_id = await sent(fleet, of, 5, (1, 2))
        await send(fleet, of, await to(fleet, event_id, asked(5, 3, (1,))))
        later = NOW + timedelta(minutes=5)
        async with fleet.write() as conn:
            await operator_request.cancel(conn, event_id, later)
        async with fleet.read() as conn:
            entry = await event_book.find(conn, event_id)
            found = {call.cancelled_at for call in await store.calls(conn, event_id=event_id)}
        assert entry is not None and (entry.nodes, entry.cancelled_at) == (1, later)
        assert found == {NOW, later}


class TestWhatIsRefused:
    @pytest.mark.parametrize("at_h", [1, 1.5, 3])
    async def test_what_has_begun_is_not_changed(self, fleet: Database, tmp_path: Path, at_h: float) -> None:
        of = limited(tmp_path)
        event_id = await sent(fleet, of, 5, (1,))
        changed = await to(fleet, event_id, asked(5, 4, (1,)))
        with pytest.raises(RequestRefusedError, match="it can be taken back, not changed"):
            await send_at(fleet, of, changed, NOW + at_h * HOUR)

    async def test_what_was_taken_back_is_not_changed(self, fleet: Database, tmp_path: Path) -> None:
        of = limited(tmp_path)
        event_id = await sent(fleet, of, 5, (1,))
        changed = await to(fleet, event_id, asked(5, 4, (1,)))
        async with fleet.write() as conn:
            await operator_request.cancel(conn, event_id, NOW)
        with pytest.raises(RequestRefusedError, match="was taken back"):
            await send(fleet, of, changed)

    async def test_of_two_changes_of_one_version_the_second_is_refused(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        """Also where the first one only took a node in, which is a new event for that node."""
        of = limited(tmp_path)
        event_id = await sent(fleet, of, 5, (1,))
        first = await to(fleet, event_id, asked(5, 1, (1, 2)))
        second = await to(fleet, event_id, asked(9, 1, (1,)))
        await send(fleet, of, first)
        with pytest.raises(StaleEventError):
            await send(fleet, of, second)

    async def test_a_test_stays_a_test(self, fleet: Database, tmp_path: Path) -> None:
        of = limited(tmp_path)
        event_id = await send(fleet, of, replace(asked(5), test_event=True))
        with pytest.raises(RequestRefusedError, match="a test stays a test"):
            await send(fleet, of, await to(fleet, event_id, asked(5, 2)))

    async def test_nothing_but_what_was_previewed_is_sent(self, fleet: Database, tmp_path: Path) -> None:
        of = limited(tmp_path)
        event_id = await sent(fleet, of, 5, (1,))
        changed = await to(fleet, event_id, asked(6, 1, (1,)))
        with pytest.raises(PreviewChangedError):
            async with fleet.write() as conn:
                await operator_request.send(conn, of, CONTEXT, changed, NOW, sender=ANNA, previewed="0" * 64)
        assert await parts(fleet, event_id) == {"node-1": Part(1, 5, 0)}

    async def test_a_key_is_one_change_and_no_other_request(self, fleet: Database, tmp_path: Path) -> None:
        of = limited(tmp_path)
        event_id = await sent(fleet, of, 5, (1,))
        changed = replace(await to(fleet, event_id, asked(6, 1, (1,))), key="k")
        assert await send(fleet, of, changed) == await send(fleet, of, changed) == event_id
        assert await parts(fleet, event_id) == {"node-1": Part(1, 6, 1)}
        with pytest.raises(KeyReusedError):
            await send(fleet, of, asked(6, 1, (1,), key="k"))


class TestWhoDecides:
    async def test_the_budget_counts_the_event_as_it_would_be_and_not_twice(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        of = limited(tmp_path, max_concurrent_kw=10, max_events_per_day=1)
        event_id = await sent(fleet, of, 4, (1, 2))
        await send(fleet, of, await to(fleet, event_id, asked(10, 1, (3,))))
        with pytest.raises(BudgetExceededError, match="11 kW at once, the budget is 10 kW"):
            await send(fleet, of, await to(fleet, event_id, asked(11, 1, (3,))))

    @pytest.mark.parametrize(
        ("limits", "later_h"),
        [({"max_concurrent_kw": 6}, 1), ({"max_ramp_kw_per_min": 6}, 1), ({"max_events_per_day": 1}, 25)],
        ids=["power", "ramp", "events"],
    )
    async def test_an_event_above_limits_that_were_made_stricter_can_be_made_less_and_not_more(
        self, fleet: Database, tmp_path: Path, limits: dict[str, int], later_h: int
    ) -> None:
        event_id = await sent(fleet, limited(tmp_path), 5, (1, 2))
        for start_h in (1, 25):
            await sent(fleet, limited(tmp_path), 1, (3,), start_h)
        of = limited(tmp_path, **limits)
        await send(fleet, of, await to(fleet, event_id, asked(4, 1, (1, 2))))
        await send(fleet, of, await to(fleet, event_id, shorter(asked(4, 1, (1, 2)))))
        async with fleet.read() as conn:
            assert await budget.breaker(conn) is None
        with pytest.raises(BudgetExceededError):
            await send(fleet, of, await to(fleet, event_id, asked(9, later_h, (1, 2))))

    async def test_an_event_above_the_budget_does_not_last_longer(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        event_id = await send(fleet, limited(tmp_path), shorter(asked(6, 1, (1, 2))))
        of = limited(tmp_path, max_concurrent_kw=10)
        with pytest.raises(BudgetExceededError, match="11 kW at once, the budget is 10 kW"):
            await send(fleet, of, await to(fleet, event_id, asked(5.5, 1, (1, 2))))

    async def test_an_open_breaker_lets_an_event_be_made_less_and_nothing_else(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        of = limited(tmp_path, max_concurrent_kw=20)
        event_id = await sent(fleet, of, 5, (1, 2))
        async with fleet.write() as conn:
            await budget.open_breaker(conn, "by hand", "u-admin", NOW)
        less = await to(fleet, event_id, shorter(asked(4, 1, (1, 2))))
        async with fleet.read() as conn:
            seen = await preview(conn, of, less, NOW, heard={}, poll_period_s=10)
        assert seen.breaker is None
        await send(fleet, of, less)
        await send(fleet, of, await to(fleet, event_id, shorter(asked(3, 1, (1,)))))
        for more in (asked(3, 1, (1,)), shorter(asked(2, 1, (3,))), shorter(asked(3, 2, (1,)))):
            with pytest.raises(BreakerOpenError):
                await send(fleet, of, await to(fleet, event_id, more))
        with pytest.raises(BreakerOpenError):
            await send(fleet, of, asked(1, 5, (4,)))
        assert (await parts(fleet, event_id))["node-1"] == Part(1, 3, 2)

    async def test_a_large_change_is_for_two_people(self, fleet: Database, tmp_path: Path) -> None:
        of = limited(tmp_path, approval_above_kw=10)
        event_id = await sent(fleet, of, 5, (1, 2))
        changed = await to(fleet, event_id, asked(6, 1, (1, 2)))
        with pytest.raises(ApprovalNeededError):
            await send(fleet, of, changed)
        proposed = await propose(fleet, of, changed)
        assert await approve(fleet, of, proposed) == event_id
        assert (await parts(fleet, event_id))["node-1"] == Part(1, 6, 1)

    async def test_what_two_have_decided_about_one_alone_does_not_change(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        of = limited(tmp_path, approval_above_kw=10)
        proposed = await propose(fleet, of, asked(6, 1, (1, 2)))
        event_id = await approve(fleet, of, proposed)
        with pytest.raises(ApprovalNeededError):
            await send(fleet, of, await to(fleet, event_id, asked(1, 1, (1,))))

    async def test_a_change_that_was_proposed_is_void_once_the_event_is_another(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        of = limited(tmp_path, approval_above_kw=10)
        event_id = await sent(fleet, of, 5, (1, 2))
        proposed = await propose(fleet, of, await to(fleet, event_id, asked(6, 1, (1, 2))))
        await send(fleet, of, await to(fleet, event_id, asked(4, 1, (1, 2))))
        with pytest.raises(ApprovalError, match="has changed since this was proposed"):
            await approve(fleet, of, proposed)
        assert await state_of(fleet, proposed) == "void"

    async def test_a_proposal_names_the_change_also_after_it_was_kept(
        self, fleet: Database, tmp_path: Path
    ) -> None:
        of = limited(tmp_path)
        event_id = await sent(fleet, of, 5, (1,))
        what = await to(fleet, event_id, asked(6, 1, (1,)), "why not")
        proposed = await propose(fleet, of, what, BERT)
        async with fleet.read() as conn:
            assert (await approval.find(conn, proposed)).asked.change == what.change


async def send_at(database: Database, of: Portfolio, what: Asked, now: datetime) -> None:
    async with database.write() as conn:
        await operator_request.send(conn, of, CONTEXT, what, now, sender=ANNA)


def test_a_request_is_read_as_it_was_written() -> None:
    what = replace(asked(5), change=Change("event-1", 3, "a reason"))
    assert Asked.read(what.text()) == what
    assert Asked.read(asked(5).text()).change is None
