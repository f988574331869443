"""What a VEN and the server broke towards each other, as the operator sees it."""

from __future__ import annotations

from openadr import CreatePartyRegistration, Poll
from tests.vtn.desk import ALICE, Desk, make_event
from tests.vtn.office import Clerk


async def live(desk: Desk) -> None:
    """A VEN registers, polls instead of what it should do first, and leaves an event unanswered."""
    await desk.say(CreatePartyRegistration(request_id="r", ven_name="alice", http_pull_model=True))
    await desk.publish(make_event())
    for _ in range(5):
        await desk.say(Poll(ven_id=desk.ids[ALICE]))


def rows(found: dict[str, list[dict[str, object]]]) -> set[tuple[object, object]]:
    return {(row["party"], row["rule"]) for row in found["judged"]}


async def test_a_traced_conversation_is_judged_by_the_rules_of_the_checker(clerk: Clerk) -> None:
    await clerk.post("/vtn/vens/alice/trace", {"on": True})
    await live(clerk.desk)
    found = await clerk.get("/vtn/vens/alice/findings")
    assert found["judged_exchanges"] == 6
    assert ("VEN", "VEX-01") in rows(found)
    assert {party for party, _ in rows(found)} == {"VEN"}


async def test_of_a_conversation_that_was_not_traced_nothing_is_said(clerk: Clerk) -> None:
    await live(clerk.desk)
    found = await clerk.get("/vtn/vens/alice/findings")
    assert (found["judged_exchanges"], found["judged"]) == (0, [])
    assert "traced_since" not in found


async def test_only_the_newest_exchanges_are_judged_where_asked(clerk: Clerk) -> None:
    await clerk.post("/vtn/vens/alice/trace", {"on": True})
    await live(clerk.desk)
    found = await clerk.get("/vtn/vens/alice/findings?last=1")
    assert found["judged_exchanges"] == 1


async def test_an_unknown_ven_has_no_findings(clerk: Clerk) -> None:
    problem = await clerk.refused(404, "GET", "/vtn/vens/nobody/findings")
    assert "'nobody'" in problem["detail"]
