"""What the devices do in an event: a plan for the whole of it, made from a frozen state, always the same.

The plan aims at the reduction that was asked for, not at the most that is possible: what is delivered
beyond the request is paid to nobody and costs comfort. Batteries come first, because what they give is
known; loads are paused in order of how much they are expected to give, until the expected sum meets the
request; batteries then give the rest, spread so that their energy lasts to the end. Nothing here looks at a
clock or at what happened since.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from math import atanh, exp, isfinite

from feid.devices import Command, Device, DeviceKind, DeviceState
from feid.guard import Limits
from feid.site import QUARTER, SiteState, UsualBattery
from openadr import Event, Signal
from openadr.enums import SignalType
from openadr.timeline import Setpoint

GRID = timedelta(minutes=5)
SIMPLE_SHARE = {0: 0.0, 1: 0.3, 2: 0.6, 3: 1.0}
"""Part of what can be given that a SIMPLE level asks for, where nothing more exact is asked."""

_SOC_MARGIN_PERCENT = (
    2.0  # the state is frozen a quarter of an hour before the start; until then it may change
)
_FORGET = timedelta(minutes=90)  # how long what a home can give now tells more than what is usual
_FIRM = 0.8  # part of its home's load that a battery can be counted on for: no minute is like the mean
_ALL_OUT = 1.2  # times that is aimed at where everything else does not suffice
_TINY_KW = 0.05
_SURE = {DeviceKind.HEAT_PUMP: 0, DeviceKind.EV_CHARGER: 1, DeviceKind.WATER_HEATER: 2}
"""Loads in the order in which they are paused: a heat pump runs on, a car that is there goes on charging."""


@dataclass(frozen=True, slots=True)
class _Battery:
    """A battery over the event: kW for each step."""

    device: Device
    normal_kw: list[float]
    """What its own control would do."""
    home_kw: list[float]
    """What its home takes beside what can be paused: it can give no more."""
    most_kw: list[float]
    """The reduction that it can be counted on for, by its power and its home."""
    lasting_kw: float
    """The discharge that its energy lasts for."""

    def power_kw(self, step: int, reduction_kw: float) -> float:
        """The power at which it is expected to give a reduction.

        The home's load varies, and where it is below the discharge the rest is not given: of a discharge of
        u times the mean load, about tanh(u) is.
        """
        give_kw, home_kw = reduction_kw - self.normal_kw[step], self.home_kw[step]
        if give_kw > 0 and home_kw > 0:
            give_kw = home_kw * atanh(min(give_kw / home_kw, _FIRM * _ALL_OUT))
        return round(max(-give_kw, self.device.min_power_kw, -self.lasting_kw), 3)


@dataclass(frozen=True, slots=True)
class _Load:
    """A load over the event: the reduction that pausing it is expected to give, kW for each step."""

    device: Device
    sureness: int
    expected_kw: list[float]

    @property
    def is_car(self) -> bool:
        """Whether a cap above zero gives just that much less reduction: a car takes what it may."""
        return self.device.kind is DeviceKind.EV_CHARGER


def grid_floor(at: datetime) -> datetime:
    """The five-minute mark at or before an instant."""
    return at - timedelta(minutes=at.minute % 5, seconds=at.second, microseconds=at.microsecond)


def plan_cycle(setpoint: Setpoint | None, state: SiteState, limits: Limits, now: datetime) -> list[Command]:
    """What the devices do from `now` to the next five-minute mark, by device; empty without a setpoint."""
    if setpoint is None:
        return []
    step = (grid_floor(now) - grid_floor(setpoint.event.dtstart)) // GRID
    plan = plan_event(setpoint.event, state, limits)
    if not 0 <= step < len(plan):
        return []
    end = grid_floor(now) + GRID
    if setpoint.event.end is not None:
        end = min(end, setpoint.event.end)
    return [Command(device_id, now, end, power_kw) for device_id, power_kw in plan[step]]


@lru_cache(maxsize=8)
def plan_event(event: Event, state: SiteState, limits: Limits) -> tuple[tuple[tuple[str, float], ...], ...]:
    """For each five-minute step of the event, from its first on: devices and powers in kW."""
    marks = _marks(event, limits)
    target_kw = [
        requested_kw(event, max(mark, event.dtstart), _can_give(state, mark), _load(state, mark))
        for mark in marks
    ]
    hours = sum(kw > _TINY_KW for kw in target_kw) * (GRID / timedelta(hours=1))
    batteries, loads = _batteries(state, limits, marks, hours), _loads(state, marks)
    paused: list[_Load] = []
    plan: list[tuple[tuple[str, float], ...]] = []
    for step, wanted_kw in enumerate(target_kw):
        if wanted_kw <= _TINY_KW:
            plan.append(())
            continue
        paused += _choose([load for load in loads if load not in paused], paused, batteries, step, wanted_kw)
        plan.append(_powers(paused, batteries, step, wanted_kw))
    return tuple(plan)


def requested_kw(event: Event, at: datetime, can_give_kw: float, load_kw: float) -> float:
    """The reduction that an event asks for at an instant, in kW, never negative.

    A LOAD_DISPATCH of type delta says it directly (negative: reduce), one of type setpoint against the
    expected load, SIMPLE as a part of what can be given. A value that is no finite number asks for nothing.
    """
    signals = {(s.signal_name, s.signal_type): s for s in event.signals}
    if (delta := signals.get(("LOAD_DISPATCH", SignalType.DELTA))) is not None:
        return max(0.0, -_value(event, delta, at) * _to_kw(delta))
    if (wanted := signals.get(("LOAD_DISPATCH", SignalType.SETPOINT))) is not None:
        return max(0.0, load_kw - _value(event, wanted, at) * _to_kw(wanted))
    for (name, kind), signal in signals.items():
        if name.upper() == "SIMPLE" and kind is SignalType.LEVEL:
            return SIMPLE_SHARE.get(int(_value(event, signal, at)), 0.0) * can_give_kw
    return 0.0


def _value(event: Event, signal: Signal, at: datetime) -> float:
    """A signal's value at an instant; after its last interval, the last (duration 0: open end)."""
    start, value = event.dtstart, 0.0
    for interval in signal.intervals:
        value = interval.payload_float
        if interval.duration is None or not interval.duration:
            break
        start = interval.duration.after(start)
        if at < start:
            break
    return value if isfinite(value) else 0.0


