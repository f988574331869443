"""Events from publication to the VEN's answer, over the wire."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import DistributeEvent, Duration, Event, Message, Poll, RequestEvent, Response
from openadr.enums import EventStatus, OptType, ResponseRequired
from tests.vtn.desk import ALICE, BOB, NOW, Desk, created_event, make_event, with_period
from vtn import event, journal
from vtn.errors import DuplicateEvent, NotAdmitted, UnknownObject

HOUR = timedelta(hours=1)


def events_of(message: Message) -> list[Event]:
    assert isinstance(message, DistributeEvent)
    return list(message.events)


async def listed(desk: Desk, reply_limit: int | None = None) -> list[Event]:
    return events_of(
        await desk.say(RequestEvent(request_id="q", ven_id=desk.ids[ALICE], reply_limit=reply_limit))
    )


async def state(desk: Desk, event_id: str = "e1") -> event.EventState:
    async with desk.db.read() as conn:
        (found,) = await event.event_states(conn, event_id)
    return found


async def test_event_is_offered_at_each_poll_until_it_is_answered(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    for _ in range(3):
        told = events_of(await desk.poll())
        assert [item.event_id for item in told] == ["e1"]
    assert (await state(desk)).delivered_at is None  # offered is not delivered
    desk.now += HOUR / 2
    await desk.answer(told[0])
    assert isinstance(await desk.poll(), Response)
    found = await state(desk)
    assert (found.opt, found.response_code, found.offered_at) == ("optIn", "200", NOW)
    assert (found.responded_at, found.delivered_at) == (NOW + HOUR / 2, NOW + HOUR / 2)


async def test_polls_at_the_same_time_are_all_offered_the_event(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    replies = await asyncio.gather(*(desk.poll() for _ in range(5)))
    assert {type(reply) for reply in replies} == {DistributeEvent}


async def test_pending_event_is_offered_after_a_restart(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    await desk.poll()
    await desk.restart()
    assert [item.event_id for item in events_of(await desk.poll())] == ["e1"]


async def test_evt_11_cancelled_event_is_sent_until_it_is_answered_and_not_again(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    await desk.answer(events_of(await desk.poll())[0])
    await desk.cancel("e1")
    for _ in range(2):
        (told,) = events_of(await desk.poll())
        assert told.descriptor.event_status is EventStatus.CANCELLED
        assert told.modification_number == 1
    assert len(await listed(desk)) == 1
    await desk.answer(told)
    assert isinstance(await desk.poll(), Response)
    assert await listed(desk) == []
    assert (await state(desk)).cancelled_at == NOW


async def test_evt_11_cancelling_twice_is_cancelling_once(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    await desk.cancel("e1")
    await desk.cancel("e1")
    assert (await state(desk)).modification_number == 1


async def test_evt_13_every_list_holds_all_events_of_the_ven_and_no_others(desk: Desk) -> None:
    await desk.settle_in()
    await desk.settle_in(BOB, "bob")
    await desk.publish(make_event("mine-1"))
    await desk.answer(events_of(await desk.poll())[0])
    await desk.publish(make_event("mine-2", NOW + 3 * HOUR))
    await desk.publish(make_event("other"), BOB)
    assert [item.event_id for item in events_of(await desk.poll())] == ["mine-1", "mine-2"]
    assert all(item.target.ven_id == (desk.ids[ALICE],) for item in await listed(desk))


async def test_evt_14_request_without_events_gets_an_empty_list(desk: Desk) -> None:
    await desk.settle_in()
    reply = await desk.say(RequestEvent(request_id="q7", ven_id=desk.ids[ALICE]))
    assert isinstance(reply, DistributeEvent)
    assert (reply.events, reply.vtn_id) == ((), "FLEXPACT")
    assert reply.response is not None
    assert (reply.response.code, reply.response.request_id) == ("200", "q7")
    assert reply.request_id


@pytest.mark.parametrize(("limit", "expected"), [(0, []), (1, ["e1"]), (2, ["e1", "e2"]), (9, ["e1", "e2"])])
async def test_evt_15_reply_limit_gives_the_first_events(desk: Desk, limit: int, expected: list[str]) -> None:
    await desk.settle_in()
    await desk.publish(make_event("e2", NOW + 3 * HOUR))
    await desk.publish(make_event("e1", NOW + HOUR))
    assert [item.event_id for item in await listed(desk, limit)] == expected


async def test_evt_16_active_by_priority_before_pending_by_start(desk: Desk) -> None:
    await desk.settle_in()
    minute = timedelta(minutes=1)
    for event_id, minutes, priority in (("A", 0, 2), ("B", 20, 0), ("C", 0, 1), ("D", 60, 0), ("E", 0, 0)):
        await desk.publish(make_event(event_id, NOW + minutes * minute, priority=priority))
    desk.now += minute
    assert [item.event_id for item in await listed(desk)] == ["C", "A", "E", "B", "D"]
    await desk.cancel("A")
    assert [item.event_id for item in await listed(desk)] == ["C", "A", "E", "B", "D"]


async def test_evt_12_event_leaves_the_list_at_its_end_and_later_by_its_random_start(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event("plain", NOW))
    await desk.publish(with_period(make_event("random", NOW), start_after=Duration(600)))
    desk.now = NOW + HOUR
    (told,) = await listed(desk)
    assert (told.event_id, told.descriptor.event_status) == ("random", EventStatus.COMPLETED)
    desk.now += timedelta(minutes=10)
    assert await listed(desk) == []
    assert isinstance(await desk.poll(), Response)  # unanswered, but its time has passed


async def test_evt_22_open_ended_event_lasts_until_it_is_cancelled(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event(start=NOW, length=timedelta(0)))
    desk.now += timedelta(days=400)
    assert [item.descriptor.event_status for item in await listed(desk)] == [EventStatus.ACTIVE]


async def test_evt_10_status_and_current_value_follow_the_clock(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(with_period(make_event(), ramp_up=Duration(600)))
    seen = []
    for minutes in (0, 55, 60):
        desk.now = NOW + timedelta(minutes=minutes)
        (told,) = await listed(desk)
        assert told.descriptor.created_date_time == desk.now
        seen.append((str(told.descriptor.event_status), [signal.current_value for signal in told.signals]))
    assert seen == [("far", [0.0, None]), ("near", [0.0, None]), ("active", [1.0, -500.0])]


async def test_evt_02_modification_counts_up_starts_over_and_keeps_unchanged_events(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    await desk.answer(events_of(await desk.poll())[0], OptType.OPT_OUT)
    await desk.modify(make_event())
    assert isinstance(await desk.poll(), Response)  # nothing was changed
    await desk.modify(make_event(length=2 * HOUR))
    (told,) = events_of(await desk.poll())
    assert (told.modification_number, told.descriptor.modification_date_time) == (1, NOW)
    found = await state(desk)
    assert (found.modification_number, found.opt, found.responded_at) == (1, None, None)


async def test_evt_38_wrong_answers_are_refused_and_the_event_stays_offered(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    (told,) = events_of(await desk.poll())
    newer = replace(told, descriptor=replace(told.descriptor, modification_number=1))
    for answered, code in ((make_event("nobody's"), "452"), (newer, "450")):
        reply = await desk.answer(answered)
        assert isinstance(reply, Response)
        assert reply.response.code == code
    assert isinstance(await desk.poll(), DistributeEvent)


async def test_evt_39_answer_to_an_older_modification_does_not_answer_the_newer(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    (old,) = events_of(await desk.poll())
    await desk.modify(make_event(length=2 * HOUR))
    reply = await desk.answer(old)
    assert isinstance(reply, Response)
    assert reply.response.code == "450"
    assert isinstance(await desk.poll(), DistributeEvent)
    assert (await state(desk)).opt is None


async def test_good_answers_count_beside_a_wrong_one(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    (told,) = events_of(await desk.poll())
    good = created_event(desk.ids[ALICE], told)
    bad = created_event(desk.ids[ALICE], make_event("unknown"))
    both = replace(good, event_responses=bad.event_responses + good.event_responses)
    reply = await desk.say(both)
    assert isinstance(reply, Response)
    assert reply.response.code == "452"
    assert (await state(desk)).opt == "optIn"


async def test_event_of_another_ven_is_answered_like_an_unknown_one(desk: Desk) -> None:
    await desk.settle_in()
    await desk.settle_in(BOB, "bob")
    await desk.publish(make_event())
    replies = [await desk.answer(make_event(event_id), who=BOB) for event_id in ("e1", "unknown")]
    assert replies[0] == replies[1]
    assert (await state(desk)).opt is None


async def test_evt_32_event_without_answers_is_offered_three_times(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event(response_required=ResponseRequired.NEVER))
    offers = [type(await desk.poll()) for _ in range(4)]
    assert offers == [DistributeEvent] * 3 + [Response]
    assert len(await listed(desk)) == 1
    assert (await state(desk)).delivered_at == NOW


async def test_same_event_twice_is_one_and_another_under_its_id_is_refused(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    await desk.publish(make_event())
    with pytest.raises(DuplicateEvent):
        await desk.publish(make_event(length=2 * HOUR))
    assert len(await desk.facts("signal")) == 1


async def test_every_path_to_an_event_asks_and_a_refusal_leaves_nothing(desk: Desk) -> None:
    async def refuse(_conn: AsyncConnection, _event: Event, _ven_id: str, _now: datetime) -> None:
        raise NotAdmitted("calls", "one a day")

    await desk.settle_in()
    with pytest.raises(NotAdmitted, match="calls: one a day"):
        async with desk.db.write() as conn:
            await event.publish(conn, make_event(), desk.ids[ALICE], NOW, refuse)
    await desk.publish(make_event("e2"))
    with pytest.raises(NotAdmitted):
        async with desk.db.write() as conn:
            await event.modify(conn, make_event("e2", length=2 * HOUR), desk.ids[ALICE], NOW, refuse)
    assert [item.event_id for item in await listed(desk)] == ["e2"]
    assert len(await desk.facts("signal")) == 1


async def test_evt_04_the_past_of_an_event_stays(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event(start=NOW))
    desk.now += HOUR / 2
    with pytest.raises(NotAdmitted, match="started"):
        await desk.modify(make_event(start=NOW + HOUR))
    await desk.modify(make_event(start=NOW, length=2 * HOUR))
    desk.now += 2 * HOUR
    with pytest.raises(NotAdmitted, match="over"):
        await desk.modify(make_event(start=NOW))
    with pytest.raises(NotAdmitted, match="over"):
        await desk.cancel("e1")


async def test_changing_what_does_not_exist_is_refused(desk: Desk) -> None:
    await desk.settle_in()
    with pytest.raises(UnknownObject):
        await desk.cancel("e1")
    with pytest.raises(UnknownObject):
        await desk.modify(make_event())


async def test_signal_facts_carry_whole_numbers_and_the_hash_of_the_content(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event())
    await desk.cancel("e1")
    first, second = await desk.facts("signal")
    assert first.body["signals"][1] == {
        "signal_name": "LOAD_DISPATCH",
        "signal_type": "delta",
        "unit": "W",
        "durations": ["PT1H"],
        "values_milli": [-500_000],
    }
    assert (first.body["dtstart"], first.body["end"]) == ("2026-03-02T13:00:00Z", "2026-03-02T14:00:00Z")
    assert first.raw_sha256 == first.body["content_sha256"] != second.raw_sha256
    assert [fact.body["action"] for fact in (first, second)] == ["published", "cancelled"]


async def test_listeners_hear_of_facts(desk: Desk) -> None:
    heard: list[object] = []
    await desk.settle_in()
    desk.db.listen(heard.extend)
    await desk.publish(make_event())
    assert journal.FACT in heard


async def test_poll_with_an_empty_ven_id_is_the_certificates_own(desk: Desk) -> None:
    await desk.settle_in()
    assert isinstance(await desk.say(Poll(ven_id="")), Response)
