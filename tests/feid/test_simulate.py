import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from feid.simulate import MAX_LINE, SimulatorError
from tests.feid.stage import START, Stage, playing


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with playing(Stage(tmp_path)) as running:
        yield running


def iso(minutes: float) -> str:
    return (START + timedelta(minutes=minutes)).isoformat()


async def test_it_says_what_time_it_is_and_how_far_it_is(stage: Stage) -> None:
    await stage.move(START + timedelta(minutes=2, seconds=30))
    for op in ("now", "health"):
        assert (await stage.ask(op))["result"] == {
            "now": "2025-01-20T00:02:30Z",
            "simulated_until": "2025-01-20T00:02:00Z",
            "history_start": "2025-01-19T00:00:00Z",
            "live_start": "2025-01-20T00:00:00Z",
            "nodes": ["node-1", "node-2"],
            "homes_per_node": 3,
        }


async def test_the_truth_adds_up_over_homes(stage: Stage) -> None:
    await stage.move(START + timedelta(minutes=30))
    truth = (await stage.ask("truth", start=iso(-60), end=iso(60)))["result"]
    assert truth["start"] == "2025-01-19T23:00:00Z"
    assert truth["step_s"] == 900
    for node in truth["nodes"].values():
        for quantity in ("actual_wh", "counterfactual_wh", "counterfactual_flexible_wh"):
            homes = [home[quantity] for home in node["homes"].values()]
            assert len(homes) == 3
            assert node[quantity] == [sum(quarter) for quarter in zip(*homes, strict=True)]
            assert len(node[quantity]) == 6
        assert node["actual_wh"] == node["counterfactual_wh"]


async def test_states_of_now_wait_for_the_step_that_ends_now(stage: Stage) -> None:
    at = START + timedelta(minutes=5)
    stage.clock.move(at)
    answer = await stage.ask("states", node="node-1", at=at.isoformat())
    assert len(answer["result"]) == len((await stage.ask("devices", node="node-1"))["result"])


MOMENT = {"start": iso(0), "end": iso(15)}
ENTRY = {"device_id": "home-01/battery", "start": iso(5), "end": iso(10), "power_kw": 0}
REFUSED = [
    pytest.param({}, "op None is unknown; there are devices, health", id="no op"),
    pytest.param({"op": "fly"}, "op 'fly' is unknown", id="unknown op"),
    pytest.param({"op": ["now"]}, "op ['now'] is unknown", id="op is a list"),
    pytest.param({"op": "devices"}, "node None is unknown; there are node-1, node-2", id="no node"),
    pytest.param({"op": "devices", "node": "node-3"}, "node 'node-3' is unknown", id="unknown node"),
    pytest.param({"op": "devices", "node": {}}, "node {} is unknown", id="node is an object"),
    pytest.param({"op": "truth", **MOMENT, "start": 5}, "start must be a date and time, got 5", id="number"),
    pytest.param({"op": "truth", "start": iso(0)}, "end must be a date and time, got None", id="no end"),
    pytest.param(
        {"op": "truth", **MOMENT, "end": "2025-01-20"},
        "end must carry a UTC offset, got '2025-01-20'",
        id="naive",
    ),
    pytest.param(
        {"op": "truth", **MOMENT, "end": iso(-15)}, "2025-01-19T23:45:00Z is before start", id="end first"
    ),
    pytest.param(
        {"op": "truth", "start": iso(0), "end": iso(63 * 1440)}, "longer than 62 days", id="too long"
    ),
    pytest.param(
        {"op": "states", "node": "node-1", "at": iso(-3)}, "not a mark of five minutes", id="no mark"
    ),
    pytest.param({"op": "states", "node": "node-1", "at": iso(5)}, "lies ahead of the clock", id="future"),
    pytest.param({"op": "states", "node": "node-1", "at": iso(-1500)}, "is not kept", id="too long ago"),
    pytest.param({"op": "schedule", "node": "node-1"}, "commands must be a list, got None", id="no commands"),
    pytest.param({"commands": [3]}, "a command is a JSON object, got 3", id="command is a number"),
    pytest.param(
        {"commands": [{**ENTRY, "device_id": 3}]}, "device_id must be text, got 3", id="number as id"
    ),
    pytest.param({"commands": [{**ENTRY, "device_id": "x"}]}, "'x' is not a device", id="unknown device"),
    pytest.param(
        {"commands": [{**ENTRY, "power_kw": True}]}, "power_kw must be a number, got True", id="flag"
    ),
    pytest.param({"commands": [{**ENTRY, "power_kw": "1"}]}, "power_kw must be a number, got '1'", id="text"),
    pytest.param({"commands": [{**ENTRY, "power_kw": 1e999}]}, "finite number, got inf", id="infinite power"),
    pytest.param({"commands": [{**ENTRY, "power_kw": 10**400}]}, "int too large", id="number of 400 digits"),
    pytest.param({"commands": [{**ENTRY, "end": iso(5)}]}, "is not after start", id="empty period"),
    pytest.param(
        {"commands": [{**ENTRY, "start": "?"}]}, "start must be a date and time, got '?'", id="bad time"
    ),
]


