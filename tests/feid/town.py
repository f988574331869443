"""A town for tests: the real simulator on its real socket, on a clock that moves only when the test says
so.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from feid.agent import Agent
from feid.control import grid_floor
from feid.drivers.simulated import Connection, SimulatedDriver
from feid.guard import Limits
from feid.scenario import Scenario
from feid.settings import DriverSettings, FeidSettings
from feid.simulate import serve
from feid.store import Store
from openadr import (
    ActivePeriod,
    Duration,
    Event,
    EventDescriptor,
    ItemBase,
    Signal,
    SignalInterval,
)
from openadr.enums import EventStatus, SignalType
from ven.settings import VenSettings

DAY = datetime(2026, 1, 20, tzinfo=UTC)
CYCLE = timedelta(minutes=5)
LIMITS = Limits(connection_capacity_kw=25.0)


class HandClock:
    """Time that stands still until it is moved; a sleeper wakes when its instant is reached."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._moved = asyncio.Event()

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + timedelta(seconds=seconds)
        while self.now < until:
            await self._moved.wait()

    def move_to(self, instant: datetime) -> None:
        self.now = instant
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


@dataclass
class Town:
    """The simulator's clock and socket, and what it knows to be true."""

    clock: HandClock
    socket: Path
    folder: Path

    async def move_to(self, instant: datetime) -> None:
        """Move the clock, and give back control when everything before that instant has happened."""
        self.clock.move_to(instant)
        driver = self.driver()
        await driver.states(grid_floor(instant))
        await driver.close()

    def driver(self, node: str = "node-1") -> SimulatedDriver:
        return SimulatedDriver(self.socket, node)

    def settings(self, node: str = "node-1") -> FeidSettings:
        ven = VenSettings(
            vtn_url="http://127.0.0.1:1",
            ven_name=node,
            state_path=self.folder / "ven.sqlite",
            insecure_dev=True,
        )
        return FeidSettings(
            node=node,
            state=self.folder / f"{node}.sqlite",
            driver=DriverSettings("simulated", self.socket),
            limits=LIMITS,
            ven=ven,
        )

    @asynccontextmanager
    async def box(self, node: str = "node-1") -> AsyncIterator[tuple[Agent, Store]]:
        """A box with the state that its file holds; leaving it is a kill: nothing is said to the devices."""
        settings, driver = self.settings(node), self.driver(node)
        store = Store(settings.state)
        try:
            yield Agent(settings, driver, store, await driver.devices()), store
        finally:
            store.close()
            await driver.close()

    async def reduction_kw(self, start: datetime, end: datetime, node: str = "node-1") -> list[float]:
        """What the commands have taken off the load, mean kW of each quarter hour."""
        connection = Connection(self.socket)
        truth = await connection.ask("truth", start=start.isoformat(), end=end.isoformat())
        await connection.close()
        of_node = truth["nodes"][node]
        pairs = zip(of_node["counterfactual_wh"], of_node["actual_wh"], strict=True)
        return [(without - with_) / 250 for without, with_ in pairs]


@asynccontextmanager
async def town(
    folder: Path, seed: int = 1, start: datetime = DAY, days_of_history: int = 10
) -> AsyncIterator[Town]:
    """A town of one node, of ten homes, with some days of history before `start`."""
    clock, stop = HandClock(start), asyncio.Event()
    scenario = Scenario(
        socket=folder / "sim.sock",
        seed=seed,
        start=start,
        days_of_history=days_of_history,
        nodes=1,
        homes_per_node=10,
    )
    serving = asyncio.create_task(serve(scenario, clock, clock.sleep, stop))
    while not scenario.socket.exists():
        if serving.done():
            await serving
        await asyncio.sleep(0)
    try:
        yield Town(clock, scenario.socket, folder)
    finally:
        stop.set()
        clock.move_to(clock.now)
        with suppress(asyncio.CancelledError):
            await serving


def event(
    start: datetime,
    value: float,
    *,
    hours: float = 2.0,
    name: str = "LOAD_DISPATCH",
    kind: SignalType = SignalType.DELTA,
    event_id: str = "e-1",
    values: tuple[float, ...] = (),
    change: Callable[[Signal], Signal] = lambda signal: signal,
    test: str | None = None,
) -> Event:
    """An event of one signal; `values` splits it into as many equal intervals."""
    parts = values or (value,)
    length = Duration.of(timedelta(hours=hours) / len(parts))
    signal = Signal(
        intervals=tuple(
            SignalInterval(duration=length, uid=str(n), payload_float=part) for n, part in enumerate(parts)
        ),
        signal_name=name,
        signal_type=kind,
        signal_id="s",
        item_base=None if name.upper() == "SIMPLE" else ItemBase.power(),
    )
    return Event(
        descriptor=EventDescriptor(
            event_id=event_id,
            market_context="http://example/programme",
            created_date_time=start - timedelta(hours=2),
            event_status=EventStatus.FAR,
            test_event=test,
        ),
        active_period=ActivePeriod(
            dtstart=start, duration=Duration.of(timedelta(hours=hours)), notification=Duration(0)
        ),
        signals=(change(signal),),
    )
