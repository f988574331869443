"""Physics of flexible devices, for many homes at once: one step of time, energies conserved, limits kept.

Rules of this module:
- Arrays hold one element for each home, state arrays a leading axis of runs (with commands, without them).
- A device that a home does not have is one of zero power; its numbers stay finite.
- A cap or hold of NaN is none.
- A cap is exceeded in three cases only: a cold room, a tank below its hygiene minimum, a car short of time.
- Nothing is fed into the grid: a battery gives at most what its home takes in that step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

SUSTAIN_HOURS = 2.0
"""Flexibility counts as far as it lasts: two hours, the length of an evening peak."""

DEPARTURE_MARGIN_HOURS = 0.25
"""A car is made to be satisfied this long before it leaves."""

INDOOR_C = 18.0
"""Temperature of the room where the water tank stands."""

COLD_WATER_C = 12.0
"""Temperature of the water that replaces what was drawn."""


@dataclass(frozen=True, slots=True)
class Batteries:
    """Stationary batteries: energy in kWh, power in kW, efficiency of one way."""

    capacity_kwh: Floats
    max_kw: Floats
    efficiency: Floats
    floor_kwh: Floats
    night_kw: Floats
    evening_share: Floats
    evening_floor_kwh: Floats

    def normal_kw(self, energy_kwh: Floats, home_kw: Floats, hour: float) -> Floats:
        """Own control: charge slowly at night, cover a share of the evening down to a reserve, else rest."""
        if hour < 5:
            return np.broadcast_to(self.night_kw, energy_kwh.shape)
        if 18 <= hour < 22:
            giving: Floats = -self.evening_share * home_kw * (energy_kwh > self.evening_floor_kwh)
            return giving
        return np.zeros_like(energy_kwh)

    def step(
        self, energy_kwh: Floats, home_kw: Floats, hold_kw: Floats, hour: float, hours: float
    ) -> tuple[Floats, Floats]:
        """Energy stored after `hours`, and the power."""
        wish = np.where(np.isnan(hold_kw), self.normal_kw(energy_kwh, home_kw, hour), hold_kw)
        most = np.minimum(self.max_kw, (self.capacity_kwh - energy_kwh) / (self.efficiency * hours))
        give = np.minimum(self.max_kw, (energy_kwh - self.floor_kwh) * self.efficiency / hours)
        least = -np.maximum(0.0, np.minimum(give, home_kw))
        power = np.minimum(np.maximum(wish, least), np.maximum(most, 0.0))
        stored = np.maximum(power, 0.0) * self.efficiency + np.minimum(power, 0.0) / self.efficiency
        return energy_kwh + stored * hours, power

    def available_kw(self, energy_kwh: Floats, power_kw: Floats, home_kw: Floats) -> Floats:
        """Reduction that lasts, when the home's other loads take `home_kw`."""
        lasting = (energy_kwh - self.floor_kwh) * self.efficiency / SUSTAIN_HOURS
        give = np.minimum(np.minimum(self.max_kw, lasting), np.maximum(home_kw, 0.0))
        available: Floats = np.maximum(0.0, power_kw + np.maximum(0.0, give))
        return available


@dataclass(frozen=True, slots=True)
class Chargers:
    """Car chargers. Below `min_kw` a car cannot charge (6 A): a cap under it means a pause."""

    max_kw: Floats
    min_kw: Floats
    efficiency: Floats

    def step(
        self, need_kwh: Floats, hours_left: Floats, cap_kw: Floats, hours: float
    ) -> tuple[Floats, Floats]:
        """Energy still wanted after `hours`, and the power; without `hours_left`, no car is there."""
        wanted = np.minimum(self.max_kw, need_kwh / (self.efficiency * hours))
        capped = np.where(cap_kw < self.min_kw, 0.0, np.fmin(wanted, cap_kw))
        later = self.max_kw * self.efficiency * (hours_left - hours - DEPARTURE_MARGIN_HOURS)
        must = need_kwh - capped * self.efficiency * hours > later
        power = np.where(must, wanted, capped) * (hours_left > 0)
        return np.maximum(0.0, need_kwh - power * self.efficiency * hours), power

    def lasting_share(self, need_kwh: Floats, hours_left: Floats) -> Floats:
        """Part of the power that can be put off (0..1), by the time that the car has to spare."""
        charging = need_kwh / np.maximum(self.max_kw * self.efficiency, 1e-3)
        spare = hours_left - DEPARTURE_MARGIN_HOURS - charging
        return np.minimum(np.maximum(spare / SUSTAIN_HOURS, 0.0), 1.0)

    def available_kw(self, need_kwh: Floats, hours_left: Floats) -> Floats:
        """Reduction that lasts: what the car would take in the next two hours, spread over them."""
        mean = np.minimum(self.max_kw, need_kwh / (self.efficiency * SUSTAIN_HOURS))
        return mean * self.lasting_share(need_kwh, hours_left) * (hours_left > 0)


