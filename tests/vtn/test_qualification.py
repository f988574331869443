"""Events qualified by CreateOpt: for all resources or for some, and what may still change that."""

from __future__ import annotations

from datetime import timedelta

import pytest

from openadr import CreatedOpt, DistributeEvent, Event, Response, Target
from openadr.enums import OptType, ResponseRequired
from tests.vtn.desk import ALICE, Desk, make_event
from tests.vtn.test_opt import qualification as qualify
from vtn import event, opt, qualification

IN, OUT = OptType.OPT_IN, OptType.OPT_OUT
WHOLE = Target()
BATTERY, CAR = ("resource_id", "battery"), ("resource_id", "car")


async def told(desk: Desk, target: Target = WHOLE, **more: object) -> Event:
    """An event that the VEN has received."""
    await desk.settle_in()
    await desk.publish(make_event(target=target, **more))
    message = await desk.poll()
    assert isinstance(message, DistributeEvent)
    return message.events[0]


def some(desk: Desk, *resources: str) -> Target:
    return Target(ven_id=(desk.ids[ALICE],), resource_id=resources)


async def say(
    desk: Desk, opt_type: OptType, opt_id: str, target: Target | None = None, **more: object
) -> str:
    chosen = {"target": target} if target is not None else {}
    reply = await desk.say(qualify(desk.ids[ALICE], opt_type, opt_id=opt_id, **chosen, **more))
    assert isinstance(reply, CreatedOpt)
    return reply.response.code


async def state(desk: Desk) -> event.EventState:
    async with desk.db.read() as conn:
        (found,) = await event.event_states(conn, "e1")
    return found


async def said(desk: Desk) -> qualification.Qualification:
    async with desk.db.read() as conn:
        return await qualification.qualification(conn, desk.ids[ALICE], "e1")


@pytest.mark.criterion("OPT-11")
@pytest.mark.parametrize("target", ["none", "ven-id"])
async def test_without_targets_or_with_the_ven_id_alone_it_speaks_for_the_whole_event(
    desk: Desk, target: str
) -> None:
    await told(desk, Target(resource_id=("battery", "car")))
    assert await say(desk, OUT, "o1", Target() if target == "none" else some(desk)) == "200"
    assert (await state(desk)).opt == OUT
    assert (await said(desk)).whole == OUT


@pytest.mark.criterion("OPT-11")
async def test_with_targets_it_speaks_for_those_alone(desk: Desk) -> None:
    item = await told(desk, Target(resource_id=("battery", "car")))
    await desk.answer(item, IN)
    assert await say(desk, OUT, "o1", some(desk, "battery")) == "200"
    assert (await state(desk)).opt == IN
    assert (await said(desk)).parts == {BATTERY: OUT}
    assert await say(desk, OUT, "o2", some(desk, "car")) == "200"
    assert (await state(desk)).opt == OUT  # nothing of it is left
    async with desk.db.read() as conn:
        entries = await opt.opts(conn, "e1")
    assert [(entry.whole, entry.resources, entry.reason) for entry in entries] == [
        (True, (), None),
        (False, ("battery",), "economic"),
        (False, ("car",), "economic"),
    ]


@pytest.mark.criterion("OPT-13", "EVT-37")
async def test_what_every_resource_has_said_no_created_event_changes(desk: Desk) -> None:
    item = await told(desk, Target(resource_id=("battery", "car")))
    await say(desk, OUT, "o1", some(desk, "battery"))
    await desk.answer(item, IN)
    assert (await state(desk)).opt == IN  # the car was free
    await say(desk, OUT, "o2", some(desk, "car"))
    await desk.answer(item, OUT)
    await desk.answer(item, IN)
    assert (await state(desk)).opt == OUT
    assert (await said(desk)).parts == {BATTERY: OUT, CAR: OUT}
    await say(desk, IN, "o3", some(desk, "car"))
    assert (await state(desk)).opt == IN  # some of it takes part again
    assert (await said(desk)).parts == {BATTERY: OUT, CAR: IN}


