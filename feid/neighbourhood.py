"""A neighbourhood: which home has which devices, and what its people and the weather do on each day.

All of it is a function of the seed; the same seed gives the same home the same devices, trips and showers,
whatever the number of homes, and whatever the devices are told to do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from feid.baseload import DAY_S, SLOTS_PER_DAY, hump, is_weekend, season
from feid.devices import Device, DeviceKind
from feid.physics import Batteries, Chargers, Floats, HeatPumps, WaterHeaters

_STREAM_DEVICES, _STREAM_PEOPLE, _STREAM_WEATHER = 21, 22, 23

OWNERSHIP = {
    DeviceKind.BATTERY: 0.5,
    DeviceKind.EV_CHARGER: 0.5,
    DeviceKind.HEAT_PUMP: 0.6,
    DeviceKind.WATER_HEATER: 0.5,
}
"""Share of homes that have a device of a kind; a home that draws none gets a water heater."""

_Params = TypeVar("_Params", Batteries, Chargers, HeatPumps, WaterHeaters)

_HOURS: Floats = np.linspace(0.0, 24.0, SLOTS_PER_DAY, endpoint=False) + 1.0 / 24.0
# (hour, width in hours, share of a day's warm water); the rest of the day is drawn at random
_SHOWERS = ((7.0, 0.7, 0.45), (19.5, 1.6, 0.40), (12.5, 1.0, 0.15))


@dataclass(frozen=True, slots=True)
class Habits:
    """What the people of each home are used to."""

    warm_water_kwh: Floats
    trip_kwh: Floats
    home_at_hour: Floats
    away_at_hour: Floats


@dataclass(frozen=True, slots=True)
class Day:
    """One local day: weather and behaviour, the same with and without commands.

    `arrival_s` and `departure_s` count from local midnight (departure is past 86400); `need_kwh` is 0 where
    the car stays away.
    """

    outdoor_c: Floats
    draws_kw: Floats
    arrival_s: Floats
    departure_s: Floats
    need_kwh: Floats


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The devices of all homes, one array element each, and their days."""

    seed: int
    homes: int
    batteries: Batteries
    chargers: Chargers
    heat_pumps: HeatPumps
    water_heaters: WaterHeaters
    habits: Habits

    @classmethod
    def generate(cls, seed: int, homes: int) -> Neighbourhood:
        """Homes 0 to `homes` - 1 of a seed."""
        drawn = [_home(seed, home) for home in range(homes)]
        return cls(
            seed,
            homes,
            batteries=_stack(Batteries, [home[0] for home in drawn]),
            chargers=_stack(Chargers, [home[1] for home in drawn]),
            heat_pumps=_stack(HeatPumps, [home[2] for home in drawn]),
            water_heaters=_stack(WaterHeaters, [home[3] for home in drawn]),
            habits=Habits(*np.array([home[4] for home in drawn]).T),
        )

    def devices_of(self, home: int, home_id: str) -> list[Device]:
        """The devices that a home has, by device id."""
        b, c, h, w = self.batteries, self.chargers, self.heat_pumps, self.water_heaters
        comfort_kwh = (h.set_c - h.comfort_c) * h.capacity_kwh_per_k / h.heat_per_power(2.0)
        hygiene_kwh = (w.upper_c - w.hygiene_c) * w.capacity_kwh_per_k
        limits = (
            (DeviceKind.BATTERY, b.max_kw, -b.max_kw, b.capacity_kwh),
            (DeviceKind.EV_CHARGER, c.max_kw, 0 * c.max_kw, self.habits.trip_kwh),
            (DeviceKind.HEAT_PUMP, h.max_kw, 0 * h.max_kw, comfort_kwh),
            (DeviceKind.WATER_HEATER, w.max_kw, 0 * w.max_kw, hygiene_kwh),
        )
        return [
            Device(
                f"{home_id}/{kind}", home_id, kind, float(most[home]), float(least[home]), float(kwh[home])
            )
            for kind, most, least, kwh in limits
            if most[home] > 0
        ]

    def day(self, local_day: int) -> Day:
        """Weather and behaviour of a local day, counted from 1970."""
        people = [
            np.random.default_rng([self.seed, _STREAM_PEOPLE, home, local_day]) for home in range(self.homes)
        ]
        habits = self.habits
        draws = [_draws_kw(rng, kwh) for rng, kwh in zip(people, habits.warm_water_kwh, strict=True)]
        trips = [_trip(rng, is_weekend(local_day)) for rng in people]
        late, early, share, used = np.array(trips).T
        arrival_hour = np.clip(habits.home_at_hour + late, 11.0, 23.0)
        departure_hour = 24.0 + np.clip(habits.away_at_hour + early, 4.0, 9.5)
        most_kwh = 0.8 * self.chargers.max_kw * self.chargers.efficiency * (departure_hour - arrival_hour)
        return Day(
            outdoor_c=_outdoor_c(self.seed, local_day),
            draws_kw=np.stack(draws),
            arrival_s=np.round(arrival_hour * 12) * 300,
            departure_s=np.round(departure_hour * 12) * 300,
            need_kwh=np.minimum(habits.trip_kwh * share * used, most_kwh) * (self.chargers.max_kw > 0),
        )


def _stack(kind: type[_Params], homes: list[tuple[float, ...]]) -> _Params:
    """Parameters of single homes as one record of arrays."""
    columns = np.array(homes).T
    return kind(**{field.name: column for field, column in zip(fields(kind), columns, strict=True)})


