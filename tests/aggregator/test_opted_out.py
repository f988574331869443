"""Nodes that have said by an opt schedule that they stay out: passed over, and not called where forbidden."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aggregator import enrolment
from aggregator.agreement import Call, Clause
from aggregator.dispatch import ReductionRequest
from aggregator.portfolio import Portfolio
from aggregator.profile import Period
from aggregator.sent_event import event_of
from aggregator.store import StoredCall
from openadr import ActivePeriod, CreateOpt, Duration, Target
from openadr.enums import OptType
from tests.aggregator.conftest import node_settings, write_settings
from vtn import opt, registration
from vtn.errors import NotAdmitted
from vtn.opt_policy import OptPolicies
from vtn.store import Database

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
PERIOD = Period(NOW + timedelta(hours=5), NOW + timedelta(hours=6))
NAMES = ["node-1", "node-2"]


async def opened(db: Database, folder: Path, *, events_in_opt_out: bool = True) -> Portfolio:
    """Two nodes, of which the first stays out for ten minutes of the period, for one home as well."""
    settings = write_settings(folder, [node_settings(number) for number in (1, 2)])
    policy = {"default": {"events_in_opt_out": events_in_opt_out}}
    vtn = settings.vtn.model_copy(update={"opt": OptPolicies.model_validate(policy)})
    settings = settings.model_copy(update={"vtn": vtn})
    async with db.write() as conn:
        await enrolment.enrol(conn, settings.nodes, NOW)
        first, second = await registration.vens(conn)
        await opt.create_opt(conn, out(first.ven_id), first, NOW, settings.vtn.opt)
        one_home = out(second.ven_id, resource_id=("home-01",))
        await opt.create_opt(conn, one_home, second, NOW, settings.vtn.opt)
    return Portfolio(settings)


def out(ven_id: str, **target: tuple[str, ...]) -> CreateOpt:
    period = ActivePeriod(dtstart=PERIOD.start + timedelta(minutes=20), duration=Duration(600))
    return CreateOpt(
        opt_id="o1",
        opt_type=OptType.OPT_OUT,
        opt_reason="x-holiday",
        ven_id=ven_id,
        availability=(period,),
        created_date_time=NOW,
        request_id="r",
        target=Target(ven_id=(ven_id,), **target),  # type: ignore[arg-type] - fields by name
    )


async def test_a_node_that_is_out_for_a_moment_of_the_period_is_passed_over(
    database: Database, tmp_path: Path
) -> None:
    nodes = await opened(database, tmp_path)
    async with database.read() as conn:
        offers = await nodes.offers(conn, ReductionRequest(PERIOD, 1000), NOW)
        later = Period(PERIOD.end, PERIOD.end + timedelta(hours=1))
        free = await nodes.offers(conn, ReductionRequest(later, 1000), NOW)
        named = await nodes.hits(conn, dict.fromkeys(NAMES, Call(PERIOD, 1000)), NOW)
    assert {offer.ven_name: [hit.clause for hit in offer.hits] for offer in offers} == {
        "node-1": [Clause.OPT_OUT],
        "node-2": [],
    }
    assert offers[0].hits[0].text == "has opted out from 2026-01-20T17:20:00Z on"
    assert all(not offer.hits for offer in free)
    assert named == {}  # an operator may name it all the same


@pytest.mark.parametrize("allowed", [True, False], ids=["allowed", "forbidden"])
async def test_a_node_that_is_out_is_called_only_where_the_programme_allows_it(
    database: Database, tmp_path: Path, *, allowed: bool
) -> None:
    nodes = await opened(database, tmp_path, events_in_opt_out=allowed)
    async with database.read() as conn:
        named = await nodes.hits(conn, dict.fromkeys(NAMES, Call(PERIOD, 1000)), NOW)
        assert list(named) == ([] if allowed else ["node-1"])
        for node in await nodes.nodes(conn):
            call = StoredCall("e1", node.ven_id, node.agreement_id, PERIOD, 1000, False, NOW)
            event = event_of(call, "http://flexpact.example/peak")
            if allowed or node.ven_name == "node-2":
                await nodes.admit(conn, event, node.ven_id, NOW)
            else:
                with pytest.raises(NotAdmitted, match="opt_out: has opted out from 2026-01-20T17:20:00Z"):
                    await nodes.admit(conn, event, node.ven_id, NOW)
