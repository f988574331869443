"""What a signature covers is what is acted on: no wrapped message reaches a handler of the VTN (GOALS 3)."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import DistributeEvent, Message, decode
from tests.openadr.test_signature_attacks import ALICE, ODD, SIGNED, WRAPPED
from tests.vtn.desk import NOW, Desk, make_event
from tests.vtn.test_cut import contents
from tests.vtn.test_peer import restart_with
from vtn import outbox, registration
from vtn.registration import Ven

VEN = "ven-1"


@pytest.mark.goal(3, 4)
@pytest.mark.criterion("SIG-06", "SIG-09")
async def test_no_handler_sees_a_wrapped_or_oddly_signed_message(desk: Desk) -> None:
    """The attacks are polls of a VEN for which an event waits; a handler that saw one would offer it."""
    seen: list[str] = []

    async def review(message: Message, ven: Ven, _conn: AsyncConnection, _now: datetime) -> None:
        seen.append(f"{type(message).__name__} of {ven.ven_id}")

    who = ALICE.fingerprint
    async with desk.db.write() as conn:
        desk.ids[who] = await registration.enrol(conn, "alice", who, NOW, ven_id=VEN)
    await desk.settle_in(who, "alice")
    await desk.publish(make_event(), who)
    async with desk.db.write() as conn:
        await registration.change(conn, VEN, signature_required=True)
    await restart_with(desk, review)
    before = await contents(desk)
    for name, raw in {**WRAPPED, **ODD}.items():
        status, body = await desk.post("OadrPoll", raw, who)
        assert (status in (403, 406), body) == (True, b""), name
    assert seen == []
    assert await contents(desk) == before
    async with desk.db.read() as conn:
        assert await outbox.waiting(conn, VEN, outbox.EVENT) == {"e1": 0}
    status, body = await desk.post("OadrPoll", SIGNED, who)  # unchanged it is believed
    assert isinstance(decode(body), DistributeEvent)
    assert seen == [f"Poll of {VEN}"]
    assert (await desk.post("OadrPoll", SIGNED, who))[0] == 403  # once
