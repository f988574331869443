"""Local limits: whatever the commands, what is let through stays within them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feid.devices import Command, Device, DeviceKind, DeviceState
from feid.guard import Limits, clamp
from feid.site import SiteState

NOW = datetime(2026, 1, 20, 17, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

DEVICES = (
    Device("home-01/battery", "home-01", DeviceKind.BATTERY, 5.0, -5.0, 10.0),
    Device("home-01/ev-charger", "home-01", DeviceKind.EV_CHARGER, 11.0, 0.0, 15.0),
    Device("home-01/heat-pump", "home-01", DeviceKind.HEAT_PUMP, 2.0, 0.0, 6.0),
    Device("home-02/battery", "home-02", DeviceKind.BATTERY, 3.0, -3.0, 6.0),
    Device("home-02/water-heater", "home-02", DeviceKind.WATER_HEATER, 2.4, 0.0, 3.0),
)
LIMITS = Limits(connection_capacity_kw=9.0, home_capacity_kw=(("home-02", 2.5),))


def doing(device: Device, soc: float | None = 60.0, temperature_c: float | None = None) -> DeviceState:
    warm = {DeviceKind.HEAT_PUMP: 21.0, DeviceKind.WATER_HEATER: 55.0}.get(device.kind)
    return DeviceState(
        device_id=device.device_id,
        at=NOW,
        power_kw=0.0,
        soc_percent=soc if device.kind is DeviceKind.BATTERY else None,
        temperature_c=warm if temperature_c is None else temperature_c,
        plugged_in=None,
        available_kw=1.0,
        held_until=None,
    )


def site(
    soc: float | None = 60.0, temperature_c: float | None = None, held_since: datetime | None = None
) -> SiteState:
    states = tuple(doing(device, soc, temperature_c) for device in DEVICES)
    return SiteState(NOW, DEVICES, states, held_since=held_since)


def command(device_id: str, power_kw: float, start: int = 0, end: int = 30) -> Command:
    return Command(device_id, NOW + start * MINUTE, NOW + end * MINUTE, power_kw)


def test_what_is_within_the_limits_passes_unchanged() -> None:
    wanted = [command("home-01/battery", -4.0), command("home-01/ev-charger", 0.0)]
    assert clamp(wanted, LIMITS, site()) == wanted


def test_a_device_that_the_node_does_not_have_is_left_out() -> None:
    assert clamp([command("home-09/battery", -1.0)], LIMITS, site()) == []


def test_power_is_kept_within_the_plate_and_the_connection() -> None:
    wanted = [
        command("home-01/battery", -50.0),
        command("home-01/ev-charger", 99.0),
        command("home-01/heat-pump", -3.0),
        command("home-02/battery", -3.0),
    ]
    assert [c.power_kw for c in clamp(wanted, LIMITS, site())] == [-5.0, 9.0, 0.0, -2.5]


def test_a_battery_is_not_discharged_below_its_reserve_over_the_whole_schedule() -> None:
    wanted = [command("home-01/battery", -5.0, 5 * n, 5 * n + 5) for n in range(6)]
    allowed = clamp(wanted, LIMITS, site(soc=25.0))  # 1 kWh above a reserve of 15 %
    assert sum(-c.power_kw * 5 / 60 for c in allowed) == pytest.approx(1.0)
    assert allowed[0].power_kw == -5.0
    assert allowed[-1].power_kw == 0.0


@pytest.mark.parametrize("soc", [None, 0.0, 14.9])
def test_a_battery_of_unknown_or_low_charge_gives_nothing(soc: float | None) -> None:
    assert [c.power_kw for c in clamp([command("home-01/battery", -1.0)], LIMITS, site(soc=soc))] == [0.0]


def test_charging_leaves_room_for_the_other_devices_of_the_home() -> None:
    alone = clamp([command("home-01/battery", 5.0)], LIMITS, site())
    assert [c.power_kw for c in alone] == [0.0]  # charger and heat pump may take 13 kW of 9
    both = clamp([command("home-01/battery", 5.0), command("home-01/ev-charger", 3.0)], LIMITS, site())
    assert both[0].power_kw == pytest.approx(4.0)


def test_nothing_is_held_longer_than_the_schedule_may_reach() -> None:
    assert clamp([command("home-01/battery", -1.0, 0, 300)], LIMITS, site())[0].end == NOW + 30 * MINUTE
    assert clamp([command("home-01/battery", -1.0, 31, 300)], LIMITS, site()) == []
    assert clamp([command("home-01/battery", -1.0, -60, -10)], LIMITS, site()) == []


def test_a_device_held_for_too_long_is_let_go() -> None:
    held = site(held_since=NOW - timedelta(hours=23, minutes=50))
    assert clamp([command("home-01/battery", -1.0)], LIMITS, held)[0].end == NOW + 10 * MINUTE
    longer = site(held_since=NOW - timedelta(hours=24))
    assert clamp([command("home-01/battery", -1.0)], LIMITS, longer) == []


def test_entries_that_overlap_are_cut_and_too_short_ones_left_out() -> None:
    wanted = [
        command("home-01/battery", -1.0, 0, 10),
        command("home-01/battery", -2.0, 5, 20),
        command("home-01/battery", -3.0, 20, 22),
    ]
    allowed = clamp(wanted, LIMITS, site())
    assert [(c.start - NOW, c.end - NOW, c.power_kw) for c in allowed] == [
        (0 * MINUTE, 10 * MINUTE, -1.0),
        (10 * MINUTE, 20 * MINUTE, -2.0),
    ]


@pytest.mark.parametrize("device_id", ["home-01/heat-pump", "home-02/water-heater"])
def test_what_people_need_for_comfort_is_left_alone(device_id: str) -> None:
    assert clamp([command(device_id, 0.0)], LIMITS, site(temperature_c=17.0)) == []
    assert clamp([command(device_id, 0.0)], LIMITS, site()) != []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connection_capacity_kw", 0.0),
        ("connection_capacity_kw", float("nan")),
        ("soc_reserve_percent", -1.0),
        ("soc_reserve_percent", 101.0),
        ("max_event_hours", 25.0),
        ("max_hold_minutes", 61.0),
        ("min_hold_minutes", 0.0),
        ("room_min_c", 4.0),
        ("tank_min_c", 71.0),
    ],
)
def test_limits_that_are_none_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"limits\.{name} must be between"):
        Limits(**{name: value})


def test_a_home_without_a_connection_is_refused() -> None:
    with pytest.raises(ValueError, match=r"limits\.home_capacity_kw\.home-01"):
        Limits(home_capacity_kw=(("home-01", 0.0),))


anything = st.builds(
    lambda device_id, start, length, power_kw: command(device_id, power_kw, start, start + length),
    st.sampled_from([*(d.device_id for d in DEVICES), "home-77/battery"]),
    st.integers(-120, 120),
    st.integers(1, 2000),
    st.floats(-1e9, 1e9),
)


def broken(allowed: list[Command], limits: Limits, state: SiteState) -> list[str]:
    """Which limits these commands break."""
    found = []
    plates = {device.device_id: device for device in state.devices}
    last_end: dict[str, datetime] = {}
    for c in allowed:
        device = plates[c.device_id]
        kept = {
            "power": device.min_power_kw <= c.power_kw <= device.max_power_kw,
            "connection": abs(c.power_kw) <= limits.capacity_kw(device.home_id),
            "end": state.at < c.end <= state.at + timedelta(minutes=limits.max_hold_minutes),
            "length": c.end - c.start >= timedelta(minutes=limits.min_hold_minutes),
            "order": last_end.get(c.device_id, c.start) <= c.start,
        }
        found += [name for name, is_kept in kept.items() if not is_kept]
        last_end[c.device_id] = c.end
    for device, state_of in state.pairs().values():
        given_kwh = sum(
            -min(0.0, c.power_kw) * ((c.end - max(c.start, state.at)) / timedelta(hours=1))
            for c in allowed
            if c.device_id == device.device_id
        )
        spare = (
            max(0.0, (state_of.soc_percent or 0.0) - limits.soc_reserve_percent) / 100 * device.capacity_kwh
        )
        if device.kind is DeviceKind.BATTERY and given_kwh > spare + 1e-9:
            found.append("reserve")
    return found


@settings(max_examples=300, deadline=None)
@given(
    st.lists(anything, max_size=40),
    st.floats(0.0, 100.0),
    st.builds(
        Limits,
        connection_capacity_kw=st.floats(0.1, 20.0),
        soc_reserve_percent=st.floats(0.0, 100.0),
        max_hold_minutes=st.floats(5.0, 60.0),
        min_hold_minutes=st.floats(1.0, 60.0),
    ),
)
def test_no_commands_whatever_get_beyond_the_limits(
    commands: list[Command], soc: float, limits: Limits
) -> None:
    state = site(soc=soc)
    assert broken(clamp(commands, limits, state), limits, state) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(anything, max_size=10), min_size=1, max_size=12))
def test_no_sequence_of_schedules_empties_a_battery_below_its_reserve(schedules: list[list[Command]]) -> None:
    soc = 60.0
    battery = DEVICES[0]
    for cycle, commands in enumerate(schedules):
        shifted = timedelta(minutes=5 * cycle)
        now = NOW + shifted
        states = tuple(doing(device, soc) for device in DEVICES)
        moved = [Command(c.device_id, c.start + shifted, c.end + shifted, c.power_kw) for c in commands]
        allowed = clamp(moved, LIMITS, SiteState(now, DEVICES, states))
        for c in allowed:
            if c.device_id == battery.device_id and c.power_kw < 0 and c.start < now + 5 * MINUTE:
                minutes = (min(c.end, now + 5 * MINUTE) - max(c.start, now)) / MINUTE
                soc += max(0.0, minutes) / 60 * c.power_kw / battery.capacity_kwh * 100
        assert soc >= LIMITS.soc_reserve_percent - 1e-6
