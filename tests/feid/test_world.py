"""The simulated world depends on seed and commands alone, and its meters lose nothing."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from feid.baseload import GeneratedLoad
from feid.devices import Command, Device, DeviceKind
from feid.neighbourhood import Neighbourhood
from feid.world import HISTORY_STEP_S, LIVE_STEP_S, Registers, World, device_rows

START = datetime(2025, 1, 20, tzinfo=UTC)
PEAK = START + timedelta(hours=17)
HOMES, PER_NODE = 12, 6
DAY_END = START + timedelta(hours=24)


def make(seed: int = 7) -> World:
    return World(Neighbourhood.generate(seed, HOMES), GeneratedLoad(seed, HOMES), START, PER_NODE)


def run(world: World, until: datetime, step_s: int = LIVE_STEP_S) -> World:
    while world.run_to(until, step_s):
        pass
    assert world.now == until
    return world


def to_the_peak() -> World:
    return run(run(make(), PEAK - timedelta(hours=1), HISTORY_STEP_S), PEAK - timedelta(minutes=15))


def held(devices: Iterable[Device], start: datetime, end: datetime, kw: float | None = None) -> list[Command]:
    """All devices giving what they can, or at `kw`."""
    return [
        Command(device.device_id, start, end, device.min_power_kw if kw is None else kw) for device in devices
    ]


def read(world: World) -> Registers:
    return world.registers(START, DAY_END)


def content(registers: Registers) -> bytes:
    return b"".join(
        part.tobytes()
        for part in (
            registers.energy_wh,
            registers.flexible_wh,
            registers.unscheduled_wh,
            registers.unscheduled_flexible_wh,
        )
    )


@pytest.fixture(scope="module")
def capped() -> World:
    """Node 0 gives all it can for two hours, node 1 nothing; the day is simulated to its end."""
    world = to_the_peak()
    world.schedule(0, held(world.node_devices[0], PEAK, PEAK + timedelta(hours=2)))
    return run(world, DAY_END)


def test_without_commands_both_runs_are_the_same() -> None:
    registers = read(run(make(), DAY_END, HISTORY_STEP_S))
    assert registers.energy_wh.tolist() == registers.unscheduled_wh.tolist()
    assert registers.flexible_wh.tolist() == registers.unscheduled_flexible_wh.tolist()


def test_a_seed_gives_the_same_day_twice_and_another_seed_another_day() -> None:
    days = [content(read(run(make(seed), DAY_END, HISTORY_STEP_S))) for seed in (7, 7, 8)]
    assert days[0] == days[1] != days[2]


def test_registers_are_whole_and_never_more_flexible_than_large(capped: World) -> None:
    registers = read(capped)
    assert registers.energy_wh.shape == (96, HOMES)
    assert registers.energy_wh.dtype == np.int64
    assert (registers.energy_wh >= 0).all()
    assert (registers.flexible_wh >= 0).all()
    assert (
        registers.flexible_wh <= registers.energy_wh + 1
    ).all()  # both are rounded down, remainders carried


def test_a_reduction_is_seen_in_the_scheduled_run_of_that_node_only(capped: World) -> None:
    registers = read(capped)
    reduction = registers.unscheduled_wh - registers.energy_wh
    peak = slice(17 * 4, 19 * 4)
    assert reduction[peak, :PER_NODE].sum() > 0.3 * registers.unscheduled_wh[peak, :PER_NODE].sum()
    assert not reduction[: 17 * 4].any()
    assert not reduction[:, PER_NODE:].any()


def test_what_was_flexible_is_what_can_be_given(capped: World) -> None:
    registers = read(capped)
    peak = slice(17 * 4, 19 * 4)
    given = (registers.unscheduled_wh - registers.energy_wh)[peak, :PER_NODE].sum()
    assert given == pytest.approx(registers.unscheduled_flexible_wh[peak, :PER_NODE].sum(), rel=0.15)


def test_the_load_comes_back_after_a_reduction(capped: World) -> None:
    registers = read(capped)
    after = slice(19 * 4, 21 * 4)
    extra = (registers.energy_wh - registers.unscheduled_wh)[after, :PER_NODE].sum()
    assert extra > 0.2 * (registers.unscheduled_wh - registers.energy_wh)[17 * 4 : 19 * 4, :PER_NODE].sum()


def test_a_plan_sent_in_any_order_and_rhythm_gives_the_same_registers(capped: World) -> None:
    end = PEAK + timedelta(hours=2)
    slices = [PEAK + timedelta(minutes=5 * number) for number in range(24)]
    world = to_the_peak()
    dice = random.Random(3)
    for cycle, start in enumerate(slices):
        plan = [
            command
            for begin in slices[cycle : cycle + 6]  # the next half hour
            for command in held(world.node_devices[0], begin, min(begin + timedelta(minutes=5), end))
        ]
        dice.shuffle(plan)
        world.schedule(0, plan)
        if cycle % 3:  # a lost answer: the same again
            world.schedule(0, plan)
        run(world, start + timedelta(minutes=dice.randrange(0, 5)))
    assert content(read(run(world, DAY_END))) == content(read(capped))


def test_a_command_that_comes_before_its_start_acts_from_its_start() -> None:
    def power_after(arrival: datetime) -> bytes:
        world = run(to_the_peak(), arrival)
        world.schedule(0, held(world.node_devices[0], PEAK, PEAK + timedelta(minutes=30)))
        return content(read(run(world, PEAK + timedelta(hours=1))))

    early = power_after(PEAK - timedelta(minutes=15))
    assert power_after(PEAK) == early
    assert power_after(PEAK + timedelta(minutes=1)) != early


def test_a_late_command_never_changes_the_past() -> None:
    world = run(to_the_peak(), PEAK + timedelta(minutes=15))
    before = world.registers(START, PEAK + timedelta(minutes=15))
    world.schedule(0, held(world.node_devices[0], PEAK, PEAK + timedelta(minutes=30)))
    run(world, PEAK + timedelta(minutes=30))
    again = world.registers(START, PEAK + timedelta(minutes=15))
    assert content(again) == content(before)
    late = world.registers(PEAK + timedelta(minutes=15), PEAK + timedelta(minutes=30))
    assert late.energy_wh[:, :PER_NODE].sum() < late.unscheduled_wh[:, :PER_NODE].sum()


def test_when_a_schedule_ends_the_devices_run_on_their_own() -> None:
    world = to_the_peak()
    world.schedule(0, held(world.node_devices[0], PEAK, PEAK + timedelta(minutes=10)))
    run(world, PEAK + timedelta(minutes=5))
    mark = world.mark(PEAK + timedelta(minutes=5))
    assert mark is not None
    assert set(mark.held_until_s[mark.held_until_s > 0]) == {(PEAK + timedelta(minutes=10)).timestamp()}
    run(world, PEAK + timedelta(minutes=10))
    mark = world.mark(PEAK + timedelta(minutes=10))
    assert mark is not None
    assert not mark.held_until_s.any()


def test_a_cap_is_exceeded_for_comfort_and_departures_only() -> None:
    world = to_the_peak()
    devices = world.node_devices[0]
    world.schedule(0, held(devices, PEAK, PEAK + timedelta(hours=23), kw=0.5))
    rows = device_rows(devices, 0)
    comfort = world._hood.heat_pumps.comfort_c
    over = []
    while world.run_to(PEAK + timedelta(hours=22), LIVE_STEP_S):
        mark = world.mark(world.now)
        if mark is None or world.now <= PEAK:
            continue
        for device in devices:
            kind, home = rows[device.device_id]
            if mark.power_kw[kind, home] > 0.5 + 1e-9:
                over.append(device.kind)
                if device.kind is DeviceKind.HEAT_PUMP:
                    assert mark.temperature_c[kind, home] < comfort[home] + 0.1
                if device.kind is DeviceKind.WATER_HEATER:
                    assert mark.temperature_c[kind, home] < 45.0 + 3.0
    assert DeviceKind.HEAT_PUMP in over
    assert DeviceKind.EV_CHARGER in over
    assert DeviceKind.BATTERY not in over


def test_cars_leave_satisfied_after_an_evening_without_power() -> None:
    world = to_the_peak()
    cars = [device for device in world.node_devices[0] if device.kind is DeviceKind.EV_CHARGER]
    world.schedule(0, held(cars, PEAK, PEAK + timedelta(hours=23)))
    rows, left = device_rows(cars, 0), 0
    here: dict[str, float] = {}
    while world.run_to(PEAK + timedelta(hours=17), LIVE_STEP_S):
        mark = world.mark(world.now)
        for device_id, (kind, home) in rows.items() if mark is not None else ():
            assert mark is not None
            if mark.plugged_in[home]:
                here[device_id] = mark.soc_percent[kind, home]
            elif device_id in here:
                left += 1
                assert here.pop(device_id) == pytest.approx(100.0)
    assert left > 0


def test_states_have_sane_values(capped: World) -> None:
    mark = capped.mark(PEAK + timedelta(hours=1))
    assert mark is not None
    for device in capped.node_devices[0]:
        kind, home = device_rows([device], 0)[device.device_id]
        assert device.min_power_kw - 1e-9 <= mark.power_kw[kind, home] <= device.max_power_kw + 1e-9
        assert 0.0 <= mark.available_kw[kind, home] <= device.max_power_kw - device.min_power_kw
        if device.kind in {DeviceKind.HEAT_PUMP, DeviceKind.WATER_HEATER}:
            assert 15.0 < mark.temperature_c[kind, home] < 65.0
        if device.kind is DeviceKind.BATTERY:
            assert 9.9 <= mark.soc_percent[kind, home] <= 100.1


def test_marks_are_kept_for_a_day(capped: World) -> None:
    assert capped.mark(START) is None
    assert capped.mark(START + timedelta(minutes=5)) is not None
    run(capped, DAY_END + timedelta(minutes=10))
    assert capped.mark(START + timedelta(minutes=5)) is None
    assert capped.mark(DAY_END + timedelta(minutes=15)) is None


def test_registers_are_cut_to_the_period_and_to_what_is_complete() -> None:
    world = run(make(), START + timedelta(minutes=50), HISTORY_STEP_S)
    all_of_it = world.registers(START - timedelta(days=1), START + timedelta(days=1))
    assert all_of_it.start == START
    assert len(all_of_it.energy_wh) == 3
    one = world.registers(START + timedelta(minutes=1), START + timedelta(minutes=16))
    assert one.start == START + timedelta(minutes=15)
    assert one.energy_wh.tolist() == all_of_it.energy_wh[1:2].tolist()
    assert world.registers(START + timedelta(days=2), START + timedelta(days=3)).energy_wh.shape == (0, HOMES)


def test_a_world_starts_and_steps_on_the_grid_only() -> None:
    hood, load = Neighbourhood.generate(1, 1), GeneratedLoad(1, 1)
    with pytest.raises(ValueError, match="whole quarter hour, got 2025-01-20T00:01"):
        World(hood, load, START + timedelta(minutes=1), 1)
    world = World(hood, load, START, 1)
    with pytest.raises(ValueError, match="a step of 7 s does not fit"):
        world.run_to(DAY_END, 7)
    run(world, START + timedelta(minutes=1))
    with pytest.raises(ValueError, match="a step of 300 s does not fit 2025-01-20T00:01"):
        world.run_to(DAY_END, HISTORY_STEP_S)
