"""What a poll brings: one payload each, in order, again until it is answered (group POLL)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from openadr import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedReport,
    CreateReport,
    DistributeEvent,
    EiResponse,
    Message,
    Poll,
    RegisteredReport,
    RegisterReport,
    RequestReregistration,
    Response,
)
from openadr.rules import check
from tests.vtn.desk import ALICE, NOW, STRANGER, Desk, make_event, metadata, request_all
from vtn import outbox, registration, report_request
from vtn.presence import Presence


async def queue_everything(desk: Desk) -> str:
    """A VEN for which an event, a report request, a renewal and a cancellation wait, in this order."""
    ven_id = await desk.register()
    await desk.say(metadata(ven_id))
    await desk.publish(make_event())
    async with desk.db.write() as conn:
        (request, *_) = request_all(None, metadata(ven_id).reports, NOW)  # type: ignore[arg-type] - the VEN is not looked at
        await report_request.request_report(conn, ven_id, replace(request, report_request_id="again"), NOW)
        await registration.ask_to_register_again(conn, ven_id, NOW)
        await registration.cancel(conn, ven_id, NOW)
    return ven_id


ORDER = [RegisterReport, DistributeEvent, CreateReport, RequestReregistration, CancelPartyRegistration]


async def test_poll_02_and_09_each_poll_brings_one_payload_in_the_order_of_queueing(desk: Desk) -> None:
    await queue_everything(desk)
    assert [type(await desk.poll()) for _ in ORDER] == ORDER
    # nothing was answered: they come again, in the same order, also from a server that has just started
    await desk.restart()
    assert [type(await desk.poll()) for _ in ORDER] == ORDER


async def test_poll_02_nothing_waits_is_a_plain_success(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    assert await desk.poll() == Response(response=EiResponse.ok(), ven_id=ven_id)


async def test_poll_09_what_is_never_answered_rests_after_its_offers_and_comes_back_when_queued_anew(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "OFFERS", 3)
    ven_id = await desk.register()
    assert [type(await desk.poll()) for _ in range(3)] == [RegisterReport] * 3
    assert isinstance(await desk.poll(), Response)
    async with desk.db.write() as conn:
        await registration.ask_to_register_again(conn, ven_id, NOW)
    assert [type(await desk.poll()) for _ in range(4)] == [RequestReregistration] * 3 + [Response]
    await desk.say(RegisteredReport(response=EiResponse.ok(), ven_id=ven_id))  # late, and welcome
    assert isinstance(await desk.poll(), Response)


def answer_to(message: Message, ven_id: str) -> Message:
    """What a VEN posts in answer to a payload that it polled."""
    match message:
        case RegisterReport():
            return RegisteredReport(response=EiResponse.ok(message.request_id), ven_id=ven_id)
        case CreateReport():
            pending = tuple(asked.report_request_id for asked in message.report_requests)
            return CreatedReport(
                response=EiResponse.ok(message.request_id), pending_reports=pending, ven_id=ven_id
            )
        case RequestReregistration():
            return Response(response=EiResponse.ok(), ven_id=ven_id)
        case CancelPartyRegistration():
            return CanceledPartyRegistration(
                response=EiResponse.ok(message.request_id),
                registration_id=message.registration_id,
                ven_id=ven_id,
            )
    raise AssertionError(message)


async def test_poll_04_answers_are_requests_of_their_own_and_acknowledged(desk: Desk) -> None:
    ven_id = await queue_everything(desk)
    for _ in ORDER:
        told = await desk.poll()
        if isinstance(told, DistributeEvent):
            acknowledged = await desk.answer(told.events[0])
        else:
            acknowledged = await desk.say(answer_to(told, ven_id))
        assert isinstance(acknowledged, Response), told
        assert acknowledged.response.is_success, (told, acknowledged)


@pytest.mark.parametrize("answers", ["at once", "after both, first one first", "after both, last one first"])
async def test_poll_05_answers_may_come_in_any_order(desk: Desk, answers: str) -> None:
    ven_id = await desk.register()
    await desk.publish(make_event())
    first = await desk.poll()
    if answers == "at once":
        await desk.say(answer_to(first, ven_id))
    second = await desk.poll()  # served although the answer to the first is outstanding
    assert isinstance(second, DistributeEvent)
    if answers == "after both, first one first":
        await desk.say(answer_to(first, ven_id))
    await desk.answer(second.events[0])
    if answers == "after both, last one first":
        await desk.say(answer_to(first, ven_id))
    assert isinstance(await desk.poll(), Response)


async def test_poll_06_wrong_id_gets_452_and_no_registration_463_in_a_plain_response(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    for who, asked, code in (
        (ALICE, ven_id + "x", "452"),
        (ALICE, ven_id.upper(), "452"),
        (STRANGER, ven_id, "463"),
        (STRANGER, "", "463"),
    ):
        reply = await desk.say(Poll(ven_id=asked), who)
        assert isinstance(reply, Response)
        assert reply.response.code == code


async def test_poll_08_new_and_changed_events_are_due_and_the_passing_of_time_is_not(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event("e1", NOW + timedelta(minutes=10)))
    await desk.publish(make_event("e2", NOW + timedelta(hours=3)))
    told = await desk.poll()
    assert isinstance(told, DistributeEvent)
    for event in told.events:
        await desk.answer(event)
    desk.now = NOW + timedelta(minutes=20)  # e1 is active now
    assert isinstance(await desk.poll(), Response)
    await desk.modify(make_event("e2", NOW + timedelta(hours=4)))
    told = await desk.poll()
    assert isinstance(told, DistributeEvent)
    assert [(event.event_id, event.modification_number) for event in told.events] == [("e1", 0), ("e2", 1)]


async def test_poll_11_what_a_poll_brings_keeps_the_rules_of_its_payload(desk: Desk) -> None:
    await queue_everything(desk)
    for _ in ORDER:
        assert check(await desk.poll()) == []


async def test_min_04_an_event_is_in_the_first_poll_after_it_was_published(desk: Desk) -> None:
    """So it is there one poll period after that, at most; nothing else is waited for."""
    await desk.settle_in()
    for number in range(3):
        assert isinstance(await desk.poll(), Response)
        made = make_event(f"e{number}", NOW + timedelta(hours=2 * number + 1))
        await desk.publish(made)
        told = await desk.poll()
        assert isinstance(told, DistributeEvent)
        assert made.event_id in {event.event_id for event in told.events}
        await desk.answer(next(event for event in told.events if event.event_id == made.event_id))


async def test_the_mirror_of_the_listener_knows_what_waits_after_a_restart(desk: Desk) -> None:
    await queue_everything(desk)
    presence = Presence(desk.db)
    await presence.open()
    guest = presence.known(ALICE, NOW)
    assert guest is not None
    assert guest.due


async def test_a_ven_that_has_answered_everything_waits_for_no_writer(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    told = await desk.poll()
    assert isinstance(told, DistributeEvent)
    await desk.answer(told.events[0])
    async with desk.db.write(), asyncio.timeout(5):
        assert isinstance(await desk.poll(), Response)
    await desk.publish(make_event("e2"))
    told = await desk.poll()
    assert isinstance(told, DistributeEvent)
    assert [each.event_id for each in told.events] == ["e1", "e2"]


async def test_an_event_that_is_over_gives_way_to_what_waits_behind_it(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    await desk.publish(make_event())
    async with desk.db.write() as conn:
        await registration.ask_to_register_again(conn, ven_id, NOW)
    desk.now = NOW + timedelta(hours=3)
    assert isinstance(await desk.poll(), RequestReregistration)
    assert isinstance(await desk.poll(), RequestReregistration)
