"""The box at work: one loop that meters, forecasts and controls, and beside it the VEN client.

Each cycle of five minutes reads everything anew and keeps nothing that is not in the store, so a killed box
goes on where it was. What it sends upward depends on intervals, never on when it got to run.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from feid.control import GRID, grid_floor, plan_cycle
from feid.devices import Command, Device, Driver, DriverError
from feid.errors import HistoryTooShortError
from feid.facility import NodeFacility
from feid.flexibility import LEARNED_FROM, Models, hour_floor, learn_models, make_offer
from feid.freeze import freeze_at, frozen_state
from feid.guard import clamp
from feid.metering import Metering, quarter_floor
from feid.settings import FeidSettings
from feid.site import SiteState
from feid.store import Store
from feid.voice import Desk, listen
from openadr import Event
from openadr.timeline import Timeline
from ven.event import followed

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]
Sleep = Callable[[float], Awaitable[None]]

HOLD_AHEAD = timedelta(minutes=30)
"""A dead box leaves its devices in normal operation after this."""
_HELD_SINCE = "held_since"
_MISSING_AGAIN = timedelta(minutes=1)  # a meter that has not closed its register yet is asked again soon
_ALL_OF_TIME = timedelta(days=1)


class Agent:
    """One node's metering, forecast and control; `cycle` is one round of all three."""

    def __init__(
        self, settings: FeidSettings, driver: Driver, store: Store, devices: Sequence[Device]
    ) -> None:
        self._settings = settings
        self._driver = driver
        self._store = store
        self._devices = tuple(devices)
        self._timeline = Timeline.from_events(())
        self._models: Models | None = None
        homes = tuple(settings.homes) or tuple(sorted({d.home_id for d in devices}))
        self.metering = Metering(store, driver, settings.limits, homes)
        self.facility = NodeFacility(store, settings.limits, devices, homes, self._follow)
        self.metering.look_back(settings.history)
        self.changed = asyncio.Event()
        """Set when there is something new to follow, so that the next cycle need not wait for its mark."""

    def _follow(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.changed.set()

    async def cycle(self, now: datetime) -> None:
        """One round at `now`; what meters or devices refuse is logged and tried again in the next round."""
        self.changed.clear()
        try:
            if self.metering.complete_until() != quarter_floor(now):
                await self.metering.collect(now, self._settings.history)
            self._offer(now)
            await self._control(now)
        except DriverError as error:
            log.warning("meters and devices: %s; trying again", error)

    def _offer(self, now: datetime) -> None:
        """Issue the hour's offer once all registers before the hour are kept: it must not depend on when."""
        issued = hour_floor(now)
        known = self.metering.complete_until()
        if known is None or known < issued or self._store.last_issued(issued) == issued:
            return
        midnight = issued.replace(hour=0)
        try:
            if self._models is None or self._models.midnight != midnight:
                self._models = learn_models(
                    self._store.node_quarters(midnight - LEARNED_FROM, midnight), midnight
                )
                self._store.purge(now)
            past = self._store.node_quarters(issued - LEARNED_FROM, issued)
            self._store.keep_offer(issued, make_offer(self._models, past, issued))
        except HistoryTooShortError as error:
            log.warning("no offer at %s: %s", issued.isoformat(), error)

    async def _control(self, now: datetime) -> None:
        """Send the next half hour of the plan, or nothing at all if there is none and nothing is held."""
        commands = await self._planned(now)
        held_since = self._store.mark(_HELD_SINCE)
        if not commands:
            if held_since is not None:
                await self._driver.schedule([])
                self._store.keep_mark(_HELD_SINCE, None)
            return
        mark = grid_floor(now)
        states = tuple(await self._driver.states(mark))
        begun = min(held_since or mark, mark)
        allowed = clamp(
            commands, self._settings.limits, SiteState(mark, self._devices, states, held_since=begun)
        )
        if held_since is None:
            self._store.keep_mark(_HELD_SINCE, mark)
        await self._driver.schedule(allowed)

    async def _planned(self, now: datetime) -> list[Command]:
        """The plan from the mark before now on, without regard to limits, merged where nothing changes."""
        at, horizon = grid_floor(now), grid_floor(now) + HOLD_AHEAD
        commands: list[Command] = []
        while at < horizon:
            change = self._timeline.next_change(at)
            until = min(grid_floor(at) + GRID, at + _ALL_OF_TIME if change is None else change)
            setpoint = self._timeline.at(at)
            if setpoint is not None and now >= freeze_at(setpoint.event):
                meant = setpoint.event.target.resources_alone  # the homes that take part
                state = (await self._frozen(setpoint.event)).of_homes(meant)
                for command in plan_cycle(setpoint, state, self._settings.limits, at):
                    commands.append(Command(command.device_id, at, min(command.end, until), command.power_kw))
            at = until
        return _merged(commands)

    async def _frozen(self, event: Event) -> SiteState:
        """The state that the event's plan is made from: taken once, kept before it is used."""
        at = freeze_at(event)
        kept = self._store.frozen(event.event_id, at)
        if kept is not None:
            return SiteState.from_json(kept)
        state = await frozen_state(event, self._driver, self._store, self._devices)
        self._store.freeze(event.event_id, at, event.end, state.to_json())
        return SiteState.from_json(self._store.frozen(event.event_id, at))


def _merged(commands: Sequence[Command]) -> list[Command]:
    """Entries that follow each other at the same power as one."""
    merged: list[Command] = []
    for command in sorted(commands, key=lambda c: (c.device_id, c.start)):
        last = merged[-1] if merged else None
        if (
            last is not None
            and (last.device_id, last.power_kw) == (command.device_id, command.power_kw)
            and last.end == command.start
        ):
            merged[-1] = Command(last.device_id, last.start, command.end, last.power_kw)
        else:
            merged.append(command)
    return merged


async def run(
    settings: FeidSettings, driver: Driver, clock: Clock, sleep: Sleep, stop: asyncio.Event
) -> None:
    """Run one box until `stop` is set: metering, forecast and control, and the VEN client beside them.

    Raises SettingsError, OSError, sqlite3.Error or ven.errors.VenError if it cannot begin, or can no longer
    write.
    """
    from ven import client, tls  # noqa: PLC0415  # aiohttp and TLS are loaded when the box goes to the network
    from ven.store import Store as VenStore  # noqa: PLC0415

    tls.check(settings.ven)
    store = Store(settings.state)
    memory = VenStore.open(settings.ven.state_path)
    try:
        devices = await _first(driver, clock, sleep, stop)
        if stop.is_set():
            return
        agent = Agent(settings, driver, store, devices)
        # A box that starts again in an event must not let go of what its devices hold until the VEN runs.
        known = followed(memory.load().events.values())
        agent.facility.follow(Timeline.from_events(known, settings.ven.overlap))
        await agent.cycle(clock())
        desk = Desk(clock, settings.audited)
        parts = [
            _cycles(agent, clock, sleep, stop),
            client.run(settings.ven, agent.facility, memory, clock, sleep, stop, speak=desk.hear),
        ]
        if settings.socket is not None:
            parts.append(listen(settings.socket, desk))
        await _first_to_end(*parts)
    finally:
        memory.close()
        store.close()
        await driver.close()


async def _first(driver: Driver, clock: Clock, sleep: Sleep, stop: asyncio.Event) -> list[Device]:
    """The node's devices, as soon as they answer."""
    while not stop.is_set():
        try:
            return await driver.devices()
        except DriverError as error:
            log.warning("devices: %s; trying again", error)
        await _until(sleep, 10.0, stop)
    return []


async def _cycles(agent: Agent, clock: Clock, sleep: Sleep, stop: asyncio.Event) -> None:
    while not stop.is_set():
        now = clock()
        pause = grid_floor(now) + GRID - now
        if agent.metering.complete_until() != quarter_floor(now):
            pause = min(pause, _MISSING_AGAIN)
        await _until(sleep, pause.total_seconds(), stop, agent.changed)
        if not stop.is_set():
            await agent.cycle(clock())


async def _first_to_end(*parts: Coroutine[None, None, None]) -> None:
    """Run the parts until one ends or fails, then end the others; the failure is raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _until(sleep: Sleep, seconds: float, *events: asyncio.Event) -> None:
    """Wait so many seconds of the clock, or until one of the events is set."""
    waits = [
        asyncio.ensure_future(sleep(seconds)),
        *(asyncio.ensure_future(event.wait()) for event in events),
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
            with suppress(asyncio.CancelledError):
                await wait
