"""Events from publication to the VEN's answer, over the wire."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from openadr import DistributeEvent, Duration, RequestEvent, Response, encode
from openadr.enums import EventStatus, OptType, ResponseRequired
from tests.vtn.desk import ALICE, BOB, NOW, Desk, make_event, with_period
from vtn import event
from vtn.errors import DuplicateEvent, NotAdmitted, UnknownObject


async def listed(desk: Desk) -> list[str]:
    message = await desk.say(RequestEvent(request_id="q", ven_id=desk.ids[ALICE]))
    assert isinstance(message, DistributeEvent)
    return [told.event_id for told in message.events]


async def test_event_is_offered_at_each_poll_until_it_is_answered(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    for _ in range(3):
        told = await desk.poll()
        assert isinstance(told, DistributeEvent)
        assert [item.event_id for item in told.events] == ["e1"]
    await desk.answer(told.events[0])
    assert isinstance(await desk.poll(), Response)
    async with desk.db.read() as conn:
        (state,) = await event.event_states(conn, "e1")
    assert (state.opt, state.response_code, state.responded_at, state.delivered_at) == (
        "optIn",
        "200",
        NOW,
        NOW,
    )


async def test_pending_event_is_offered_after_a_restart(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    await desk.poll()
    await desk.restart()
    assert isinstance(await desk.poll(), DistributeEvent)
