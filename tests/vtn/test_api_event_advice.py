"""The operator's API: what is said of an event when VENs are given it, and to many VENs at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openadr import ActivePeriod, CreateOpt, DistributeEvent, Duration, Target
from openadr.enums import OptType
from tests.vtn.desk import ALICE, NOW
from tests.vtn.office import CONTEXT, START, Clerk, opened, peak
from vtn import publication, registration
from vtn.opt_policy import OptPolicies, OptPolicy
from vtn.store import Database

BOTH = ["alice", "bob"]


async def stay_out(clerk: Clerk) -> None:
    """Alice is out for a part of the event."""
    ven_id = await clerk.desk.settle_in()
    period = ActivePeriod(dtstart=START + Duration(1200).to_timedelta(), duration=Duration(600))
    message = CreateOpt(
        opt_id="o1",
        opt_type=OptType.OPT_OUT,
        opt_reason="x-holiday",
        ven_id=ven_id,
        availability=(period,),
        created_date_time=NOW,
        request_id="r",
        target=Target(ven_id=(ven_id,)),
    )
    await clerk.desk.say(message)


def kinds(answer: Any) -> list[tuple[str, str]]:
    return [(warning["ven_id"], warning["kind"]) for warning in answer["warnings"]]


@pytest.mark.criterion("OPT-18")
async def test_the_operator_is_warned_of_a_ven_that_has_opted_out(clerk: Clerk) -> None:
    await stay_out(clerk)
    answer = await clerk.post("/vtn/events", peak())
    assert kinds(answer) == [(clerk.desk.ids[ALICE], "opted_out")]
    assert answer["warnings"][0]["detail"] == "'alice' is opted out at 2026-03-02T14:20:00+00:00"
    assert isinstance(await clerk.desk.poll(), DistributeEvent)
    later = await clerk.post("/vtn/events", peak(event_id="later", start="2026-03-02T16:00:00Z"))
    assert kinds(later) == []
    moved = await clerk.patch("/vtn/events/later", {"start": "2026-03-02T14:25:00Z", "overlap": "warn"})
    assert [kind for _, kind in kinds(moved)] == ["overlap", "opted_out"]


@pytest.mark.criterion("OPT-18")
async def test_where_the_programme_forbids_it_an_event_for_a_time_out_is_refused(
    database: Database, tmp_path: Path
) -> None:
    policies = OptPolicies(markets={CONTEXT: OptPolicy(events_in_opt_out=False)})
    async with opened(database, tmp_path, opt=policies) as clerk:
        await stay_out(clerk)
        problem = await clerk.refused(422, "POST", "/vtn/events", peak(vens=["bob", "alice"]))
        assert problem["clause"] == "OPT-18"
        (fault,) = problem["errors"]
        assert (fault["field"], fault["value"], fault["rule"]) == ("vens[1]", '"alice"', "OPT-18")
        assert (await clerk.get("/vtn/events"))["events"] == []
        elsewhere = peak(event_id="other", market_context="http://other.test")
        assert kinds(await clerk.post("/vtn/events", elsewhere)) == [(clerk.desk.ids[ALICE], "opted_out")]
        await clerk.post("/vtn/events", peak(start="2026-03-02T16:00:00Z"))
        moved = {"start": "2026-03-02T14:00:00Z", "overlap": "warn"}
        assert (await clerk.refused(422, "PATCH", "/vtn/events/peak", moved))["clause"] == "OPT-18"


@pytest.mark.criterion("POLL-07", who="vtn")
@pytest.mark.parametrize(("seconds", "warned"), [(720, False), (721, True)])
async def test_the_operator_is_warned_of_polls_that_are_rarer_than_a_fifth_of_an_event(
    database: Database, tmp_path: Path, seconds: int, *, warned: bool
) -> None:
    async with opened(database, tmp_path, poll_period_s=seconds) as clerk:
        await clerk.desk.settle_in()
        answer = await clerk.post("/vtn/events", peak())
        assert kinds(answer) == ([(clerk.desk.ids[ALICE], "poll_period")] if warned else [])


@pytest.mark.criterion("POLL-07", who="vtn")
async def test_the_mean_length_and_the_vens_own_rhythm_count(clerk: Clerk) -> None:
    ven_id = await clerk.desk.settle_in()
    async with clerk.desk.db.write() as conn:
        await registration.set_poll_period(conn, ven_id, 900, NOW)
    long = peak(event_id="long", start="2026-03-03T14:00:00Z", duration="PT2H")
    assert kinds(await clerk.post("/vtn/events", long)) == []
    endless = peak(event_id="endless", start="2026-03-09T14:00:00Z", duration="PT0S")
    assert kinds(await clerk.post("/vtn/events", endless)) == []
    assert kinds(await clerk.post("/vtn/events", peak(duration="PT29M"))) == [(ven_id, "poll_period")]
    assert kinds(await clerk.patch("/vtn/events/peak", {"duration": "PT30M"})) == []
    await clerk.post("/vtn/events/long/cancel", {})
    answer = await clerk.patch("/vtn/events/peak", {"duration": "PT45M"})
    assert answer["warnings"][0]["detail"] == (
        "'alice' is asked to poll every 900 s, which is more than 20 % of 2700 s,"
        " the mean length of its events"
    )


async def test_many_vens_are_given_an_event_all_or_none_of_them(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "PER_TURN", 4)
    names = [f"ven-{number}" for number in range(11)]
    for number, name in enumerate(names):
        await clerk.desk.enrol(f"{number:064x}", name)
    clerk.forbidden[clerk.desk.ids[f"{9:064x}"]] = "no calls today"
    problem = await clerk.refused(422, "POST", "/vtn/events", peak(vens=names))
    assert (problem["clause"], problem["errors"][0]["field"]) == ("daily_calls", "vens[9]")
    assert (await clerk.get("/vtn/events"))["events"] == []
    clerk.forbidden.clear()
    answer = await clerk.post("/vtn/events", peak(vens=names))
    assert {ven["ven_name"] for ven in answer["vens"]} == set(names)
    assert len(await clerk.desk.facts("signal")) == 11
    again = await clerk.post("/vtn/events", peak(vens=[*names, *BOTH]))
    assert (len(again["vens"]), len(await clerk.desk.facts("signal"))) == (13, 13)
    clash = await clerk.refused(409, "POST", "/vtn/events", peak(vens=names, priority=1))
    assert clash["errors"][0]["field"] == "event_id"