@pytest.mark.criterion("OPT-13")
async def test_a_later_opt_for_the_whole_event_speaks_over_those_for_parts(desk: Desk) -> None:
    await told(desk)
    await say(desk, IN, "o1", some(desk, "battery"))
    await say(desk, OUT, "o2")
    assert await said(desk) == qualification.Qualification(OUT, {})


@pytest.mark.criterion("OPT-13")
@pytest.mark.parametrize("change", ["modify", "cancel"])
async def test_a_new_version_of_the_event_leaves_what_was_qualified(desk: Desk, change: str) -> None:
    await told(desk)
    await say(desk, OUT, "o1")
    if change == "modify":
        await desk.modify(make_event(length=timedelta(hours=2)))
    else:
        await desk.cancel("e1")
    message = await desk.poll()
    assert isinstance(message, DistributeEvent)
    now = await state(desk)
    assert (now.modification_number, now.opt) == (1, OUT)
    await desk.answer(message.events[0], IN)
    assert (await state(desk)).opt == OUT
    assert isinstance(await desk.poll(), Response)


async def test_a_new_version_of_an_event_that_was_not_qualified_is_open_again(desk: Desk) -> None:
    item = await told(desk)
    await desk.answer(item, IN)
    await desk.modify(make_event(length=timedelta(hours=2)))
    assert (await state(desk)).opt is None


@pytest.mark.criterion("OPT-11")
@pytest.mark.parametrize(
    ("addressed", "spoken_for", "code"),
    [
        (Target(resource_id=("battery",)), Target(resource_id=("car",)), "462"),
        (Target(resource_id=("battery",)), Target(resource_id=("battery", "car")), "462"),
        (Target(resource_id=("battery",)), Target(group_id=("g1",)), "462"),
        (Target(group_id=("g1",)), Target(group_id=("g2",)), "462"),
        (Target(group_id=("g1",)), Target(resource_id=("car",)), "200"),
        (Target(group_id=("g1",), resource_id=("battery",)), Target(resource_id=("car",)), "200"),
        (Target(), Target(resource_id=("car",)), "200"),
    ],
    ids=["other", "one-more", "group-for-resource", "other-group", "in-group", "group-or-resource", "whole"],
)
async def test_a_target_outside_the_event_is_refused(
    desk: Desk, addressed: Target, spoken_for: Target, code: str
) -> None:
    await told(desk, addressed)
    assert await say(desk, OUT, "o1", spoken_for) == code
    assert bool((await said(desk)).parts) is (code == "200")


async def test_opt_12_an_event_that_wants_no_response_cannot_be_qualified(desk: Desk) -> None:
    await told(desk, response_required=ResponseRequired.NEVER)
    assert await say(desk, OUT, "o1") == "451"
    assert (await state(desk)).opt is None


@pytest.mark.criterion("OPT-12", who="vtn")
async def test_whether_it_wants_one_is_told_by_its_newest_version(desk: Desk) -> None:
    await told(desk, response_required=ResponseRequired.NEVER)
    await desk.modify(make_event(response_required=ResponseRequired.ALWAYS))
    assert await say(desk, OUT, "o1", modification_number=1) == "200"


@pytest.mark.parametrize("more", [{"market_context": "http://market.test"}, {"availability": None}])
async def test_a_qualification_is_no_schedule_as_well(desk: Desk, more: dict[str, object]) -> None:
    item = await told(desk)
    if "availability" in more:
        more = {"availability": (item.active_period,)}
    assert await say(desk, OUT, "o1", **more) == "459"


@pytest.mark.criterion("OPT-09", who="vtn")
async def test_a_device_class_narrows_a_qualification(desk: Desk) -> None:
    item = await told(desk)
    await desk.answer(item, IN)
    assert await say(desk, OUT, "o1", device_class=Target(end_device_asset=("EVSE",))) == "200"
    assert (await state(desk)).opt == IN
    assert (await said(desk)).parts == {("device_class", "EVSE"): OUT}


async def test_opts_for_one_event_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qualification, "LIMIT", 2)
    await told(desk)
    codes = [await say(desk, OUT, f"o{number}") for number in range(3)]
    assert codes == ["200", "200", "469"]
