"""The event of an evening that a box in a town follows, and what tests do with such a box."""

from datetime import datetime, timedelta

from feid.agent import Agent
from openadr import Event
from openadr.timeline import Timeline
from tests.feid.town import CYCLE, DAY, Town, event

START = DAY + timedelta(hours=17)
END = START + timedelta(hours=2)
AFTERNOON = START - timedelta(hours=1)
ASKED_KW = 8.0


def evening(kw: float = ASKED_KW, start: datetime = START, event_id: str = "e-1") -> Event:
    return event(start, -1000.0 * kw, event_id=event_id)


def follow(agent: Agent, *events: Event) -> None:
    agent.facility.follow(Timeline.from_events(events))


async def play(place: Town, agent: Agent, until: datetime) -> None:
    """Cycles at every five-minute mark up to an instant."""
    while place.clock() < until:
        await place.move_to(place.clock() + CYCLE)
        await agent.cycle(place.clock())


async def held(place: Town) -> dict[str, datetime]:
    """The devices that are held at present, and until when."""
    driver = place.driver()
    states = await driver.states(place.clock())
    await driver.close()
    return {state.device_id: state.held_until for state in states if state.held_until is not None}