@pytest.mark.parametrize(("request_", "says"), REFUSED)
async def test_a_bad_request_is_answered_with_its_field_and_value(
    stage: Stage, request_: dict[str, object], says: str
) -> None:
    request = {"op": "schedule", "node": "node-1", **request_} if "commands" in request_ else request_
    bad, good = await stage.ask_raw(json.dumps(request).encode() + b"\n", b'{"op":"now"}\n')
    assert says in bad["error"]
    assert "result" in good  # the connection goes on


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param(b"hello\n", "not a line of JSON", id="no JSON"),
        pytest.param(b"\xff\xfe\n", "not a line of JSON", id="no text"),
        pytest.param(b"[" * 100_000 + b"\n", "not a line of JSON", id="deep nesting"),
        pytest.param(b"[1]\n", "a request is a JSON object, got [1]", id="a list"),
        pytest.param(b"[" + b"1," * 100 + b"1]\n", "...", id="a long list is shortened"),
    ],
)
async def test_a_line_that_is_no_request_is_answered(stage: Stage, line: bytes, says: str) -> None:
    bad, good = await stage.ask_raw(line, b'{"op":"now"}\n')
    assert says in bad["error"]
    assert len(bad["error"]) < 200
    assert "result" in good


async def test_a_line_that_is_too_long_ends_the_connection_with_a_word(stage: Stage) -> None:
    reader, writer = await asyncio.open_unix_connection(stage.socket)
    writer.write(b'{"op":"' + b"x" * (MAX_LINE + 10))
    assert json.loads(await reader.readline()) == {"error": f"a line is longer than {MAX_LINE} bytes"}
    assert await reader.read() == b""
    writer.close()
    assert "result" in await stage.ask("now")


async def test_a_peer_that_leaves_in_the_middle_harms_nobody(stage: Stage) -> None:
    _, writer = await asyncio.open_unix_connection(stage.socket)
    writer.write(b'{"op":"truth"')
    writer.transport.abort()
    assert "result" in await stage.ask("now")


async def test_the_socket_is_for_its_owner_alone(stage: Stage) -> None:
    assert stat.S_IMODE(stage.socket.stat().st_mode) == 0o600


async def test_a_second_simulator_on_the_same_socket_is_refused(stage: Stage) -> None:
    with pytest.raises(SimulatorError, match=r"s\.sock: a simulator answers there already"):
        async with playing(Stage(stage.socket.parent)):
            pass
    assert "result" in await stage.ask("now")


async def test_the_socket_of_a_dead_simulator_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s.sock"))
    stage = Stage(tmp_path)
    async with playing(stage):
        assert "result" in await stage.ask("now")
    assert not stage.socket.exists()


async def test_something_else_at_the_socket_path_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s.sock").write_text("precious")
    with pytest.raises(SimulatorError, match="there is something else, not a socket"):
        async with playing(Stage(tmp_path)):
            pass
    assert (tmp_path / "s.sock").read_text() == "precious"


@pytest.mark.parametrize(
    "folder",
    [pytest.param("absent", id="no folder"), pytest.param("x" * 100, id="path too long for a socket")],
)
async def test_a_socket_that_cannot_be_is_one_sentence(tmp_path: Path, folder: str) -> None:
    if folder != "absent":
        (tmp_path / folder).mkdir()
    with pytest.raises(SimulatorError, match=rf"cannot listen on .*{folder}/s\.sock: "):
        async with playing(Stage(tmp_path / folder)):
            pass


async def test_a_clock_far_from_the_start_is_refused(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.clock.move(START + timedelta(days=200))
    with pytest.raises(
        SimulatorError, match=r"the clock says 2025-08-08.* the live day starts at 2025-01-20"
    ):
        async with playing(stage):
            pass


async def test_stopping_ends_open_connections_and_waiting_questions(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    async with playing(stage):
        reader, writer = await asyncio.open_unix_connection(stage.socket)
        writer.write(b'{"op":"now"}\n')
        await reader.readline()
    assert await reader.read() == b""
    writer.close()
