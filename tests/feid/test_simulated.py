import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from feid.devices import Command, DeviceKind, Driver, DriverError, DriverUnreachableError, Quality
from feid.drivers.simulated import Connection, SimulatedDriver
from feid.scenario import Scenario
from tests.feid.stage import START, Stage, playing

EVENT = START + timedelta(minutes=30)
END = EVENT + timedelta(minutes=30)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with playing(Stage(tmp_path)) as running:
        yield running


@pytest.fixture
async def driver(stage: Stage) -> AsyncIterator[Driver]:
    simulated = SimulatedDriver(stage.socket, "node-1")
    yield simulated
    await simulated.close()


async def test_devices_come_with_their_limits_in_order(driver: Driver) -> None:
    devices = await driver.devices()
    assert devices == sorted(devices, key=lambda device: device.device_id)
    assert {device.home_id for device in devices} == {"home-01", "home-02", "home-03"}
    assert all(isinstance(device.kind, DeviceKind) for device in devices)


async def test_history_is_there_and_only_what_is_complete(stage: Stage, driver: Driver) -> None:
    await stage.move(START + timedelta(minutes=29))
    readings = await driver.meter_readings(START - timedelta(days=1), START + timedelta(days=1))
    assert len(readings) == 3 * 97
    assert readings[0].start == START - timedelta(days=1)
    assert readings[-1].end == START + timedelta(minutes=15)
    assert [reading.home_id for reading in readings[:3]] == ["home-01", "home-02", "home-03"]
    assert {reading.quality for reading in readings} == {Quality.GOOD}
    assert all(reading.energy_wh > 0 for reading in readings)


async def test_what_is_scheduled_is_held_and_seen_in_states_and_meters(stage: Stage, driver: Driver) -> None:
    commands = [
        Command(device.device_id, EVENT, END, device.min_power_kw) for device in await driver.devices()
    ]
    held = await driver.schedule(commands)
    assert sorted(held, key=lambda command: command.device_id) == commands
    await stage.move(END)
    states = await driver.states(EVENT + timedelta(minutes=5))
    assert [state.device_id for state in states] == [command.device_id for command in commands]
    assert {state.held_until for state in states} == {END}
    assert {state.held_until for state in await driver.states(EVENT)} == {END}
    assert {state.held_until for state in await driver.states(END)} == {None}
    truth = (await stage.ask("truth", start=EVENT.isoformat(), end=END.isoformat()))["result"]["nodes"][
        "node-1"
    ]
    assert sum(truth["actual_wh"]) < 0.7 * sum(truth["counterfactual_wh"])
    readings = await driver.meter_readings(EVENT, END)
    assert sum(reading.energy_wh for reading in readings) == sum(truth["actual_wh"])


async def test_states_tell_what_each_kind_of_device_can_tell(stage: Stage, driver: Driver) -> None:
    await stage.move(EVENT)
    kinds = {device.device_id: device.kind for device in await driver.devices()}
    states = await driver.states(EVENT)
    assert {kinds[state.device_id] for state in states} >= {DeviceKind.BATTERY, DeviceKind.WATER_HEATER}
    for state in states:
        kind = kinds[state.device_id]
        assert state.at == EVENT
        assert (state.plugged_in is not None) == (kind is DeviceKind.EV_CHARGER)
        assert (state.temperature_c is not None) == (kind in {DeviceKind.HEAT_PUMP, DeviceKind.WATER_HEATER})
        if kind is DeviceKind.BATTERY:
            assert state.soc_percent is not None


async def test_an_empty_schedule_frees_the_devices(driver: Driver) -> None:
    battery = next(device for device in await driver.devices() if device.kind is DeviceKind.BATTERY)
    assert await driver.schedule([Command(battery.device_id, EVENT, END, 0.0)])
    assert await driver.schedule([]) == []


async def test_a_refusal_carries_the_words_of_the_simulator(driver: Driver) -> None:
    with pytest.raises(DriverError, match="'home-77/battery' is not a device of this node") as refused:
        await driver.schedule([Command("home-77/battery", EVENT, END, 0.0)])
    assert not isinstance(refused.value, DriverUnreachableError)
    assert await driver.devices()


async def test_a_simulator_that_is_not_there_may_come_later(tmp_path: Path) -> None:
    driver = SimulatedDriver(tmp_path / "s.sock", "node-1")
    with pytest.raises(DriverUnreachableError, match=r"simulator at .*s\.sock: .*No such file"):
        await driver.devices()
    async with playing(Stage(tmp_path)):
        assert await driver.devices()
        await driver.close()


async def test_a_simulator_that_was_started_again_is_found_again(tmp_path: Path) -> None:
    driver = SimulatedDriver(tmp_path / "s.sock", "node-1")
    async with playing(Stage(tmp_path)):
        devices = await driver.devices()
    with pytest.raises(DriverUnreachableError):
        await driver.devices()
    async with playing(Stage(tmp_path)):
        assert await driver.devices() == devices
        await driver.close()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(b"", "it closed the connection", id="no answer"),
        pytest.param(b'{"result":', "it closed the connection", id="half an answer"),
        pytest.param(b"hello\n", "Expecting value", id="no JSON"),
    ],
)
async def test_something_else_behind_the_socket_is_unreachable(
    tmp_path: Path, answer: bytes, says: str
) -> None:
    gone = asyncio.Event()

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_unix_server(stranger, tmp_path / "s.sock")
    connection = Connection(tmp_path / "s.sock")
    with pytest.raises(DriverUnreachableError, match=says):
        await connection.ask("now")
    await connection.close()
    await gone.wait()
    server.close()


async def test_a_simulator_that_hangs_is_given_up(tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_unix_server(mute, tmp_path / "s.sock")
    connection = Connection(tmp_path / "s.sock", timeout_s=0.01)
    with pytest.raises(DriverUnreachableError, match=r"no answer within 0\.01 s"):
        await connection.ask("now")
    await gone.wait()
    server.close()


async def test_questions_asked_at_once_get_their_own_answers(stage: Stage) -> None:
    connection = Connection(stage.socket)
    answers = await asyncio.gather(
        *(connection.ask("devices", node=f"node-{1 + number % 2}") for number in range(10))
    )
    assert answers[0] == answers[2] != answers[1]
    await connection.close()


async def test_what_a_meter_did_not_measure_is_marked(tmp_path: Path) -> None:
    lines = ["interval_start,m1"]
    for hour in range(48):
        value = {3: "", 5: "-4", 7: "99999"}.get(hour, "1.0")
        lines.append(f"{(START - timedelta(days=1) + timedelta(hours=hour)).isoformat()},{value}")
    path = tmp_path / "meters.csv"
    path.write_text("\n".join(lines))
    stage = Stage(tmp_path)
    stage.scenario = Scenario(
        stage.socket, start=START, days_of_history=1, nodes=1, homes_per_node=1, meters=path
    )
    async with playing(stage):
        driver = SimulatedDriver(stage.socket, "node-1")
        readings = await driver.meter_readings(START - timedelta(days=1), START)
        await driver.close()
    by_hour = [readings[4 * hour].quality for hour in range(24)]
    assert by_hour[3] is Quality.MISSING
    assert by_hour[5] is by_hour[7] is Quality.IMPLAUSIBLE
    assert by_hour.count(Quality.GOOD) == 21
    assert all(reading.energy_wh < 20_000 for reading in readings)