@dataclass(frozen=True, slots=True)
class HeatPumps:
    """Heat pumps with their houses: electric kW, one heat capacity behind one resistance to the outside."""

    max_kw: Floats
    least_share: Floats
    loss_kw_per_k: Floats
    capacity_kwh_per_k: Floats
    gains_kw: Floats
    set_c: Floats
    band_k: Floats
    comfort_c: Floats

    @staticmethod
    def heat_per_power(outdoor_c: float) -> float:
        """Coefficient of performance at an outdoor temperature."""
        return min(4.8, max(2.2, 3.0 + 0.07 * (outdoor_c - 2.0)))

    def step(
        self, indoor_c: Floats, running: Flags, outdoor_c: float, cap_kw: Floats, hours: float
    ) -> tuple[Floats, Flags, Floats]:
        """Indoor temperature and thermostat after `hours`, and the power.

        The thermostat switches at the ends of its band and runs the compressor in proportion within it. Under
        the comfort temperature the loss is heated away whatever the cap says.
        """
        cop = self.heat_per_power(outdoor_c)
        running = (indoor_c < self.set_c - self.band_k) | (running & (indoor_c < self.set_c + self.band_k))
        share = (self.set_c + self.band_k - indoor_c) / (2.0 * self.band_k)
        normal = self.max_kw * np.minimum(np.maximum(share, self.least_share), 1.0) * running
        loss = self.loss_kw_per_k * (indoor_c - outdoor_c) - self.gains_kw
        keep = np.minimum(normal, np.maximum(loss, 0.0) * (1.2 / cop))
        capped = np.fmin(normal, cap_kw)
        power = np.where(indoor_c < self.comfort_c, np.maximum(capped, keep), capped)
        return indoor_c + (cop * power - loss) * (hours / self.capacity_kwh_per_k), running, power

    def lasting_share(self, indoor_c: Floats, outdoor_c: float) -> Floats:
        """Part of the power that can be spared (0..1), by the time until the room is just comfortable."""
        loss = np.maximum(self.loss_kw_per_k * (indoor_c - outdoor_c) - self.gains_kw, 0.05)
        spare = (indoor_c - self.comfort_c) * self.capacity_kwh_per_k / loss
        return np.minimum(np.maximum(spare / SUSTAIN_HOURS, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class WaterHeaters:
    """Electric water tanks, mixed: thermostat from `lower_c` to `upper_c`, not long under `hygiene_c`."""

    max_kw: Floats
    capacity_kwh_per_k: Floats
    loss_kw_per_k: Floats
    usual_draw_kw: Floats
    upper_c: Floats
    lower_c: Floats
    hygiene_c: Floats

    def step(
        self, tank_c: Floats, running: Flags, draw_kw: Floats, cap_kw: Floats, hours: float
    ) -> tuple[Floats, Flags, Floats]:
        """Tank temperature and thermostat after `hours`, and the power; `draw_kw` is heat taken as water."""
        running = (tank_c < self.lower_c) | (running & (tank_c < self.upper_c - 1e-6))
        drawn = np.minimum(draw_kw, np.maximum(tank_c - COLD_WATER_C, 0.0) * self.capacity_kwh_per_k / hours)
        loss = self.loss_kw_per_k * (tank_c - INDOOR_C) + drawn
        up_to_top = np.maximum((self.upper_c - tank_c) * self.capacity_kwh_per_k / hours + loss, 0.0)
        normal = np.minimum(self.max_kw, up_to_top) * running
        power = np.where(tank_c < self.hygiene_c, normal, np.fmin(normal, cap_kw))
        return tank_c + (power - loss) * (hours / self.capacity_kwh_per_k), running, power

    def lasting_share(self, tank_c: Floats) -> Floats:
        """Part of the power that can be spared (0..1), by the time until the hygiene minimum."""
        spare = (tank_c - self.hygiene_c) * self.capacity_kwh_per_k / self.usual_draw_kw
        return np.minimum(np.maximum(spare / SUSTAIN_HOURS, 0.0), 1.0)
