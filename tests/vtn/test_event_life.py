"""Events of a VTN on a clock that moves: numbers, lists, order, answers and what is overdue (group EVT)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from openadr import (
    CreatedEvent,
    DistributeEvent,
    Duration,
    EiResponse,
    EventResponse,
    Poll,
    RequestEvent,
    Response,
)
from openadr.enums import EventStatus, OptType, ResponseRequired
from tests.vtn.counter import Counter
from tests.vtn.desk import NOW, STRANGER, anything_goes, make_event, with_period
from ven.states import TRANSITIONS, State
from vtn import distribution, event, opt, registration
from vtn.distribution import OFFERS_WITHOUT_ANSWER
from vtn.errors import NotAdmitted
from vtn.store import Database

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
async def counter(database: Database) -> Counter:
    return await Counter.open(database)


async def test_evt_01_evt_02_versions_count_from_zero_by_one(counter: Counter) -> None:
    numbers = []
    for step in range(4):
        if step == 0:
            await counter.publish(make_event())
        elif step < 3:
            await counter.modify(make_event(length=(step + 1) * HOUR))
        else:
            await counter.cancel(reason="weather")
        counter.now += MINUTE
        (told,) = (await counter.request()).events
        numbers.append(told.modification_number)
    assert numbers == [0, 1, 2, 3]
    assert told.descriptor.modification_reason == "weather"


async def test_evt_02_the_clock_alone_makes_no_new_version(counter: Counter) -> None:
    await counter.publish(with_period(make_event(), ramp_up=Duration(600)))
    seen = []
    for minute in (0, 55, 61):
        counter.now = NOW + minute * MINUTE
        (told,) = (await counter.request()).events
        seen.append((str(told.descriptor.event_status), told.modification_number))
    assert seen == [("far", 0), ("near", 0), ("active", 0)]


async def test_evt_03_created_date_time_is_anew_in_each_payload_and_the_same_for_all(
    counter: Counter,
) -> None:
    await counter.publish(make_event("e1"))
    counter.now += MINUTE
    await counter.publish(make_event("e2"))
    counter.now += MINUTE
    assert [item.descriptor.created_date_time for item in (await counter.request()).events] == [
        counter.now
    ] * 2


async def test_evt_04_an_event_is_not_published_into_the_past(counter: Counter) -> None:
    with pytest.raises(NotAdmitted, match="EVT-04: event 'e1' would be over"):
        await counter.publish(make_event(start=NOW - HOUR))
    late = with_period(make_event(start=NOW - HOUR), start_after=Duration(60))
    await counter.publish(late)  # a VEN may still run it
    with pytest.raises(NotAdmitted, match=r"EVT-04: .* over but for its random start"):
        await counter.modify(with_period(make_event(start=NOW - HOUR, length=2 * HOUR)))
    assert await counter.listed() == ["e1"]


async def test_evt_05_a_2_0b_ven_is_told_when_and_why(counter: Counter) -> None:
    await counter.publish(make_event())
    longer = make_event(length=2 * HOUR)
    counter.now += MINUTE
    await counter.modify(replace(longer, descriptor=replace(longer.descriptor, modification_reason="cold")))
    (told,) = (await counter.request()).events
    assert told.descriptor.modification_date_time == counter.now
    assert told.descriptor.modification_reason == "cold"


async def test_evt_06_evt_07_evt_08_each_list_is_complete_in_itself(counter: Counter) -> None:
    await counter.publish(make_event())
    requested, polled = await counter.request(), await counter.ask(Poll(ven_id=counter.ven_id))
    refused = await counter.ask(RequestEvent(request_id="", ven_id="x"), STRANGER)
    assert isinstance(polled, DistributeEvent)
    assert isinstance(refused, DistributeEvent)
    for message in (requested, polled, refused):
        assert message.request_id
        assert message.vtn_id == "FLEXPACT"
        assert message.response is not None
    assert [each.response.code for each in (requested, polled, refused) if each.response] == [
        "200",
        "200",
        "463",
    ]
    assert requested.response is not None
    assert requested.response.request_id == "q7"


async def test_evt_11_a_cancellation_is_sent_until_its_time_has_passed(counter: Counter) -> None:
    await counter.publish(make_event())
    await counter.poll()
    await counter.cancel()
    counter.now = NOW + 2 * HOUR - MINUTE
    told = await counter.poll()
    assert told is not None
    assert [item.is_cancelled for item in told] == [True]
    counter.now += MINUTE
    assert await counter.poll() is None
    assert await counter.listed() == []
    assert (await counter.state()).is_unanswered(counter.now)


@pytest.mark.parametrize("asking", ["poll", "request"])
async def test_evt_11_a_cancelled_open_ended_event_is_not_sent_for_ever(
    counter: Counter, asking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "OFFERS_OF_CANCELLATION", 4)
    await counter.publish(make_event(start=NOW, length=timedelta(0)))
    await counter.cancel()
    for _ in range(4):
        assert await (counter.poll() if asking == "poll" else counter.listed())
    assert await counter.listed() == []
    assert await counter.poll() is None


async def test_evt_11_a_cancellation_that_nobody_answers_is_sent_three_times(counter: Counter) -> None:
    await counter.publish(make_event(response_required=ResponseRequired.NEVER))
    await counter.cancel()
    assert [await counter.listed() for _ in range(OFFERS_WITHOUT_ANSWER + 1)] == [["e1"]] * 3 + [[]]
    assert (await counter.state()).delivered_at == NOW


async def test_evt_13_an_open_ended_event_that_is_not_cancelled_stays_in_the_list(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "OFFERS_OF_CANCELLATION", 1)
    await counter.publish(make_event(start=NOW, length=timedelta(0)))
    for _ in range(4):
        assert await counter.listed() == ["e1"]


WORKED = {
    "0510": ([("A", 0, 20, 2), ("B", 20, 20, 0), ("C", 0, 20, 1), ("D", 60, 20, 0)], ["C", "A", "B", "D"]),
    "0520": ([("A", 0, 20, 1), ("B", 20, 30, 0), ("C", -10, 20, 1), ("D", 20, 20, 0)], ["C", "A", "B", "D"]),
    "0 is no priority": (
        [("P0", 0, 20, 0), ("P1", 0, 20, 1), ("P2", 0, 20, 2), ("P9", 0, 20, 9)],
        ["P1", "P2", "P9", "P0"],
    ),
    "pending ignores priority": ([("late", 20, 20, 1), ("soon", 10, 20, 0)], ["soon", "late"]),
}


@pytest.mark.parametrize(("events", "expected"), WORKED.values(), ids=WORKED.keys())
async def test_evt_15_evt_16_order_and_reply_limit_as_worked(
    counter: Counter, events: list[tuple[str, int, int, int]], expected: list[str]
) -> None:
    for name, start, length, priority in events:
        await counter.publish(make_event(name, NOW + start * MINUTE, length * MINUTE, priority=priority))
    assert await counter.listed() == expected
    for limit in range(len(expected) + 2):
        assert await counter.listed(limit) == expected[:limit]


async def test_evt_16_worked_0525_a_cancelled_event_keeps_its_place_until_it_is_answered(
    counter: Counter,
) -> None:
    await counter.publish(make_event("A", NOW + 40 * MINUTE, 20 * MINUTE, priority=0))
    await counter.publish(make_event("B", NOW, HOUR, priority=1))
    await counter.cancel("B")
    told = (await counter.request()).events
    assert [(item.event_id, item.is_cancelled) for item in told] == [("B", True), ("A", False)]
    await counter.answer(told[0])
    assert await counter.listed() == ["A"]


async def test_evt_16_an_event_cancelled_while_pending_does_not_move_up_with_the_clock(
    counter: Counter,
) -> None:
    await counter.publish(make_event("soon", NOW + 10 * MINUTE, HOUR, priority=1))
    await counter.publish(make_event("runs", NOW, 2 * HOUR, priority=5))
    await counter.cancel("soon")
    counter.now += 20 * MINUTE
    assert await counter.listed() == ["runs", "soon"]


async def test_evt_17_an_event_that_the_ven_opted_out_of_stays_in_the_list(counter: Counter) -> None:
    await counter.publish(make_event())
    assert await counter.answer(make_event(), opt=OptType.OPT_OUT) == "200"
    assert await counter.listed() == ["e1"]
    assert (await counter.state()).opt == "optOut"


def test_evt_18_a_vtn_sends_no_request_for_events() -> None:
    accepted = [answer for asked in TRANSITIONS[State.READY].values() for answer in asked]
    assert RequestEvent not in accepted


async def test_evt_18_only_vens_may_ask_for_events(counter: Counter) -> None:
    await counter.publish(make_event())
    reply = await counter.ask(RequestEvent(request_id="q", ven_id=counter.ven_id), STRANGER)
    assert isinstance(reply, DistributeEvent)
    assert reply.response is not None
    assert (reply.response.code, reply.events) == ("463", ())


async def test_evt_32_whether_a_response_is_wanted_may_change_with_a_modification(counter: Counter) -> None:
    await counter.publish(make_event())
    await counter.modify(make_event(response_required=ResponseRequired.NEVER))
    (told,) = (await counter.request()).events
    assert (told.response_required, told.modification_number) == (ResponseRequired.NEVER, 1)
    assert (await counter.state()).respond_by is None


async def test_evt_33_overlap_with_what_the_ven_has(counter: Counter) -> None:
    start = NOW.replace(hour=13)
    await counter.publish(with_period(make_event("first", start), start_after=Duration(600)))
    await counter.publish(make_event("early", NOW, HOUR))
    second = make_event("second", start + 70 * MINUTE)
    assert await counter.overlaps(second) == []
    assert await counter.overlaps(make_event("second", start + 69 * MINUTE)) == ["first"]
    assert await counter.overlaps(make_event("second", NOW, 9 * HOUR)) == ["early", "first"]
    counter.now = start + 20 * MINUTE
    await counter.cancel("first")
    half_past = make_event("second", start + 30 * MINUTE)
    assert await counter.overlaps(half_past) == ["first"]  # the VEN may not know yet
    told = (await counter.request()).events
    await counter.answer(*told)
    assert await counter.overlaps(half_past) == []
    assert await counter.overlaps(make_event("second", start + 29 * MINUTE)) == ["first"]


async def test_evt_34_answers_come_in_any_grouping(counter: Counter) -> None:
    for name in ("a", "b", "c"):
        await counter.publish(make_event(name))
    a, b, c = (await counter.request()).events
    assert await counter.answer(c, a) == "200"
    told = await counter.poll()
    assert told is not None
    assert [(await counter.state(name)).opt for name in ("a", "b", "c")] == ["optIn", None, "optIn"]
    assert await counter.answer(b, opt=OptType.OPT_OUT) == "200"
    assert await counter.poll() is None


async def test_evt_35_answers_below_an_error_are_not_examined(counter: Counter) -> None:
    await counter.publish(make_event())
    for responses in ((), (make_event(),)):
        reply = await counter.ask(
            CreatedEvent(
                response=EiResponse("459", "no", "r"),
                event_responses=tuple(_answer(each.event_id) for each in responses),
                ven_id=counter.ven_id,
            )
        )
        assert isinstance(reply, Response)
        assert reply.response.code == "200"
    assert (await counter.state()).responded_at is None
    assert await counter.poll() is not None


def _answer(event_id: str) -> EventResponse:
    return EventResponse(
        code="200", request_id="d", event_id=event_id, modification_number=0, opt_type=OptType.OPT_IN
    )


async def test_evt_35_each_answer_has_a_code_of_its_own(counter: Counter) -> None:
    await counter.publish(make_event())
    assert await counter.answer(make_event(), opt=OptType.OPT_OUT, code="460") == "200"
    found = await counter.state()
    assert (found.opt, found.response_code) == ("optOut", "460")


async def test_evt_36_later_changes_of_mind_are_kept_with_their_version(counter: Counter) -> None:
    await counter.publish(make_event())
    await counter.answer(make_event())
    counter.now += MINUTE
    await counter.answer(make_event(), opt=OptType.OPT_OUT)
    assert (await counter.state()).opt == "optOut"
    await counter.modify(make_event(length=2 * HOUR))
    assert (await counter.state()).opt is None
    (told,) = (await counter.request()).events
    await counter.answer(told)
    async with counter.db.read() as conn:
        entries = await opt.opts(conn, "e1")
    assert [(entry.modification_number, entry.opt_type) for entry in entries] == [
        (0, "optIn"),
        (0, "optOut"),
        (1, "optIn"),
    ]


async def test_evt_40_no_response_by_the_end_of_the_notice_is_overdue(counter: Counter) -> None:
    await counter.publish(with_period(make_event(start=NOW + 3 * HOUR), notification=Duration(7200)))
    found = await counter.state()
    assert found.respond_by == NOW + 2 * HOUR
    assert not found.is_unanswered(NOW + 2 * HOUR - MINUTE)
    assert found.is_unanswered(NOW + 2 * HOUR)
    await counter.answer(make_event())
    assert not (await counter.state()).is_unanswered(NOW + 2 * HOUR)


async def test_evt_40_a_modification_gives_new_time_and_at_least_ten_minutes(counter: Counter) -> None:
    await counter.publish(make_event())
    counter.now += HOUR / 2
    await counter.modify(make_event(length=2 * HOUR))
    assert (
        (await counter.state()).respond_by == counter.now + event.ANSWER_WITHIN == counter.now + 10 * MINUTE
    )


async def test_tgt_05_each_ven_is_given_the_event_for_itself(counter: Counter) -> None:
    async with counter.db.write() as conn:
        other = await registration.enrol(conn, "bob", "b2" * 32, NOW)
        for ven_id in (counter.ven_id, other):
            await event.publish(conn, make_event(), ven_id, NOW, anything_goes)
    (told,) = (await counter.request()).events
    assert told.target.ven_id == (counter.ven_id,)
    assert EventStatus.FAR is told.descriptor.event_status
