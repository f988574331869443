"""Events that were changed after they were sent: answered and settled is the newest version."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from aggregator import request as operator_request
from aggregator import sent_event, statement, store
from aggregator.clearance import MACHINE_OWNER
from aggregator.dispatch import ReductionRequest
from aggregator.profile import Period
from aggregator.request import Asked, Change
from tests.aggregator.conftest import START, Platform
from vtn.opt import CREATE_OPT, OptEntry

AFTERNOON = START + timedelta(hours=14, minutes=7)


async def changed(platform: Platform) -> str:
    """An event of two nodes from 17:00 to 19:00, of which the first is left with 2 kW until 18:00."""
    answer = await platform.ask(5)
    await platform.clock.move(AFTERNOON)
    aggregator, event_id = platform.aggregator, str(answer["event_id"])
    assert aggregator is not None and aggregator._db is not None
    period = Period(START + timedelta(hours=17), START + timedelta(hours=18))
    asked = Asked(ReductionRequest(period, 2000), {"node-1": 2000})
    async with aggregator._db.write() as conn:
        seen = (await sent_event.find(conn, event_id)).version
        asked = replace(asked, change=Change(event_id, seen))
        context = aggregator._settings.programme.market_context
        portfolio = aggregator._portfolio
        await operator_request.send(conn, portfolio, context, asked, AFTERNOON, sender=MACHINE_OWNER)
    return event_id


def test_a_word_about_the_version_before_does_not_show_that_a_node_has_the_newest() -> None:
    period = Period(START + timedelta(hours=17), START + timedelta(hours=18))
    call = store.StoredCall("e", "v", 1, period, 2000, False, AFTERNOON, modification_number=1)
    said = [OptEntry("v", AFTERNOON, CREATE_OPT, "optIn", "e", number, "o", None) for number in (0, 1)]
    assert [statement._shows_it(entry, call, [1]) for entry in said] == [False, True]


@pytest.mark.parametrize(("takes_it", "outcome"), [(True, "measured"), (False, "not_delivered")])
async def test_a_statement_is_of_the_newest_version_and_of_who_took_that(
    platform: Platform, takes_it: bool, outcome: str
) -> None:
    event_id = await changed(platform)
    if takes_it:
        await platform.boxes["node-1"].poll_for_event()
    await platform.clock.move(START + timedelta(hours=14))  # the meters' grid
    quiet = frozenset() if takes_it else frozenset({"node-1"})
    await platform.jump(START + timedelta(hours=18), silent=quiet)
    await platform.jump(START + timedelta(hours=30))
    (made,) = await platform.settled(1)
    assert (made["ven_name"], made["outcome"]) == ("node-1", outcome)
    assert made["requested_wh"] == 2000
    aggregator = platform.aggregator
    assert aggregator is not None and aggregator._db is not None
    async with aggregator._db.read() as conn:
        (call,) = [one for one in await store.calls(conn, event_id=event_id) if one.cancelled_at is None]
        key = await store.answer_key(conn, call, [call.modification_number])
    assert call.modification_number == 1
    assert key is None if not takes_it else key is not None and f"/{event_id}/1/" in key
