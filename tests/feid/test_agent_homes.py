"""An event that names some of the homes: the box leaves the others alone, also where that changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from feid.agent import Agent
from openadr import Event, Target
from tests.feid.evening import START, evening, follow, held, play
from tests.feid.town import CYCLE, Town

HOMES = tuple(f"home-{number:02d}" for number in range(1, 11))


def for_homes(*homes: str) -> Event:
    """The evening's event for these homes alone."""
    return replace(evening(), target=Target(resource_id=homes))


async def told(place: Town, agent: Agent, event: Event) -> None:
    """Let the box follow another version from half a minute after the present mark on, up to the next."""
    follow(agent, event)
    await agent.cycle(place.clock() + timedelta(seconds=30))
    await play(place, agent, place.clock() + CYCLE)


async def controlled(place: Town) -> set[str]:
    """The homes of which the box holds a device."""
    return {device_id.partition("/")[0] for device_id in await held(place)}


async def test_a_home_that_the_event_does_not_name_is_let_go_and_taken_up_again(afternoon: Town) -> None:
    await afternoon.move_to(START - CYCLE)
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
        await play(afternoon, agent, START + CYCLE)
        everybody = await controlled(afternoon)
        gone = sorted(everybody)[0]
        await told(afternoon, agent, for_homes(*(home for home in HOMES if home != gone)))
        others = await controlled(afternoon)
        assert others
        assert gone not in others
        await told(afternoon, agent, for_homes(*HOMES))
        assert await controlled(afternoon) == everybody


@pytest.mark.long
async def test_an_event_for_homes_elsewhere_lets_all_go(afternoon: Town) -> None:
    await afternoon.move_to(START - CYCLE)
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
        await play(afternoon, agent, START + CYCLE)
        assert await held(afternoon) != {}
        await told(afternoon, agent, for_homes("home-99"))
        assert await held(afternoon) == {}
