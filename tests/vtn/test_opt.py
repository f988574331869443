"""Answers to events and schedules: kept in order, changed by the right message only (GOALS 73)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from openadr import (
    ActivePeriod,
    CanceledOpt,
    CancelOpt,
    CreatedOpt,
    CreateOpt,
    DistributeEvent,
    Duration,
    EiResponse,
    Event,
    Response,
    Target,
)
from openadr.enums import OptType
from tests.vtn.desk import ALICE, NOW, Desk, created_event, make_event
from tests.vtn.office import Clerk, peak
from tests.vtn.test_exchange import response_of
from vtn import event, opt
from vtn.opt import OptEntry
from vtn.schema import opt_table

IN, OUT = OptType.OPT_IN, OptType.OPT_OUT


def schedule(ven_id: str, opt_type: OptType = OUT, opt_id: str = "o1", **more: object) -> CreateOpt:
    values: dict[str, object] = {
        "opt_id": opt_id,
        "opt_type": opt_type,
        "opt_reason": "economic",
        "ven_id": ven_id,
        "availability": (ActivePeriod(dtstart=NOW, duration=Duration(3600)),),
        "created_date_time": NOW,
        "request_id": "r",
        "target": Target(ven_id=(ven_id,)),
    }
    return CreateOpt(**(values | more))  # type: ignore[arg-type] - fields by name


def qualification(ven_id: str, opt_type: OptType = OUT, event_id: str = "e1", **more: object) -> CreateOpt:
    number = {"event_id": event_id, "modification_number": 0, "availability": ()}
    return schedule(ven_id, opt_type, **(number | more))


async def told(desk: Desk) -> Event:
    await desk.settle_in()
    await desk.publish(make_event())
    message = await desk.poll()
    assert isinstance(message, DistributeEvent)
    return message.events[0]


async def history(desk: Desk) -> list[OptEntry]:
    async with desk.db.read() as conn:
        return await opt.opts(conn, "e1")


async def opt_of(desk: Desk) -> str | None:
    async with desk.db.read() as conn:
        (state,) = await event.event_states(conn, "e1")
    return state.opt


async def code(desk: Desk, message: CreateOpt | CancelOpt) -> str:
    reply = await desk.say(message)
    assert isinstance(reply, CreatedOpt | CanceledOpt)
    assert reply.opt_id == message.opt_id
    return reply.response.code


async def valid_schedules(desk: Desk) -> list[str]:
    async with desk.db.read() as conn:
        rows = await conn.execute(
            opt_table.select()
            .where(opt_table.c.cancelled_at.is_(None), opt_table.c.source == opt.CREATE_OPT)
            .order_by(opt_table.c.seq)
        )
        return [row.opt_id for row in rows]


@pytest.mark.goal(73)
async def test_changes_of_mind_are_kept_in_order_and_the_last_one_holds(desk: Desk) -> None:
    item = await told(desk)
    for chosen in (IN, IN, OUT, OUT, IN):
        await desk.answer(item, chosen)
    assert [entry.opt_type for entry in await history(desk)] == [IN, OUT, IN]
    assert [fact.body["opt_type"] for fact in await desk.facts("opt")] == [IN, OUT, IN]
    assert await opt_of(desk) == IN


@pytest.mark.goal(73)
async def test_late_answer_to_an_older_modification_is_kept_and_changes_nothing(desk: Desk) -> None:
    old = await told(desk)
    await desk.modify(make_event(length=timedelta(hours=2)))
    message = await desk.poll()
    assert isinstance(message, DistributeEvent)
    await desk.answer(message.events[0], IN)
    await desk.answer(old, OUT)
    assert [(entry.modification_number, entry.opt_type) for entry in await history(desk)] == [
        (1, IN),
        (0, OUT),
    ]
    assert await opt_of(desk) == IN


async def test_of_several_answers_in_one_message_the_last_to_the_newest_modification_counts(
    desk: Desk,
) -> None:
    old = await told(desk)
    await desk.modify(make_event(length=timedelta(hours=2)))
    message = await desk.poll()
    assert isinstance(message, DistributeEvent)
    new = message.events[0]
    said = [created_event(desk.ids[ALICE], item, way) for item, way in ((new, OUT), (new, IN), (old, OUT))]
    answers = tuple(response for item in said for response in item.event_responses)
    reply = await desk.say(replace(said[0], event_responses=answers))
    assert isinstance(reply, Response)
    assert reply.response.code == "200"
    assert [(entry.modification_number, entry.opt_type) for entry in await history(desk)] == [(1, IN)]
    assert await opt_of(desk) == IN


async def test_answer_to_an_unknown_event_is_named_and_the_others_count(desk: Desk) -> None:
    item = await told(desk)
    good = created_event(desk.ids[ALICE], item, IN)
    stray = replace(good.event_responses[0], event_id="other")
    reply = await desk.say(replace(good, event_responses=(stray, *good.event_responses)))
    assert isinstance(reply, Response)
    assert reply.response.code == "452"
    assert await opt_of(desk) == IN


async def test_answer_that_refuses_the_event_carries_its_code(desk: Desk) -> None:
    await desk.answer(await told(desk), OUT, code="460")
    (entry,) = await history(desk)
    assert (entry.response_code, entry.opt_type, entry.source) == ("460", OUT, opt.CREATED_EVENT)
    assert isinstance(await desk.poll(), Response)


async def test_evt_35_answers_beside_an_error_are_not_examined(desk: Desk) -> None:
    item = await told(desk)
    answers = created_event(desk.ids[ALICE], item)
    message = replace(answers, response=EiResponse("452", "who?", ""))
    reply = await desk.say(message)
    assert isinstance(reply, Response)
    assert reply.response.code == "200"
    assert isinstance(await desk.poll(), DistributeEvent)


@pytest.mark.criterion("OPT-11", "OPT-13", "EVT-37")
async def test_opt_11_and_13_event_qualified_by_create_opt_is_changed_by_create_opt_only(desk: Desk) -> None:
    item = await told(desk)
    ven_id = desk.ids[ALICE]
    assert await code(desk, qualification(ven_id, OUT)) == "200"
    await desk.answer(item, IN)
    assert await opt_of(desk) == OUT
    assert isinstance(await desk.poll(), Response)  # answered all the same
    assert await code(desk, qualification(ven_id, IN, opt_id="o2")) == "200"
    assert await opt_of(desk) == IN


async def test_opt_11_some_resources_do_not_speak_for_the_event(desk: Desk) -> None:
    item = await told(desk)
    ven_id = desk.ids[ALICE]
    part = qualification(ven_id, OUT, target=Target(ven_id=(ven_id,), resource_id=("battery",)))
    assert await code(desk, part) == "200"
    assert await opt_of(desk) is None
    await desk.answer(item, IN)
    assert await opt_of(desk) == IN


async def test_opt_of_some_resources_is_told_from_one_of_the_whole_ven(desk: Desk) -> None:
    item = await told(desk)
    ven_id = desk.ids[ALICE]
    await desk.answer(item, IN)
    part = Target(ven_id=(ven_id,), resource_id=("battery",))
    await code(desk, qualification(ven_id, OUT, target=part))
    await code(desk, qualification(ven_id, OUT, opt_id="o2"))
    assert [entry.whole for entry in await history(desk)] == [True, False, True]


@pytest.mark.parametrize("own", [False, True], ids=["answer", "create-opt"])
async def test_what_is_said_after_the_end_is_history_only(desk: Desk, *, own: bool) -> None:
    item = await told(desk)
    await desk.answer(item, IN)
    assert item.end is not None
    desk.now = item.end
    if own:
        assert await code(desk, qualification(desk.ids[ALICE], OUT)) == "200"
    else:
        await desk.answer(item, OUT)
    assert await opt_of(desk) == IN
    assert [entry.opt_type for entry in await history(desk)] == [IN, OUT]


async def test_first_answer_after_the_end_proves_no_delivery_in_time(desk: Desk) -> None:
    item = await told(desk)
    assert item.end is not None
    desk.now = item.end
    await desk.answer(item, IN)
    async with desk.db.read() as conn:
        (state,) = await event.event_states(conn, "e1")
    assert (state.delivered_at, state.opt) == (None, None)
    assert isinstance(await desk.poll(), Response)  # nobody asks for it again


@pytest.mark.criterion("GEN-18")
async def test_repeat_of_a_create_opt_is_one(desk: Desk) -> None:
    await told(desk)
    for _ in range(2):
        assert await code(desk, qualification(desk.ids[ALICE])) == "200"
    assert len(await history(desk)) == 1
    assert len(await desk.facts("opt")) == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"event_id": "unknown"}, "452"),
        ({"modification_number": 7}, "450"),
        ({"market_context": "http://market.test"}, "459"),
        ({"target": Target(ven_id=("other",))}, "452"),
        ({"event_id": None, "modification_number": None}, "459"),
    ],
    ids=["unknown-event", "never-sent", "market-context", "other-ven", "neither"],
)
async def test_opt_that_does_not_fit_is_refused(
    desk: Desk, changes: dict[str, object], expected: str
) -> None:
    await told(desk)
    message = replace(qualification(desk.ids[ALICE]), **changes)  # type: ignore[arg-type] - fields by name
    assert await code(desk, message) == expected
    assert await history(desk) == []


async def test_opt_07_schedule_of_the_whole_ven_replaces_the_one_of_its_type(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    part = Target(ven_id=(ven_id,), resource_id=("battery",))
    for number, (opt_type, target) in enumerate([(OUT, None), (IN, None), (OUT, part), (OUT, None)], start=1):
        more = {"target": target} if target else {}
        assert await code(desk, schedule(ven_id, opt_type, f"o{number}", **more)) == "200"
    assert await valid_schedules(desk) == ["o2", "o4"]


@pytest.mark.criterion("OPT-15", "OPT-16")
async def test_opt_15_cancelling_takes_back_every_schedule_of_the_id(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    for opt_type in (IN, OUT):
        await desk.say(schedule(ven_id, opt_type))
    cancel = CancelOpt(request_id="r", opt_id="o1", ven_id=ven_id)
    for _ in range(2):  # OPT-16: a superseded one is no error
        assert await code(desk, cancel) == "200"
    assert await valid_schedules(desk) == []


@pytest.mark.criterion("OPT-14", "OPT-17")
async def test_opt_14_and_17_what_is_no_schedule_cannot_be_cancelled(desk: Desk) -> None:
    await told(desk)
    ven_id = desk.ids[ALICE]
    await desk.say(qualification(ven_id))
    for opt_id in ("o1", "unknown"):
        assert await code(desk, CancelOpt(request_id="r", opt_id=opt_id, ven_id=ven_id)) == "452"
    assert await opt_of(desk) == OUT


@pytest.mark.goal(73)
async def test_the_operator_sees_changes_of_mind_repeats_and_late_answers_in_their_order(
    clerk: Clerk,
) -> None:
    desk = clerk.desk
    await desk.settle_in()
    await clerk.post("/vtn/events", peak())
    first = await offered(desk)
    for chosen in (IN, IN, OUT):  # optIn, the same once more, optOut
        await desk.answer(first, chosen)
        desk.now += timedelta(seconds=1)
    assert await shown(clerk) == "optOut"
    await clerk.http.patch("/vtn/events/peak", json={"priority": 1})
    second = await offered(desk)
    await desk.answer(second, IN)
    desk.now += timedelta(seconds=1)
    for _ in range(2):  # late, and once more: of the version before
        late = await desk.answer(first, IN)
        assert response_of(late).code == "450"
    assert await shown(clerk) == "optIn"
    listed = (await clerk.get("/vtn/opts?event_id=peak"))["opts"]
    assert [(each["modification_number"], each["opt_type"]) for each in reversed(listed)] == [
        (0, "optIn"),
        (0, "optOut"),
        (1, "optIn"),
        (0, "optIn"),
    ]
    assert [each["number"] for each in listed] == sorted((each["number"] for each in listed), reverse=True)
    assert [each["at"] for each in listed] == sorted((each["at"] for each in listed), reverse=True)


@pytest.mark.criterion("OPT-05", "OPT-06")
async def test_an_opt_speaks_for_its_sender_alone_and_its_ids_come_back(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    foreign = schedule(ven_id, target=Target(ven_id=("another",)))
    words: list[tuple[CreateOpt | CancelOpt, str]] = [
        (foreign, "452"),
        (schedule(ven_id, opt_id="o9", request_id="r9"), "200"),
        (CancelOpt(request_id="r10", opt_id="o9", ven_id=ven_id), "200"),
        (CancelOpt(request_id="r11", opt_id="o10", ven_id=ven_id), "452"),
    ]
    for message, expected in words:
        reply = await desk.say(message)
        assert isinstance(reply, CreatedOpt if isinstance(message, CreateOpt) else CanceledOpt)
        said = (reply.response.code, reply.response.request_id, reply.opt_id)
        assert said == (expected, message.request_id, message.opt_id)


async def offered(desk: Desk) -> Event:
    message = await desk.poll()
    assert isinstance(message, DistributeEvent)
    return message.events[0]


async def shown(clerk: Clerk) -> str:
    """The answer that holds, as the operator is shown it."""
    (ven,) = (await clerk.get("/vtn/events/peak"))["vens"]
    return str(ven["response"])
