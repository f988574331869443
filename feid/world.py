"""The simulated world: all homes of all nodes, step by step, with the schedules and, beside it, without any.

What happens is a function of seed, base load and commands with their intervals: no clock, no arrival time.
The run without commands is the counterfactual, so the truth about an event is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feid.baseload import DAY_S, QUARTER_S, SLOT_S, BaseLoad
from feid.devices import Command, Device, DeviceKind
from feid.neighbourhood import Day, Neighbourhood, local_day_of
from feid.physics import Flags, Floats
from feid.schedule import Schedule

LIVE_STEP_S = 60
HISTORY_STEP_S = 300
KEPT_MARKS = DAY_S // SLOT_S

_KINDS = tuple(DeviceKind)
_ROW = {kind: row for row, kind in enumerate(_KINDS)}
_RUNS = 2  # with the schedules, without them
_ACTUAL, _TRUTH = 0, 1

Energies = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mark:
    """All homes at one instant of the actual run; arrays (kind, home), in the order of `DeviceKind`."""

    power_kw: Floats
    available_kw: Floats
    soc_percent: Floats
    temperature_c: Floats
    plugged_in: Flags
    held_until_s: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Registers:
    """Quarter-hour registers from `start` on, (quarter, home): integers, whose remainders are carried on."""

    start: datetime
    energy_wh: Energies
    flexible_wh: Energies
    unscheduled_wh: Energies
    unscheduled_flexible_wh: Energies
    marks: NDArray[np.uint8]


class _Moment(NamedTuple):
    """What a `Mark` is made from, if anybody asks for it."""

    at_s: int
    outdoor_c: float
    power_kw: Floats
    usual_kw: Floats
    stored_kwh: Floats
    need_kwh: Floats
    wanted_kwh: Floats
    hours_left: Floats
    indoor_c: Floats
    tank_c: Floats
    held_until_s: NDArray[np.int64]

    def mark(self, hood: Neighbourhood) -> Mark:
        heat_kw, water_kw, rest_kw = self.usual_kw
        none, at_home = np.full(hood.homes, np.nan), self.hours_left > 0
        available = [
            hood.batteries.available_kw(self.stored_kwh, self.power_kw[0], rest_kw),
            hood.chargers.available_kw(self.need_kwh, self.hours_left),
            heat_kw * hood.heat_pumps.lasting_share(self.indoor_c, self.outdoor_c),
            water_kw * hood.water_heaters.lasting_share(self.tank_c),
        ]
        battery_soc = 100.0 * self.stored_kwh / hood.batteries.capacity_kwh
        car_soc = np.where(at_home, 100.0 * (1.0 - self.need_kwh / self.wanted_kwh), np.nan)
        return Mark(
            power_kw=self.power_kw,
            available_kw=np.stack(available),
            soc_percent=np.stack([battery_soc, car_soc, none, none]),
            temperature_c=np.stack([none, none, self.indoor_c, self.tank_c]),
            plugged_in=at_home,
            held_until_s=np.where(self.held_until_s > self.at_s, self.held_until_s, 0),
        )


class _Meters:
    """Energy meters of both runs: (quantity, run, home), closed each quarter hour."""

    def __init__(self, homes: int) -> None:
        self._kwh = np.zeros((2, _RUNS, homes))
        self._shown_wh = np.zeros((2, _RUNS, homes), np.int64)
        self._quality = np.zeros(homes, np.uint8)
        self.closed: list[tuple[Energies, NDArray[np.uint8]]] = []

    def count(self, home_kw: Floats, flexible_kw: Floats, quality: NDArray[np.uint8], hours: float) -> None:
        self._kwh[0] += home_kw * hours
        self._kwh[1] += flexible_kw * hours
        np.maximum(self._quality, quality, out=self._quality)

    def close(self) -> None:
        """End a quarter hour: whole Wh go into the register, the rest stays in the meter."""
        total_wh = np.floor(self._kwh * 1000.0 + 1e-6).astype(np.int64)
        self.closed.append((total_wh - self._shown_wh, self._quality))
        self._shown_wh = total_wh
        self._quality = np.zeros_like(self._quality)


class World:
    """Homes of some nodes from `start` on; `run_to` moves it on, everything else looks or schedules.

    Homes are numbered through: node 0 has homes 0 to `homes_per_node` - 1, and so on.
    """

    def __init__(
        self, neighbourhood: Neighbourhood, base: BaseLoad, start: datetime, homes_per_node: int
    ) -> None:
        start_s = int(start.timestamp())
        if start_s % QUARTER_S or start.microsecond:
            raise ValueError(f"start must be a whole quarter hour, got {start.isoformat()}")
        self.start = start
        self.homes_per_node = homes_per_node
        self._hood, self._base = neighbourhood, base
        self._now_s = start_s
        self._day: Day | None = None
        self._day_number = -1
        homes = neighbourhood.homes
        self.node_devices = self._name_devices()
        self._schedules = [Schedule(d.device_id for d in devices) for devices in self.node_devices]
        self._change_s: list[float] = [0.0] * len(self._schedules)
        self._held_kw = np.full((len(_KINDS), _RUNS, homes), np.nan)  # the second run is never told anything
        self._power_kw = np.zeros((len(_KINDS), _RUNS, homes))
        self._held_until_s = np.zeros((len(_KINDS), homes), np.int64)
        self._departure_s = np.zeros(homes)
        self._meters = _Meters(homes)
        self._marks: deque[_Moment] = deque(maxlen=KEPT_MARKS + 1)
        self._slot_kwh = np.zeros((len(_KINDS), homes))
        self._start_devices()

    def _name_devices(self) -> list[list[Device]]:
        nodes = self._hood.homes // self.homes_per_node
        return [
            [
                device
                for home in range(self.homes_per_node)
                for device in self._hood.devices_of(node * self.homes_per_node + home, f"home-{home + 1:02d}")
            ]
            for node in range(nodes)
        ]

    def _start_devices(self) -> None:
        """Everything at rest: batteries half full, rooms and tanks warm, no car at home."""
        hood, shape = self._hood, (_RUNS, self._hood.homes)
        self._battery_kwh = np.broadcast_to(0.5 * hood.batteries.capacity_kwh, shape).copy()
        self._need_kwh = np.zeros(shape)
        self._wanted_kwh = np.ones(hood.homes)
        self._indoor_c = np.broadcast_to(hood.heat_pumps.set_c, shape).copy()
        self._heating = np.ones(shape, np.bool_)
        self._tank_c = np.broadcast_to(hood.water_heaters.upper_c - 2.0, shape).copy()
        self._boiling = np.zeros(shape, np.bool_)
        self._usual_kw = np.zeros(
            (3, *shape)
        )  # lasting means: heat pump, water heater, home without flexible part

    @property
    def now(self) -> datetime:
        """Everything before this instant has happened."""
        return datetime.fromtimestamp(self._now_s, UTC)

    def run_to(self, until: datetime, step_s: int) -> bool:
        """Take one step if it ends at or before `until`; whether it was taken."""
        if self._now_s + step_s > until.timestamp():
            return False
        self._step(step_s)
        return True

    def schedule(self, node: int, commands: Sequence[Command]) -> list[Command]:
        """Replace a node's schedule, see `Schedule.replace`."""
        held = self._schedules[node].replace(commands, self.now)
        self._change_s[node] = 0.0
        return held

    def mark(self, at: datetime) -> Mark | None:
        """All homes as they were at an instant, None if that is not kept (any more, or yet)."""
        at_s = at.timestamp()
        return next((moment.mark(self._hood) for moment in self._marks if moment.at_s == at_s), None)

    def registers(self, start: datetime, end: datetime) -> Registers:
        """Closed registers of the quarter hours that start in [start, end)."""
        first = max(0, -(-(start - self.start) // timedelta(seconds=QUARTER_S)))
        last = max(first, -(-(end - self.start) // timedelta(seconds=QUARTER_S)))
        closed = self._meters.closed[first:last]
        wh = np.array([wh for wh, _ in closed], np.int64).reshape(-1, 2, _RUNS, self._hood.homes)
        marks = np.array([mark for _, mark in closed], np.uint8).reshape(-1, self._hood.homes)
        begin = self.start + first * timedelta(seconds=QUARTER_S)
        return Registers(begin, wh[:, 0, 0], wh[:, 1, 0], wh[:, 0, 1], wh[:, 1, 1], marks)

    def _step(self, step_s: int) -> None:
        if step_s == 0 or QUARTER_S % step_s or self._now_s % step_s:
            raise ValueError(f"a step of {step_s} s does not fit {self.now.isoformat()}")
        hours = step_s / 3600.0
        number, second = local_day_of(self._now_s, self._base.utc_offset_s)
        day = self._enter(number)
        slot = second // SLOT_S
        self._hold()
        self._arrive(day, second)
        outdoor_c = float(day.outdoor_c[slot])
        self._run_loads(outdoor_c, day.draws_kw[:, slot], hours)
        battery, car, heat, water = self._power_kw
        home_kw = self._base_kw[:, slot] + car + heat + water
        self._battery_kwh, battery[:] = self._hood.batteries.step(
            self._battery_kwh, home_kw, self._held_kw[0], second / 3600.0, hours
        )
        flexible_kw = self._flexible_kw(home_kw, outdoor_c, hours)
        self._meters.count(home_kw + battery, flexible_kw, self._base_marks[:, slot], hours)
        self._slot_kwh += self._power_kw[:, _ACTUAL] * hours
        self._now_s += step_s
        if self._now_s % SLOT_S == 0:
            self._hold()  # what begins or ends at this instant belongs to its mark
            self._keep_mark(outdoor_c)
        if self._now_s % QUARTER_S == 0:
            self._meters.close()

    def _enter(self, number: int) -> Day:
        """Behaviour and base load of a local day."""
        if self._day is None or number != self._day_number:
            self._day, self._day_number = self._hood.day(number), number
            self._base_kw, self._base_marks = self._base.day(number)
        return self._day

    def _arrive(self, day: Day, second: int) -> None:
        """Cars come home (at a mark of five minutes) and ask for energy; who left without asks no more."""
        if second % SLOT_S:
            return
        self._need_kwh[:, self._departure_s <= self._now_s] = 0.0
        come = (day.arrival_s == second) & (day.need_kwh > 0)
        if come.any():
            self._need_kwh[:, come] = day.need_kwh[come]
            self._wanted_kwh = np.where(come, day.need_kwh, self._wanted_kwh)
            self._departure_s[come] = (self._now_s - second) + day.departure_s[come]

    def _hold(self) -> None:
        """Bring what schedules hold up to date, where an entry begins or ends."""
        for node, schedule in enumerate(self._schedules):
            if self._now_s < self._change_s[node]:
                continue
            first = node * self.homes_per_node
            own = slice(first, first + self.homes_per_node)
            self._held_kw[:, _ACTUAL, own] = np.nan
            self._held_until_s = self._held_until_s.copy()
            self._held_until_s[:, own] = 0
            for command in schedule.in_force(self.now):
                home, kind = command.device_id.split("/")
                row, column = _ROW[DeviceKind(kind)], first + int(home.removeprefix("home-")) - 1
                self._held_kw[row, _ACTUAL, column] = command.power_kw
                self._held_until_s[row, column] = int(command.end.timestamp())
            change = schedule.next_change(self.now)
            self._change_s[node] = float("inf") if change is None else change.timestamp()

    def _run_loads(self, outdoor_c: float, draws_kw: Floats, hours: float) -> None:
        """Power of chargers, heat pumps and water heaters in this step."""
        hood, power = self._hood, self._power_kw
        _, car_cap, heat_cap, water_cap = self._held_kw
        self._need_kwh, power[1] = hood.chargers.step(self._need_kwh, self._hours_left(), car_cap, hours)
        self._indoor_c, self._heating, power[2] = hood.heat_pumps.step(
            self._indoor_c, self._heating, outdoor_c, heat_cap, hours
        )
        self._tank_c, self._boiling, power[3] = hood.water_heaters.step(
            self._tank_c, self._boiling, draws_kw, water_cap, hours
        )

    def _hours_left(self) -> Floats:
        return (self._departure_s - self._now_s) / 3600.0

    def _flexible_kw(self, home_kw: Floats, outdoor_c: float, hours: float) -> Floats:
        """Power that could be given up in this step; keeps the means that `available_kw` is made of."""
        hood = self._hood
        battery, car, heat, water = self._power_kw
        loads = (
            car * hood.chargers.lasting_share(self._need_kwh, self._hours_left())
            + heat * hood.heat_pumps.lasting_share(self._indoor_c, outdoor_c)
            + water * hood.water_heaters.lasting_share(self._tank_c)
        )
        rest = home_kw - loads
        for row, power, over_hours in ((0, heat, 1.0), (1, water, 3.0), (2, rest, 1.0)):
            self._usual_kw[row] += (power - self._usual_kw[row]) * (hours / over_hours)
        given = loads + hood.batteries.available_kw(self._battery_kwh, battery, rest)
        return np.minimum(
            given, home_kw + battery
        )  # a load that the battery carries anyway is not given twice

    def _keep_mark(self, outdoor_c: float) -> None:
        """Remember the actual run as it is now; the arrays are not changed in place afterwards."""
        self._marks.append(
            _Moment(
                at_s=self._now_s,
                outdoor_c=outdoor_c,
                power_kw=self._slot_kwh * (3600.0 / SLOT_S),
                usual_kw=self._usual_kw[:, _ACTUAL].copy(),
                stored_kwh=self._battery_kwh[_ACTUAL],
                need_kwh=self._need_kwh[_ACTUAL],
                wanted_kwh=self._wanted_kwh,
                hours_left=self._hours_left(),
                indoor_c=self._indoor_c[_ACTUAL],
                tank_c=self._tank_c[_ACTUAL],
                held_until_s=self._held_until_s,
            )
        )
        self._slot_kwh = np.zeros_like(self._slot_kwh)


def device_rows(devices: Sequence[Device], first_home: int) -> Mapping[str, tuple[int, int]]:
    """Where a node's devices stand in the arrays of a `Mark`: (kind, home)."""
    return {
        device.device_id: (_ROW[device.kind], first_home + int(device.home_id.removeprefix("home-")) - 1)
        for device in devices
    }
