"""The lenient switch of one VEN: off by default, on for that VEN alone, every deviation counted."""

from __future__ import annotations

import pytest

from openadr import CreatedEvent, DistributeEvent, EiResponse, EventResponse, Poll, Response, decode, encode
from openadr.enums import OptType
from tests.openadr.test_lenient import bare
from tests.vtn.desk import ALICE, BOB, Desk, make_event
from vtn import event, finding, registration
from vtn.errors import UnknownObject
from vtn.finding import Found

QUALIFIED = b'ei:schemaVersion="2.0b"'


async def forgive(desk: Desk, who: str = ALICE, *, lenient: bool = True) -> None:
    async with desk.db.write() as conn:
        await registration.set_lenient(conn, desk.ids[who], lenient=lenient)


async def found(desk: Desk, who: str = ALICE) -> list[Found]:
    """What is kept after the server has written it down."""
    await desk.restart()
    async with desk.db.read() as conn:
        return await finding.findings_of(conn, desk.ids[who])


def deviating(ven_id: str) -> list[bytes]:
    wire = encode(Poll(ven_id=ven_id))
    return [
        wire.replace(QUALIFIED, b'schemaVersion="2.0b"'),
        wire.replace(QUALIFIED, b'schemaVersion="1.0"'),
        bare(wire),
    ]


@pytest.mark.criterion("GEN-02", "GEN-03", "GEN-04")
async def test_known_deviations_are_refused_by_default_and_taken_from_a_ven_set_lenient(desk: Desk) -> None:
    for who, name in ((ALICE, "alice"), (BOB, "bob")):
        await desk.settle_in(who, name)
    await forgive(desk)
    for who, expected in ((ALICE, 200), (BOB, 406)):
        for body in deviating(desk.ids[who]):
            status, answer = await desk.post("OadrPoll", body, who)
            assert status == expected
            if status == 200:
                reply = decode(answer, bare=False)  # the answer is as strict as ever
                assert isinstance(reply, Response)
                assert reply.response.code == "200"
    await forgive(desk, lenient=False)
    for body in deviating(desk.ids[ALICE]):
        assert (await desk.post("OadrPoll", body))[0] == 406


async def test_what_was_forgiven_is_counted_for_that_ven(desk: Desk) -> None:
    await desk.settle_in()
    await desk.settle_in(BOB, "bob")
    await forgive(desk)
    first = desk.now
    for _ in range(2):
        for body in deviating(desk.ids[ALICE]):
            await desk.post("OadrPoll", body)
    kept = await found(desk)
    assert [(each.rule, each.message, each.count) for each in kept] == [
        ("GEN-03", "Poll", 2),
        ("GEN-04", "Poll", 4),
    ]
    assert {(each.first_at, each.last_at) for each in kept} == {(first, first)}
    await desk.post("OadrPoll", bare(encode(Poll(ven_id=desk.ids[ALICE]))))
    assert [each.count for each in await found(desk)] == [3, 4]
    assert await found(desk, BOB) == []


@pytest.mark.criterion("ERR-06", who="vtn")
@pytest.mark.parametrize("lenient", [False, True], ids=["strict", "lenient"])
async def test_an_answer_with_000_counts_as_success_for_a_lenient_ven_only(
    desk: Desk, *, lenient: bool
) -> None:
    ven_id = await desk.settle_in()
    await forgive(desk, lenient=lenient)
    await desk.publish(make_event())
    told = await desk.poll()
    assert isinstance(told, DistributeEvent)
    answer = EventResponse(
        code="000", request_id="d1", event_id="e1", modification_number=0, opt_type=OptType.OPT_IN
    )
    message = CreatedEvent(response=EiResponse("000"), event_responses=(answer,), ven_id=ven_id)
    assert isinstance(await desk.say(message), Response)
    async with desk.db.read() as conn:
        (state,) = await event.event_states(conn, "e1")
    assert (state.opt, state.response_code) == (("optIn", "200") if lenient else (None, None))
    assert [each.rule for each in await found(desk)] == (["ERR-06"] if lenient else [])


async def test_a_stranger_is_never_forgiven(desk: Desk) -> None:
    for body in deviating("anyone"):
        assert (await desk.post("OadrPoll", body))[0] == 406


async def test_leniency_of_a_ven_that_is_not_there_is_refused(desk: Desk) -> None:
    with pytest.raises(UnknownObject, match="nobody"):
        async with desk.db.write() as conn:
            await registration.set_lenient(conn, "nobody", lenient=True)
