"""Every device keeps its limits and every kWh is accounted for, whatever it is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feid.physics import (
    DEPARTURE_MARGIN_HOURS,
    SUSTAIN_HOURS,
    Batteries,
    Chargers,
    Floats,
    HeatPumps,
    WaterHeaters,
)


def one(*values: float) -> tuple[Floats, ...]:
    return tuple(np.array([value]) for value in values)


BATTERIES = Batteries(*one(10.0, 5.0, 0.95, 1.0, 1.8, 0.4, 5.0))
CHARGERS = Chargers(*one(7.4, 1.4, 0.9))
HEAT_PUMPS = HeatPumps(*one(3.0, 0.25, 0.15, 7.5, 0.3, 21.0, 0.5, 19.6))
WATER_HEATERS = WaterHeaters(*one(2.4, 0.23, 0.002, 0.3, 60.0, 54.0, 45.0))
NO_HOLD = np.array([np.nan])

steps = st.sampled_from([1 / 60, 1 / 12])
caps = st.one_of(st.just(np.nan), st.floats(0.0, 12.0))
holds = st.one_of(st.just(np.nan), st.floats(-20.0, 20.0))


@given(
    soc=st.floats(0.1, 1.0),
    home_kw=st.floats(0.0, 15.0),
    hold=holds,
    hour=st.floats(0.0, 23.9),
    hours=steps,
)
def test_a_battery_keeps_charge_power_and_feed_in_limits(
    soc: float, home_kw: float, hold: float, hour: float, hours: float
) -> None:
    energy, home = np.array([10.0 * soc]), np.array([home_kw])
    after, power = BATTERIES.step(energy, home, np.array([hold]), hour, hours)
    assert 1.0 - 1e-9 <= after[0] <= 10.0 + 1e-9
    assert -5.0 <= power[0] <= 5.0
    assert power[0] >= -home_kw - 1e-9
    kept = power[0] * (0.95 if power[0] > 0 else 1 / 0.95)
    assert after[0] - energy[0] == pytest.approx(kept * hours)
    if np.isfinite(hold):
        assert abs(power[0]) <= abs(hold) + 1e-9


@pytest.mark.parametrize(
    ("hour", "power_kw"),
    [
        pytest.param(2.0, 1.8, id="charges slowly at night"),
        pytest.param(12.0, 0.0, id="rests by day"),
        pytest.param(19.0, -0.8, id="covers its share of the evening"),
    ],
)
def test_a_battery_on_its_own(hour: float, power_kw: float) -> None:
    _, power = BATTERIES.step(np.array([8.0]), np.array([2.0]), NO_HOLD, hour, 1 / 60)
    assert power[0] == pytest.approx(power_kw)


def test_a_battery_keeps_its_evening_reserve() -> None:
    _, power = BATTERIES.step(np.array([5.0]), np.array([2.0]), NO_HOLD, 19.0, 1 / 60)
    assert power[0] == 0.0


@given(soc=st.floats(0.1, 1.0), home_kw=st.floats(0.0, 15.0))
def test_what_a_battery_offers_it_gives_for_two_hours(soc: float, home_kw: float) -> None:
    energy, home, rest = np.array([10.0 * soc]), np.array([home_kw]), np.zeros(1)
    offered = BATTERIES.available_kw(energy, rest, home)
    for _ in range(int(SUSTAIN_HOURS * 60)):
        energy, power = BATTERIES.step(energy, home, -offered, 17.0, 1 / 60)
        assert power[0] == pytest.approx(-offered[0], abs=1e-9)


@given(need=st.floats(0.0, 60.0), hours_left=st.floats(-1.0, 14.0), cap=caps, hours=steps)
def test_a_charger_keeps_its_cap_unless_the_car_would_leave_short(
    need: float, hours_left: float, cap: float, hours: float
) -> None:
    after, power = CHARGERS.step(np.array([need]), np.array([hours_left]), np.array([cap]), hours)
    assert 0.0 <= power[0] <= 7.4
    assert need - after[0] == pytest.approx(power[0] * 0.9 * hours, abs=1e-9)
    if hours_left <= 0:
        assert power[0] == 0.0
    time_to_spare = hours_left - hours - DEPARTURE_MARGIN_HOURS - need / (7.4 * 0.9)
    if np.isfinite(cap) and time_to_spare > 0:
        assert power[0] <= cap


def test_a_cap_under_six_ampere_is_a_pause() -> None:
    _, power = CHARGERS.step(np.array([10.0]), np.array([12.0]), np.array([1.0]), 1 / 60)
    assert power[0] == 0.0


@given(need=st.floats(0.0, 40.0), spare_hours=st.floats(0.0, 10.0), cap=st.floats(0.0, 7.4), hours=steps)
def test_a_car_is_satisfied_when_it_leaves_whatever_the_cap(
    need: float, spare_hours: float, cap: float, hours: float
) -> None:
    parked = need / (7.4 * 0.9) + DEPARTURE_MARGIN_HOURS + spare_hours
    wanted, total = np.array([need]), 0.0
    for step in range(int(parked / hours)):
        wanted, power = CHARGERS.step(wanted, np.array([parked - step * hours]), np.array([cap]), hours)
        total += power[0] * hours
    assert wanted[0] == pytest.approx(0.0, abs=1e-6)
    assert total * 0.9 == pytest.approx(need, abs=1e-6)


def test_a_car_offers_only_what_it_would_take_and_has_time_for() -> None:
    need, long, short = np.array([3.6]), np.array([12.0]), np.array([0.8])
    assert CHARGERS.available_kw(need, long)[0] == pytest.approx(3.6 / 0.9 / SUSTAIN_HOURS)
    assert CHARGERS.available_kw(need, short)[0] < 0.1
    assert CHARGERS.available_kw(need, np.array([0.0]))[0] == 0.0


@given(
    indoor=st.floats(12.0, 26.0), outdoor=st.floats(-15.0, 25.0), running=st.booleans(), cap=caps, hours=steps
)
def test_a_heat_pump_keeps_its_cap_unless_the_room_is_cold(
    indoor: float, outdoor: float, running: bool, cap: float, hours: float
) -> None:
    after, _, power = HEAT_PUMPS.step(
        np.array([indoor]), np.array([running]), outdoor, np.array([cap]), hours
    )
    assert 0.0 <= power[0] <= 3.0
    heat = HeatPumps.heat_per_power(outdoor) * power[0] + 0.3 - 0.15 * (indoor - outdoor)
    assert 7.5 * (after[0] - indoor) == pytest.approx(heat * hours, abs=1e-9)
    if indoor >= 19.6 and np.isfinite(cap):
        assert power[0] <= cap


def test_a_heat_pump_capped_for_a_cold_day_holds_the_comfort_temperature() -> None:
    indoor, running, total = np.array([21.0]), np.array([True]), 0.0
    for _ in range(24 * 60):
        indoor, running, power = HEAT_PUMPS.step(indoor, running, -5.0, np.array([0.0]), 1 / 60)
        total += power[0] / 60
    assert indoor[0] == pytest.approx(19.6, abs=0.1)
    assert total > 0


def test_a_heat_pump_makes_up_for_a_cap_afterwards() -> None:
    def day(cap: float) -> list[float]:
        indoor, running, powers = np.array([20.9]), np.array([True]), []
        for minute in range(12 * 60):
            now = np.array([cap if minute < 120 else np.nan])
            indoor, running, power = HEAT_PUMPS.step(indoor, running, 3.0, now, 1 / 60)
            powers.append(float(power[0]))
        return powers

    free, held = day(np.nan), day(0.0)
    assert sum(held[:120]) == 0.0
    assert sum(held[120:360]) > sum(free[120:360]) * 1.1


@given(tank=st.floats(15.0, 62.0), draw=st.floats(0.0, 20.0), running=st.booleans(), cap=caps, hours=steps)
def test_a_water_heater_keeps_its_cap_unless_under_the_hygiene_minimum(
    tank: float, draw: float, running: bool, cap: float, hours: float
) -> None:
    after, _, power = WATER_HEATERS.step(
        np.array([tank]), np.array([running]), np.array([draw]), np.array([cap]), hours
    )
    assert 0.0 <= power[0] <= 2.4
    assert 11.0 <= after[0] <= 62.0 + 1e-9
    drawn = min(draw, (tank - 12.0) * 0.23 / hours)
    heat = power[0] - 0.002 * (tank - 18.0) - drawn
    assert 0.23 * (after[0] - tank) == pytest.approx(heat * hours, abs=1e-9)
    if tank >= 45.0 and np.isfinite(cap):
        assert power[0] <= cap


def test_a_water_heater_runs_from_its_lower_to_its_upper_temperature() -> None:
    tank, running = np.array([53.9]), np.array([False])
    seen = []
    for _ in range(120):
        tank, running, power = WATER_HEATERS.step(tank, running, np.zeros(1), NO_HOLD, 1 / 60)
        seen.append((float(tank[0]), float(power[0])))
    assert max(temperature for temperature, _ in seen) == pytest.approx(60.0, abs=0.01)
    assert seen[0][1] == pytest.approx(2.4)
    assert seen[-1][1] == 0.0


@pytest.mark.parametrize(
    ("indoor", "share"),
    [
        pytest.param(19.6, 0.0, id="just comfortable"),
        pytest.param(21.0, 1.0, id="warm enough for hours"),
    ],
)
def test_a_heat_pump_offers_what_the_warmth_of_the_house_allows(indoor: float, share: float) -> None:
    assert HEAT_PUMPS.lasting_share(np.array([indoor]), 3.0)[0] == pytest.approx(share)
    assert 0.0 < HEAT_PUMPS.lasting_share(np.array([19.8]), 3.0)[0] < 1.0


def test_a_tank_offers_what_its_heat_above_the_minimum_allows() -> None:
    shares = WATER_HEATERS.lasting_share(np.array([44.0, 46.0, 58.0]))
    assert shares[0] == 0.0
    assert 0.0 < shares[1] < 1.0
    assert shares[2] == 1.0