def _home(seed: int, home: int) -> tuple[tuple[float, ...], ...]:
    """Battery, charger, heat pump, water heater and habits of one home; zero power where it has none."""
    rng = np.random.default_rng([seed, _STREAM_DEVICES, home])
    has = {kind: float(rng.random() < share) for kind, share in OWNERSHIP.items()}
    if not any(has.values()):
        has[DeviceKind.WATER_HEATER] = 1.0
    warm_water_kwh = rng.uniform(2.5, 7.0)
    habits = (warm_water_kwh, rng.uniform(6.0, 22.0), rng.normal(17.3, 1.0), rng.normal(7.2, 0.6))
    return (
        _battery(rng, has[DeviceKind.BATTERY]),
        _charger(rng, has[DeviceKind.EV_CHARGER]),
        _heat_pump(rng, has[DeviceKind.HEAT_PUMP]),
        _water_heater(rng, has[DeviceKind.WATER_HEATER], warm_water_kwh),
        habits,
    )


def _battery(rng: np.random.Generator, has: float) -> tuple[float, ...]:
    capacity_kwh = float(rng.choice([6.0, 8.0, 10.0, 13.0]))
    efficiency = rng.uniform(0.94, 0.97)
    share = 0.4 * float(rng.random() < 0.5)  # half of them rest in the evening, as a reserve
    max_kw = 0.5 * capacity_kwh * has
    night_kw = 0.18 * capacity_kwh * has
    return (capacity_kwh, max_kw, efficiency, 0.1 * capacity_kwh, night_kw, share * has, 0.5 * capacity_kwh)


def _charger(rng: np.random.Generator, has: float) -> tuple[float, ...]:
    max_kw = float(rng.choice([3.7, 7.4, 11.0], p=[0.4, 0.35, 0.25]))
    least_kw = 4.1 if max_kw == 11.0 else 1.4  # 6 A in three phases, in one
    return (max_kw * has, least_kw, rng.uniform(0.88, 0.93))


def _heat_pump(rng: np.random.Generator, has: float) -> tuple[float, ...]:
    loss_kw_per_k = rng.uniform(0.11, 0.22)
    capacity_kwh_per_k = loss_kw_per_k * rng.uniform(38.0, 65.0)  # hours that a house needs to cool
    set_c = rng.uniform(20.3, 21.8)
    max_kw = loss_kw_per_k * 30.0 * 1.25 / HeatPumps.heat_per_power(-8.0)
    gains_kw = rng.uniform(0.25, 0.5)
    comfort_c = set_c - rng.uniform(1.1, 1.6)
    return (max_kw * has, 0.25, loss_kw_per_k, capacity_kwh_per_k, gains_kw, set_c, 0.5, comfort_c)


def _water_heater(rng: np.random.Generator, has: float, warm_water_kwh: float) -> tuple[float, ...]:
    litres = float(rng.choice([150.0, 200.0, 300.0]))
    max_kw = float(rng.choice([2.0, 2.4, 3.0]))
    capacity = litres * 4.186 / 3600.0
    loss_kw_per_k = rng.uniform(0.0014, 0.0024)
    upper_c = rng.uniform(57.0, 62.0)
    usual_kw = warm_water_kwh / 24.0 + loss_kw_per_k * 40.0
    return (max_kw * has, capacity, loss_kw_per_k, usual_kw, upper_c, upper_c - 6.0, 45.0)


def _draws_kw(rng: np.random.Generator, day_kwh: float) -> Floats:
    """Heat drawn as warm water, mean kW of each slot of a day: some ten draws, mostly morning and evening."""
    draws = np.zeros(SLOTS_PER_DAY)
    hours, widths, shares = np.array(_SHOWERS).T
    count = 4 + int(rng.poisson(6))
    which = rng.choice(len(_SHOWERS), count, p=shares)
    slots = ((hours[which] + rng.normal(0.0, widths[which])) % 24.0 * 12).astype(np.intp) % SLOTS_PER_DAY
    np.add.at(draws, slots, rng.gamma(2.0, 0.5, count) * day_kwh / 10.0 * 12.0)
    return draws


def _trip(rng: np.random.Generator, weekend: bool) -> tuple[float, float, float, float]:
    """Hours later home, hours later away, share of the usual need, whether the car charges (1 or 0)."""
    spread = 2.5 if weekend else 1.0
    used = float(rng.random() < (0.55 if weekend else 0.8))
    return (rng.normal(0.0, spread), rng.normal(0.0, 0.4), float(rng.uniform(0.4, 1.4)), used)


def _outdoor_c(seed: int, local_day: int) -> Floats:
    """Outdoor temperature of each slot: season, spells of several days, warmest in the afternoon."""
    spell = sum(0.75**back * _day_anomaly_k(seed, local_day - back) for back in range(12))
    mean = 9.5 - 8.5 * season(local_day - 12) + spell
    swing = 2.2 - 1.3 * season(local_day)
    return mean + swing * (2.0 * hump(_HOURS, 14.5, 5.0) - 1.0)


def _day_anomaly_k(seed: int, local_day: int) -> float:
    return float(np.random.default_rng([seed, _STREAM_WEATHER, local_day]).normal(0.0, 1.8))


def local_day_of(epoch_s: int, utc_offset_s: int) -> tuple[int, int]:
    """The local day, counted from 1970, and the seconds since its midnight."""
    return divmod(epoch_s + utc_offset_s, DAY_S)
