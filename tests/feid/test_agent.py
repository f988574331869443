"""The box at work in an event, on real simulated homes: what it does, also after it was killed."""

from datetime import datetime, timedelta
from pathlib import Path

from feid.agent import HOLD_AHEAD
from feid.freeze import freeze_at
from tests.feid.evening import AFTERNOON, ASKED_KW, END, START, evening, follow, held, play
from tests.feid.town import CYCLE, Town, event, town


async def undisturbed(folder: Path, until: datetime = END) -> list[float]:
    async with town(folder, start=AFTERNOON) as place, place.box() as (agent, _):
        follow(agent, evening())
        await play(place, agent, until)
        return await place.reduction_kw(START, END)


async def test_what_is_delivered_is_near_what_is_asked(tmp_path: Path) -> None:
    delivered = await undisturbed(tmp_path)
    assert 0.75 * ASKED_KW < sum(delivered) / len(delivered) < 1.25 * ASKED_KW


async def test_a_box_killed_in_the_event_goes_on_with_the_same_plan(afternoon: Town, tmp_path: Path) -> None:
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
        await play(afternoon, agent, START + timedelta(minutes=35))
    await afternoon.move_to(START + timedelta(minutes=52, seconds=30))
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
        await agent.cycle(afternoon.clock())
        await afternoon.move_to(START + timedelta(minutes=55))
        await play(afternoon, agent, END)
    (tmp_path / "calm").mkdir()
    assert await afternoon.reduction_kw(START, END) == await undisturbed(tmp_path / "calm")


async def test_a_box_whose_memory_is_lost_in_the_event_makes_the_same_plan(
    afternoon: Town, tmp_path: Path
) -> None:
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
        await play(afternoon, agent, START + timedelta(minutes=10))
    (tmp_path / "node-1.sqlite").write_bytes(b"what was here is gone" * 300)
    async with afternoon.box() as (agent, store):
        assert store.moved_aside is not None
        follow(agent, evening())
        await agent.cycle(afternoon.clock())
        await play(afternoon, agent, END)
    (tmp_path / "calm").mkdir()
    assert await afternoon.reduction_kw(START, END) == await undisturbed(tmp_path / "calm")


async def test_devices_of_a_dead_box_are_in_normal_operation_half_an_hour_later(afternoon: Town) -> None:
    await afternoon.move_to(START - CYCLE)
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
        await play(afternoon, agent, START)
    await afternoon.move_to(START + HOLD_AHEAD - CYCLE)
    assert set((await held(afternoon)).values()) == {START + HOLD_AHEAD}
    await afternoon.move_to(START + HOLD_AHEAD)
    assert await held(afternoon) == {}


async def test_nothing_is_held_before_and_after_the_event(afternoon: Town) -> None:
    await afternoon.move_to(START - timedelta(minutes=40))
    async with afternoon.box() as (agent, store):
        follow(agent, evening())
        await play(afternoon, agent, START - CYCLE)
        assert await held(afternoon) == {}
        await play(afternoon, agent, END - CYCLE)
        assert set((await held(afternoon)).values()) == {END}
        await play(afternoon, agent, END)
        assert await held(afternoon) == {}
        assert store.mark("held_since") is None


async def test_a_cancelled_event_lets_the_devices_go_at_once(afternoon: Town) -> None:
    await afternoon.move_to(START - CYCLE)
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
        await play(afternoon, agent, START + CYCLE)
        assert await held(afternoon) != {}
        follow(agent)
        assert agent.changed.is_set()
        await agent.cycle(afternoon.clock() + timedelta(seconds=30))
        await afternoon.move_to(START + 2 * CYCLE)
        assert await held(afternoon) == {}


async def test_an_event_that_ended_while_the_box_was_down_is_not_followed(place: Town) -> None:
    await place.move_to(END + CYCLE)
    async with place.box() as (agent, _):
        follow(agent, evening())
        await agent.cycle(place.clock())
        await place.move_to(END + 2 * CYCLE)
        assert await held(place) == {}


async def test_an_event_known_in_advance_is_followed_with_nobody_to_ask(afternoon: Town) -> None:
    await afternoon.move_to(START - timedelta(minutes=55))
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
    await afternoon.move_to(START - timedelta(minutes=20))
    async with afternoon.box() as (agent, _):
        follow(agent, evening())  # as the VEN's own store says, whose VTN is out of reach
        await play(afternoon, agent, START)
        assert await held(afternoon) != {}


async def test_two_events_in_a_row_have_a_plan_each(afternoon: Town) -> None:
    half = timedelta(minutes=30)
    first = event(START, -3000.0, hours=0.5, event_id="first")
    second = event(START + half, -9000.0, hours=0.5, event_id="second")
    await afternoon.move_to(START - 2 * CYCLE)
    async with afternoon.box() as (agent, store):
        follow(agent, first, second)
        await play(afternoon, agent, START + 2 * half)
        assert store.frozen("first", freeze_at(first)) is not None
        assert store.frozen("second", freeze_at(second)) is not None
    delivered = await afternoon.reduction_kw(START, START + 2 * half)
    assert sum(delivered[2:]) > 1.5 * sum(delivered[:2])
