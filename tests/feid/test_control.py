"""The plan of an event: it aims at what was asked, lasts to the end, and is the same every time."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feid.control import GRID, could_give_kw, grid_floor, plan_cycle, plan_event, requested_kw
from feid.devices import Command, Device, DeviceKind, DeviceState
from feid.guard import Limits
from feid.site import SiteState, UsualBattery, UsualHome
from openadr import Duration, Event, ItemBase, Signal
from openadr.enums import SignalType, SiScaleCode
from openadr.timeline import Timeline
from tests.feid.town import event

START = datetime(2026, 1, 20, 17, tzinfo=UTC)
FROZEN_AT = START - timedelta(minutes=15)
LIMITS = Limits(connection_capacity_kw=20.0)


def device(device_id: str, most_kw: float, capacity_kwh: float = 10.0) -> Device:
    home_id, _, kind = device_id.partition("/")
    least_kw = -most_kw if kind == DeviceKind.BATTERY else 0.0
    return Device(device_id, home_id, DeviceKind(kind), most_kw, least_kw, capacity_kwh)


def doing(device_id: str, available_kw: float, **changes: object) -> DeviceState:
    state = DeviceState(device_id, FROZEN_AT, 0.0, None, None, None, available_kw, None)
    return replace(state, **changes)  # type: ignore[arg-type]  # a test may change anything


DEVICES = (
    device("home-01/battery", 5.0),
    device("home-01/heat-pump", 3.0),
    device("home-02/battery", 4.0, 8.0),
    device("home-02/ev-charger", 7.4, 12.0),
    device("home-03/water-heater", 2.4),
    device("home-03/ev-charger", 11.0, 15.0),
)
STATES = (
    doing("home-01/battery", 2.0, soc_percent=90.0),
    doing("home-01/heat-pump", 1.5, temperature_c=21.0),
    doing("home-02/battery", 1.0, soc_percent=90.0),
    doing("home-02/ev-charger", 7.4, plugged_in=True, soc_percent=0.0),
    doing("home-03/water-heater", 0.5, temperature_c=55.0),
    doing("home-03/ev-charger", 0.0, plugged_in=False),
)
SITE = SiteState(
    at=FROZEN_AT,
    devices=DEVICES,
    states=STATES,
    homes=tuple(UsualHome(f"home-0{n}", (3.0,) * 9, (2.5,) * 9) for n in (1, 2, 3)),
    yesterday=(
        UsualBattery("home-01/battery", (0.0,) * 9, (2.0,) * 9),
        UsualBattery("home-02/battery", (-0.5,) * 9, (1.5,) * 9),
    ),
)


def reduce(kw: float, **changes: object) -> Event:
    return event(START, -1000 * kw, **changes)  # type: ignore[arg-type]


def powers(kw: float, state: SiteState = SITE, step: int = 0) -> dict[str, float]:
    return dict(plan_event(reduce(kw), state, LIMITS)[step])


def test_a_small_request_is_met_by_batteries_alone() -> None:
    plan = powers(1.0)
    assert set(plan) == {"home-01/battery", "home-02/battery"}
    # 1 kW beside the half kW that the second would give anyway, a little more for minutes of low load
    assert -1.5 > sum(plan.values()) > -1.8


def test_what_batteries_cannot_give_is_taken_from_loads_the_surest_first() -> None:
    assert powers(2.5).keys() - powers(1.0).keys() == {"home-01/heat-pump"}
    assert powers(9.0)["home-02/ev-charger"] == 0.0
    assert "home-03/ev-charger" not in powers(9.0)


def test_a_car_that_is_away_is_counted_on_last() -> None:
    assert powers(100.0)["home-03/ev-charger"] == 0.0


def test_a_car_goes_on_charging_as_far_as_that_is_not_too_much() -> None:
    assert powers(6.0) == {"home-02/ev-charger": 1.4}  # of 7.4 kW; neither battery nor heat pump is needed


def test_what_is_paused_stays_paused_until_nothing_is_asked() -> None:
    plan = plan_event(reduce(0.0, values=(-2500.0, -500.0, 0.0)), SITE, LIMITS)
    assert dict(plan[0])["home-01/heat-pump"] == dict(plan[8])["home-01/heat-pump"] == 0.0
    assert plan[16] == ()


def test_nothing_is_told_where_nothing_is_asked() -> None:
    assert plan_event(reduce(0.0), SITE, LIMITS) == ((),) * 24
    assert plan_event(reduce(-5.0), SITE, LIMITS) == ((),) * 24
    assert plan_cycle(None, SITE, LIMITS, START) == []


def test_a_battery_s_energy_lasts_to_the_end() -> None:
    state = replace(SITE, states=(replace(STATES[0], soc_percent=27.0), *STATES[1:]))
    plan = plan_event(reduce(100.0, hours=1.0), state, LIMITS)
    kw = [dict(step)["home-01/battery"] for step in plan]
    assert -sum(kw) / 12 == pytest.approx(1.0, abs=0.01)  # 27 % less 15 % reserve, less 2 %
    assert max(kw) - min(kw) < 0.01


def test_a_battery_of_unknown_charge_is_left_alone() -> None:
    state = replace(SITE, states=(replace(STATES[0], soc_percent=None), *STATES[1:]))
    assert "home-01/battery" not in powers(100.0, state)


def test_a_car_is_counted_on_until_it_has_what_it_wants() -> None:
    states = (*STATES[:3], replace(STATES[3], available_kw=1.85, soc_percent=75.0), *STATES[4:])
    state = replace(SITE, states=states)  # 3.7 kWh at 7.4 kW: full half an hour after the state was frozen
    first, later = powers(6.0, state, 0), powers(6.0, state, 4)
    assert first == {"home-02/ev-charger": 1.4}
    assert later["home-02/ev-charger"] == 0.0
    assert later["home-01/battery"] < -1.0


def test_each_interval_has_its_own_target() -> None:
    plan = plan_event(reduce(0.0, values=(0.0, -1000.0, 0.0, -2000.0)), SITE, LIMITS)
    assert [bool(plan[step]) for step in (0, 6, 12, 18)] == [False, True, False, True]
    assert sum(kw for _, kw in plan[18]) < sum(kw for _, kw in plan[6])


def test_the_event_is_followed_for_the_longest_time_allowed_and_no_longer() -> None:
    short = replace(LIMITS, max_event_hours=0.5)
    assert len(plan_event(reduce(1.0), SITE, short)) == 6
    setpoint = Timeline.from_events([reduce(1.0)]).at(START + timedelta(hours=1))
    assert plan_cycle(setpoint, SITE, short, START + timedelta(hours=1)) == []


def test_commands_lie_on_the_five_minute_grid_and_end_with_the_event() -> None:
    odd = event(START + timedelta(minutes=7), -1000.0, hours=0.5)
    setpoint = Timeline.from_events([odd]).at(START + timedelta(minutes=7))
    first = plan_cycle(setpoint, SITE, LIMITS, START + timedelta(minutes=7))
    last = plan_cycle(setpoint, SITE, LIMITS, START + timedelta(minutes=35))
    assert {(c.start, c.end) for c in first} == {
        (START + timedelta(minutes=7), START + timedelta(minutes=10))
    }
    assert {(c.start, c.end) for c in last} == {
        (START + timedelta(minutes=35), START + timedelta(minutes=37))
    }


def test_a_state_that_was_kept_as_text_gives_the_same_plan() -> None:
    kept = SiteState.from_json(json.loads(json.dumps(SITE.to_json())))
    assert kept == SITE
    assert plan_event(reduce(5.0), kept, LIMITS) == plan_event(reduce(5.0), SITE, LIMITS)


@pytest.mark.parametrize(
    ("given_event", "expected_kw"),
    [
        pytest.param(event(START, -1500.0), 1.5, id="a delta in W"),
        pytest.param(event(START, 1500.0), 0.0, id="a delta upwards asks for no reduction"),
        pytest.param(event(START, float("nan")), 0.0, id="what is no number asks for nothing"),
        pytest.param(event(START, float("-inf")), 0.0, id="nor does what is not finite"),
        pytest.param(
            event(START, -1.5, change=lambda s: replace(s, item_base=ItemBase.power(scale=SiScaleCode.KILO))),
            1.5,
            id="a delta in kW",
        ),
        pytest.param(event(START, 7000.0, kind=SignalType.SETPOINT), 2.0, id="a setpoint below the load"),
        pytest.param(event(START, 9500.0, kind=SignalType.SETPOINT), 0.0, id="a setpoint above the load"),
        pytest.param(event(START, 0.0, name="SIMPLE", kind=SignalType.LEVEL), 0.0, id="level 0"),
        pytest.param(event(START, 1.0, name="SIMPLE", kind=SignalType.LEVEL), 1.2, id="level 1"),
        pytest.param(event(START, 2.0, name="simple", kind=SignalType.LEVEL), 2.4, id="level 2"),
        pytest.param(event(START, 3.0, name="SIMPLE", kind=SignalType.LEVEL), 4.0, id="level 3"),
        pytest.param(event(START, 9.0, name="SIMPLE", kind=SignalType.LEVEL), 0.0, id="a level that is none"),
        pytest.param(
            event(START, 0.3, name="ELECTRICITY_PRICE", kind=SignalType.PRICE),
            0.0,
            id="a price asks for nothing",
        ),
    ],
)
def test_what_is_asked_for(given_event: Event, expected_kw: float) -> None:
    assert requested_kw(given_event, START, can_give_kw=4.0, load_kw=9.0) == pytest.approx(expected_kw)


def test_the_exact_signal_goes_before_the_simple_one() -> None:
    both = replace(
        reduce(1.5),
        signals=(*event(START, 3.0, name="SIMPLE", kind=SignalType.LEVEL).signals, *reduce(1.5).signals),
    )
    assert requested_kw(both, START, 4.0, 9.0) == pytest.approx(1.5)


def test_an_interval_without_an_end_lasts() -> None:
    def open_end(signal: Signal) -> Signal:
        return replace(signal, intervals=(replace(signal.intervals[0], duration=Duration(0)),))

    asked = event(START, -1500.0, change=open_end)
    assert requested_kw(asked, START + timedelta(hours=1), 4.0, 9.0) == pytest.approx(1.5)


def test_a_site_of_which_nothing_is_usual_is_planned_from_what_it_does() -> None:
    bare = SiteState(FROZEN_AT, DEVICES, STATES)
    assert powers(100.0, bare).keys() == {d.device_id for d in DEVICES} - {"home-03/ev-charger"}


def test_what_a_battery_gives_already_counts_as_what_it_could() -> None:
    assert could_give_kw(doing("home-01/battery", 1.5, power_kw=-0.5)) == 2.0
    assert could_give_kw(doing("home-01/battery", 0.5, power_kw=1.5)) == 0.0


@settings(max_examples=200, deadline=None)
@given(
    st.floats(0.0, 50.0),
    st.lists(st.floats(0.0, 12.0), min_size=6, max_size=6),
    st.lists(st.floats(0.0, 100.0), min_size=2, max_size=2),
    st.integers(5, 300),
)
def test_no_plan_is_beyond_plates_and_energy(
    kw: float, available: list[float], socs: list[float], minutes: int
) -> None:
    charges = dict(zip(("home-01/battery", "home-02/battery"), socs, strict=True))
    states = tuple(
        replace(s, available_kw=a, soc_percent=charges.get(s.device_id, s.soc_percent))
        for s, a in zip(STATES, available, strict=True)
    )
    plan = plan_event(reduce(kw, hours=minutes / 60), replace(SITE, states=states), LIMITS)
    plates = {d.device_id: d for d in DEVICES}
    for step in plan:
        for device_id, power_kw in step:
            assert plates[device_id].min_power_kw <= power_kw <= plates[device_id].max_power_kw
    for device_id, soc in charges.items():
        used_kwh = -sum(min(0.0, dict(step).get(device_id, 0.0)) for step in plan) / 12
        spare = max(0.0, soc - LIMITS.soc_reserve_percent) / 100 * plates[device_id].capacity_kwh
        assert used_kwh <= spare + 0.001 * len(plan)


def test_the_grid_is_the_clock_s_own() -> None:
    assert grid_floor(START + timedelta(minutes=9, seconds=59, microseconds=1)) == START + GRID
    assert isinstance(
        plan_cycle(Timeline.from_events([reduce(1.0)]).at(START), SITE, LIMITS, START)[0], Command
    )
