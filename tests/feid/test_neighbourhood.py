import numpy as np
import pytest

from feid.devices import DeviceKind
from feid.neighbourhood import Neighbourhood, local_day_of
from feid.physics import DEPARTURE_MARGIN_HOURS

DAY = 20_108  # 2025-01-20, a Monday


@pytest.fixture(scope="module")
def hood() -> Neighbourhood:
    return Neighbourhood.generate(7, 60)


def test_a_seed_makes_the_same_homes_however_many_there_are(hood: Neighbourhood) -> None:
    few = Neighbourhood.generate(7, 10)
    for home in range(10):
        assert few.devices_of(home, "x") == hood.devices_of(home, "x")
    np.testing.assert_array_equal(few.day(DAY).draws_kw, hood.day(DAY).draws_kw[:10])
    np.testing.assert_array_equal(few.day(DAY).need_kwh, hood.day(DAY).need_kwh[:10])
    np.testing.assert_array_equal(few.day(DAY).outdoor_c, hood.day(DAY).outdoor_c)


def test_another_seed_makes_other_homes(hood: Neighbourhood) -> None:
    other = Neighbourhood.generate(8, 60)
    assert [other.devices_of(home, "x") for home in range(60)] != [hood.devices_of(h, "x") for h in range(60)]


def test_every_home_has_a_device_and_every_kind_is_there(hood: Neighbourhood) -> None:
    homes = [hood.devices_of(home, f"home-{home:02d}") for home in range(60)]
    assert all(homes)
    owned = [device.kind for devices in homes for device in devices]
    for kind in DeviceKind:
        assert 15 <= owned.count(kind) <= 45


def test_a_device_is_named_after_its_home_and_kind(hood: Neighbourhood) -> None:
    for device in hood.devices_of(3, "home-04"):
        assert device.device_id == f"home-04/{device.kind}"
        assert device.home_id == "home-04"
        assert device.capacity_kwh > 0
        assert (device.min_power_kw < 0) == (device.kind is DeviceKind.BATTERY)


def test_a_car_has_time_to_be_charged(hood: Neighbourhood) -> None:
    for day in range(DAY, DAY + 14):
        behaviour = hood.day(day)
        hours = (behaviour.departure_s - behaviour.arrival_s) / 3600 - DEPARTURE_MARGIN_HOURS
        most_kwh = hood.chargers.max_kw * hood.chargers.efficiency * hours
        assert (behaviour.need_kwh <= most_kwh).all()
        assert (behaviour.arrival_s % 300 == 0).all()
        assert (behaviour.departure_s > 86_400).all()


def test_cars_stay_away_more_often_at_weekends(hood: Neighbourhood) -> None:
    def charging(first: int) -> float:
        return float(np.mean([np.count_nonzero(hood.day(first + 7 * week).need_kwh) for week in range(20)]))

    assert charging(DAY + 5) < charging(DAY)


def test_a_day_of_warm_water_is_about_what_the_home_is_used_to(hood: Neighbourhood) -> None:
    days = [hood.day(DAY + day).draws_kw.sum(axis=1) / 12 for day in range(30)]
    ratio = np.mean(days, axis=0) / hood.habits.warm_water_kwh
    assert 0.85 < ratio.mean() < 1.15
    assert ratio.min() > 0.6


def test_winter_is_colder_than_summer_and_nights_are_colder_than_days(hood: Neighbourhood) -> None:
    winter = np.mean([hood.day(DAY + day).outdoor_c for day in range(28)], axis=0)
    summer = np.mean([hood.day(DAY + 182 + day).outdoor_c for day in range(28)], axis=0)
    assert winter.mean() < 6
    assert summer.mean() > 14
    assert winter[14 * 12] > winter[4 * 12]


def test_a_local_day_begins_at_local_midnight() -> None:
    assert local_day_of(DAY * 86_400 - 3600, 3600) == (DAY, 0)
    assert local_day_of(DAY * 86_400 - 3601, 3600) == (DAY - 1, 86_399)
