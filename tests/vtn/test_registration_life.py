"""Registration through its life: begun afresh or again, ended by whom, what the operator decides."""

from __future__ import annotations

import pytest

from openadr import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    DistributeEvent,
    EiResponse,
    Message,
    Poll,
    QueryRegistration,
    RegisterReport,
    RequestReregistration,
    Response,
)
from tests.openadr.samples import MESSAGES
from tests.vtn.desk import ALICE, BOB, NOW, STRANGER, Desk, make_event, metadata
from tests.vtn.test_opt import schedule, valid_schedules
from tests.vtn.test_registration import create, party, ven
from vtn import event, registration, report
from vtn.errors import NotAdmitted, UnknownObject
from vtn.exchange import ROUTES


def cancel(
    registration_id: str | None, ven_id: str | None, request_id: str = "x1"
) -> CancelPartyRegistration:
    return CancelPartyRegistration(request_id=request_id, registration_id=str(registration_id), ven_id=ven_id)


async def code_of(desk: Desk, message: Message, who: str = ALICE) -> str:
    reply = await desk.say(message, who)
    response = getattr(reply, "response", None)
    assert isinstance(response, EiResponse)
    return response.code


# fresh and again


async def test_reg_15_events_opts_and_reports_survive_a_renewal(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    await desk.say(metadata(ven_id))
    await desk.publish(make_event())
    told = await desk.poll()
    assert isinstance(told, DistributeEvent)
    await desk.answer(told.events[0])
    await desk.say(schedule(ven_id))
    registered = await ven(desk)
    reply = await party(desk, create(registration_id=registered.registration_id, ven_id=ven_id))
    assert reply.response.code == "200"
    assert isinstance(await desk.poll(), Response)  # no metadata, no events are forced
    async with desk.db.read() as conn:
        (state,) = await event.event_states(conn, "e1")
        assert len(await report.requests(conn, ven_id)) == 3
    assert state.opt == "optIn"
    assert await valid_schedules(desk) == ["o1"]


@pytest.mark.criterion("REG-11", "REG-12", who="vtn")
async def test_a_fresh_registration_brings_the_own_metadata_and_a_renewal_does_not(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    registered = await ven(desk)
    await party(desk, create(registration_id=registered.registration_id, ven_id=ven_id))
    assert isinstance(await desk.poll(), Response)
    await party(desk, create())
    assert isinstance(await desk.poll(), RegisterReport)


async def test_reg_17_a_fresh_registration_is_no_error_however_often(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    first = await ven(desk)
    for number in range(3):
        reply = await party(desk, create(request_id=f"c{number}"))
        assert (reply.response.code, reply.ven_id) == ("200", ven_id)
        assert reply.registration_id == first.registration_id
        await desk.say(metadata(ven_id, f"m{number}"))
        async with desk.db.read() as conn:
            assert len(await report.requests(conn, ven_id)) == 3


@pytest.mark.criterion("REG-17")
async def test_a_fresh_registration_ends_a_request_to_renew_and_keeps_the_operators_cancellation(
    desk: Desk,
) -> None:
    ven_id = await desk.settle_in()
    async with desk.db.write() as conn:
        await registration.ask_to_register_again(conn, ven_id, desk.now)
        await registration.cancel(conn, ven_id, desk.now)
    await party(desk, create())
    offered = {type(await desk.poll()) for _ in range(3)}
    assert offered == {CancelPartyRegistration, RegisterReport}


@pytest.mark.criterion("GEN-18", who="vtn")
async def test_a_renewal_that_is_sent_twice_is_answered_twice_the_same(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    again = create(registration_id=(await ven(desk)).registration_id, ven_id=ven_id)
    assert await party(desk, again) == await party(desk, again)


@pytest.mark.criterion("REG-04", "GEN-18", who="vtn")
async def test_a_query_in_the_middle_of_everything_changes_nothing(desk: Desk) -> None:
    ven_id = await desk.register()
    before = await ven(desk)
    replies = [await party(desk, QueryRegistration(request_id="q")) for _ in range(2)]
    assert replies[0] == replies[1]
    assert (replies[0].ven_id, await ven(desk)) == (ven_id, before)
    assert isinstance(await desk.poll(), RegisterReport)


@pytest.mark.parametrize("wrong", [{"ven_id": "other"}, {"registration_id": "other"}], ids=["ven", "reg"])
async def test_reg_21_a_renewal_with_an_id_that_is_not_its_own_is_refused(
    desk: Desk, wrong: dict[str, str]
) -> None:
    ven_id = await desk.settle_in()
    before = await ven(desk)
    ids = {"registration_id": str(before.registration_id), "ven_id": ven_id} | wrong
    assert (await party(desk, create(**ids))).response.code == "452"
    assert await ven(desk) == before


@pytest.mark.criterion("REG-21", "GEN-11", who="vtn")
async def test_the_registration_of_another_ven_is_unknown_like_any(desk: Desk) -> None:
    await desk.settle_in()
    theirs = await desk.settle_in(BOB, "bob")
    other = await ven(desk, "bob")
    answers = [
        await party(desk, create(registration_id=registration_id))
        for registration_id in (other.registration_id, "unknown")
    ]
    assert answers[0] == answers[1]
    assert answers[0].response.code == "452"
    assert await code_of(desk, cancel(other.registration_id, desk.ids[ALICE])) == "452"
    assert await code_of(desk, Poll(ven_id=theirs), BOB) == "200"


# the end of it


@pytest.mark.criterion("REG-18", "REG-19", "GEN-18", who="vtn")
async def test_a_cancellation_whose_answer_was_lost_is_confirmed_again(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    message = cancel((await ven(desk)).registration_id, ven_id)
    first = await desk.say(message)
    assert isinstance(first, CanceledPartyRegistration)
    assert await desk.say(message) == first
    assert await code_of(desk, cancel("other", ven_id)) == "463"
    assert await code_of(desk, cancel(message.registration_id, "other")) == "452"
    assert [fact.body["action"] for fact in await desk.facts("registration")] == ["registered", "cancelled"]


@pytest.mark.criterion("REG-18", "GEN-18", who="vtn")
async def test_a_confirmation_whose_answer_was_lost_is_taken_again(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    async with desk.db.write() as conn:
        await registration.cancel(conn, ven_id, desk.now)
    told = await desk.poll()
    assert isinstance(told, CancelPartyRegistration)
    answer = CanceledPartyRegistration(
        response=EiResponse.ok(told.request_id), registration_id=told.registration_id, ven_id=ven_id
    )
    assert await code_of(desk, answer) == "200"
    assert await code_of(desk, answer) == "200"
    assert (await ven(desk)).registration_id is None


async def test_reg_20_a_cancellation_that_the_ven_refuses_leaves_the_registration(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    async with desk.db.write() as conn:
        await registration.cancel(conn, ven_id, desk.now)
    told = await desk.poll()
    assert isinstance(told, CancelPartyRegistration)
    refused = CanceledPartyRegistration(
        response=EiResponse("452", "another registration", told.request_id), ven_id=ven_id
    )
    assert await code_of(desk, refused) == "200"
    assert (await ven(desk)).registered
    assert isinstance(await desk.poll(), Response)  # and is not asked again
    assert [fact.body["action"] for fact in await desk.facts("registration")] == ["registered", "kept"]


@pytest.mark.criterion("REG-19", who="vtn")
async def test_after_the_end_nothing_waits_and_a_new_registration_is_a_new_one(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    await desk.say(metadata(ven_id))
    await desk.publish(make_event())
    ended = await ven(desk)
    async with desk.db.write() as conn:
        await registration.ask_to_register_again(conn, ven_id, desk.now)
    await desk.say(cancel(ended.registration_id, ven_id))
    async with desk.db.read() as conn:
        assert await report.requests(conn, ven_id) == []
    reply = await party(desk, create())
    assert reply.ven_id == ven_id
    assert reply.registration_id != ended.registration_id
    assert {type(await desk.poll()) for _ in range(2)} == {DistributeEvent, RegisterReport}
    assert await code_of(desk, cancel(ended.registration_id, ven_id)) == "452"


# what the operator decides


@pytest.mark.criterion("REG-10")
async def test_a_suspended_ven_is_answered_as_a_stranger_until_it_is_resumed(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    before = await ven(desk)
    async with desk.db.write() as conn:
        await registration.suspend(conn, ven_id, NOW)
    again = create(registration_id=before.registration_id, ven_id=ven_id)
    for message in (Poll(ven_id=ven_id), again, create(), cancel(before.registration_id, ven_id)):
        refused = await desk.say(message)
        assert (refused.response.code, getattr(refused, "ven_id", None)) == ("463", None)  # type: ignore[attr-defined] - each has one
    query = await party(desk, QueryRegistration(request_id="q"))
    assert (query.response.code, query.ven_id, query.registration_id) == ("200", None, None)
    await desk.publish(make_event())
    async with desk.db.write() as conn:
        await registration.resume(conn, ven_id)
    assert await ven(desk) == before
    assert isinstance(await desk.poll(), DistributeEvent)


@pytest.mark.criterion("REG-08", "REG-16")
async def test_a_rhythm_of_its_own_is_handed_to_a_ven_when_it_registers_again(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    async with desk.db.write() as conn:
        await registration.set_poll_period(conn, ven_id, 2, desk.now)
    assert await desk.poll() == RequestReregistration(ven_id=ven_id)
    reply = await party(desk, create(registration_id=(await ven(desk)).registration_id, ven_id=ven_id))
    assert str(reply.requested_poll_freq) == "PT2S"
    async with desk.db.write() as conn:
        await registration.set_poll_period(conn, ven_id, 2, desk.now)  # as it is: nothing to be told
    assert isinstance(await desk.poll(), Response)
    async with desk.db.write() as conn:
        await registration.set_poll_period(conn, ven_id, None, desk.now)
    assert str((await party(desk, create())).requested_poll_freq) == "PT10S"


async def test_a_rhythm_that_cannot_be_is_refused_and_one_of_a_stranger_unknown(desk: Desk) -> None:
    ven_id = await desk.enrol()
    for seconds in (0, 86_401):
        with pytest.raises(ValueError, match=str(seconds)):
            async with desk.db.write() as conn:
                await registration.set_poll_period(conn, ven_id, seconds, desk.now)
    async with desk.db.write() as conn:
        await registration.set_poll_period(conn, ven_id, 5, desk.now)  # told when it registers
    assert str((await party(desk, create())).requested_poll_freq) == "PT5S"
    with pytest.raises(UnknownObject, match="nobody"):
        async with desk.db.write() as conn:
            await registration.suspend(conn, "nobody", desk.now)


async def test_a_ven_for_reports_only_is_given_no_events(desk: Desk) -> None:
    ven_id = await desk.enrol()
    await party(desk, create(report_only=True))
    assert (await ven(desk)).report_only
    with pytest.raises(NotAdmitted, match="reports only"):
        await desk.publish(make_event())
    await party(desk, create(registration_id=(await ven(desk)).registration_id, ven_id=ven_id))
    await desk.publish(make_event())  # it has changed its mind


# directions and strangers

FROM_THE_VTN = [
    message
    for message in {type(message): message for message in MESSAGES.values()}.values()
    if type(message) not in ROUTES
]


@pytest.mark.criterion("REG-25", "GEN-17", who="vtn")
async def test_what_only_the_vtn_may_say_is_refused(desk: Desk) -> None:
    await desk.settle_in()
    for message in FROM_THE_VTN:
        reply = await desk.say(message, service="EiRegisterParty")
        assert isinstance(reply, Response)
        assert reply.response.code == "459", message


def test_the_messages_of_the_vtn_are_those_that_stand_in_no_route() -> None:
    names = {type(message).__name__ for message in FROM_THE_VTN}
    assert {"RequestReregistration", "CreatedPartyRegistration", "DistributeEvent", "CreatedOpt"} <= names


async def test_reg_28_an_unknown_ven_that_polls_is_told_so_and_nothing_else(desk: Desk) -> None:
    await desk.enrol()
    for who in (STRANGER, ALICE):
        for _ in range(2):
            reply = await desk.say(Poll(ven_id="anything" if who == STRANGER else desk.ids[who]), who)
            assert isinstance(reply, Response)
            assert (reply.response.code, reply.ven_id) == ("463", None)