def _to_kw(signal: Signal) -> float:
    scale = signal.item_base.si_scale_code if signal.item_base is not None else None
    return (scale.factor if scale is not None else 1.0) / 1000


def _marks(event: Event, limits: Limits) -> list[datetime]:
    longest = event.dtstart + timedelta(hours=limits.max_event_hours)
    end = longest if event.end is None else min(event.end, longest)
    first = grid_floor(event.dtstart)
    return [first + GRID * step for step in range(-(-(end - first) // GRID))]


def _usual(values: tuple[float, ...], state: SiteState, mark: datetime) -> float:
    """The usual value at a mark; beyond what was frozen, the last."""
    return values[min(max(0, (mark - state.at) // QUARTER), len(values) - 1)] if values else 0.0


def _can_give(state: SiteState, mark: datetime) -> float:
    """What the node is expected to be able to give at a mark, in kW."""
    return sum(_home_can_give(state, home.home_id, mark) for home in state.homes)


def _home_can_give(state: SiteState, home_id: str, mark: datetime) -> float:
    """What is usual, corrected by how much more or less the home can give now; the correction fades."""
    home = next((h for h in state.homes if h.home_id == home_id), None)
    now_kw = sum(s.available_kw for d, s in state.pairs().values() if d.home_id == home_id)
    if home is None:
        return now_kw
    usual_kw, usual_now_kw = _usual(home.flexible_kw, state, mark), _usual(home.flexible_kw, state, state.at)
    return max(0.0, usual_kw + (now_kw - usual_now_kw) * _fade(state, mark))


def _fade(state: SiteState, mark: datetime) -> float:
    return exp(-max(timedelta(0), mark - state.at) / _FORGET)


def _load(state: SiteState, mark: datetime) -> float:
    return sum(_usual(home.load_kw, state, mark) for home in state.homes)


def _loads(state: SiteState, marks: list[datetime]) -> list[_Load]:
    """Loads that can be paused, the surest first, then those that give most."""
    made = []
    for device, doing in state.pairs().values():
        if device.kind is DeviceKind.BATTERY:
            continue
        if device.kind is DeviceKind.EV_CHARGER:
            load = _car(device, doing, state, marks)
        else:
            load = _Load(device, _SURE[device.kind], [doing.available_kw] * len(marks))
        made.append(load)
    return sorted(made, key=lambda x: (x.sureness, -sum(x.expected_kw), x.device.device_id))


def _car(device: Device, doing: DeviceState, state: SiteState, marks: list[datetime]) -> _Load:
    """A car that charges goes on at full power until it has what it wants; one that is away comes home as
    usual.
    """
    if doing.plugged_in and doing.available_kw > _TINY_KW:
        wanted_kwh = 2.0 * doing.available_kw  # that is spread over the next two hours
        if doing.available_kw > 0.95 * device.max_power_kw and doing.soc_percent is not None:
            wanted_kwh = max(wanted_kwh, (1 - doing.soc_percent / 100) * device.capacity_kwh)
        until = state.at + timedelta(hours=wanted_kwh / device.max_power_kw)
        expected = [device.max_power_kw * min(1.0, max(0.0, (until - mark) / GRID)) for mark in marks]
        return _Load(device, _SURE[device.kind], expected)
    of_home = [(d, s) for d, s in state.pairs().values() if d.home_id == device.home_id]
    others_kw = sum(could_give_kw(s) if d.kind is DeviceKind.BATTERY else s.available_kw for d, s in of_home)
    usual = next((home.flexible_kw for home in state.homes if home.home_id == device.home_id), ())
    expected = [
        0.0
        if doing.plugged_in
        else min(device.max_power_kw, max(0.0, _usual(usual, state, mark) - others_kw))
        for mark in marks
    ]
    return _Load(device, max(_SURE.values()) + 1, expected)


def could_give_kw(battery: DeviceState) -> float:
    """The discharge that a battery could keep up; what is available is that beside what it does already."""
    return max(0.0, battery.available_kw - battery.power_kw)


def _batteries(state: SiteState, limits: Limits, marks: list[datetime], hours: float) -> list[_Battery]:
    """Batteries of known charge, over the steps of an event that asks for something during so many hours."""
    yesterday = {usual.device_id: usual for usual in state.yesterday}
    made = []
    for device, doing in state.pairs().values():
        if device.kind is not DeviceKind.BATTERY or doing.soc_percent is None or not hours:
            continue
        usual = yesterday.get(device.device_id, UsualBattery(device.device_id, (), ()))
        spare = max(0.0, doing.soc_percent - limits.soc_reserve_percent - _SOC_MARGIN_PERCENT) / 100
        lasting_kw = min(
            -device.min_power_kw, limits.capacity_kw(device.home_id), spare * device.capacity_kwh / hours
        )
        now_kw = could_give_kw(doing)
        home = [(now_kw + (_usual(usual.give_kw, state, mark) or now_kw)) / 2 for mark in marks]
        normal = [_usual(usual.power_kw, state, mark) for mark in marks]
        most = [max(0.0, min(lasting_kw, _FIRM * kw) + of) for kw, of in zip(home, normal, strict=True)]
        made.append(_Battery(device, normal, home, most, lasting_kw))
    return sorted(made, key=lambda b: b.device.device_id)


def _choose(
    loads: list[_Load], paused: list[_Load], batteries: list[_Battery], step: int, wanted_kw: float
) -> list[_Load]:
    """The loads to pause from this step on: as many as meet the request together with paused ones and
    batteries.

    What is paused stays paused: a load that is let go catches up, and takes more than if it had gone on.
    """
    missing_kw = (
        wanted_kw - sum(x.expected_kw[step] for x in paused) - sum(b.most_kw[step] for b in batteries)
    )
    chosen: list[_Load] = []
    for load in loads:
        if missing_kw <= _TINY_KW:
            break
        if load.expected_kw[step] > _TINY_KW:
            chosen.append(load)
            missing_kw -= load.expected_kw[step]
    for load in chosen[:-1]:
        if missing_kw + load.expected_kw[step] <= _TINY_KW:  # a larger one came after it that does it alone
            chosen.remove(load)
            missing_kw += load.expected_kw[step]
    return chosen


def _powers(
    paused: list[_Load], batteries: list[_Battery], step: int, wanted_kw: float
) -> tuple[tuple[str, float], ...]:
    """Powers in one step: batteries fill what is missing; a car may go on as far as more is paused than was
    asked.
    """
    rest_kw = wanted_kw - sum(load.expected_kw[step] for load in paused)
    powers: list[tuple[str, float]] = []
    for load in paused:
        spare_kw = min(max(0.0, -rest_kw), load.expected_kw[step]) if load.is_car else 0.0
        rest_kw += spare_kw
        powers.append((load.device.device_id, round(spare_kw, 3)))
    able_kw = sum(b.most_kw[step] for b in batteries)
    part = min(max(0.0, rest_kw) / able_kw, _ALL_OUT) if able_kw > 0 else 0.0
    if part > 0:
        powers += [(b.device.device_id, b.power_kw(step, b.most_kw[step] * part)) for b in batteries]
    return tuple(powers)
