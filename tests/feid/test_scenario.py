from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feid.scenario import Scenario, ScenarioError, build, read_scenario

NOW = datetime(2025, 1, 20, 10, 30, tzinfo=UTC)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "simulator.toml"
    path.write_text(text, encoding="utf-8")
    return path


def meter_file(tmp_path: Path, meters: int, days: int, offset: str = "+01:00") -> Path:
    start = datetime(2025, 1, 20, tzinfo=UTC)
    lines = ["interval_start," + ",".join(f"m{number}" for number in range(meters))]
    for hour in range(24 * days):
        moment = (start + timedelta(hours=hour)).replace(tzinfo=None).isoformat()
        lines.append(f"{moment}{offset}," + ",".join(["0.5"] * meters))
    path = tmp_path / "meters.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_file_with_a_socket_alone_is_enough(tmp_path: Path) -> None:
    scenario = read_scenario(write(tmp_path, 'socket = "s.sock"'))
    assert scenario == Scenario(socket=Path("s.sock"))
    assert scenario.node_ids == ["node-1", "node-2", "node-3", "node-4", "node-5", "node-6"]
    assert scenario.homes == 60
    assert scenario.history == timedelta(days=28)


@pytest.mark.parametrize("start", ["2025-01-20T00:00:00Z", '"2025-01-20T01:00:00+01:00"'])
def test_every_setting_is_read(tmp_path: Path, start: str) -> None:
    text = f"""
        socket = "s.sock"
        seed = 3
        start = {start}
        days_of_history = 2
        nodes = 2
        homes_per_node = 3
        meters = "m.csv"
        utc_offset_minutes = 60
    """
    scenario = read_scenario(write(tmp_path, text))
    begin = datetime(2025, 1, 20, tzinfo=UTC)
    assert scenario == Scenario(Path("s.sock"), 3, begin, 2, 2, 3, Path("m.csv"), 60)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("seed = 1", "socket is missing", id="no socket"),
        pytest.param("socket = 1", "socket must be a path, got 1", id="socket is a number"),
        pytest.param('socket = ""', "socket must be a path, got ''", id="socket is empty"),
        pytest.param('socket = "s"\nmeters = []', r"meters must be a path, got \[\]", id="meters is a list"),
        pytest.param('socket = "s"\nhomes = 3', "unknown setting 'homes'; there are socket", id="unknown"),
        pytest.param('socket = "s"\nnodes = 0', "nodes must be .* 1 to 200, got 0", id="no nodes"),
        pytest.param('socket = "s"\nnodes = "6"', "nodes must be .* got '6'", id="nodes as text"),
        pytest.param('socket = "s"\nnodes = true', "nodes must be .* got True", id="nodes as a flag"),
        pytest.param('socket = "s"\nseed = -1', "seed must be .* got -1", id="negative seed"),
        pytest.param('socket = "s"\nhomes_per_node = 100', "1 to 99, got 100", id="too many homes"),
        pytest.param('socket = "s"\ndays_of_history = 0', "days_of_history", id="no history"),
        pytest.param('socket = "s"\nutc_offset_minutes = 7', "whole quarter hours, got 7", id="odd offset"),
        pytest.param(
            'socket = "s"\nstart = "soon"', "start must be a date and time, got 'soon'", id="no date"
        ),
        pytest.param(
            'socket = "s"\nstart = 2025-01-20T00:00:00', "start must carry a UTC offset", id="naive"
        ),
        pytest.param('socket = "s"\nstart = 2025-01-20T00:01:00Z', "whole quarter hour", id="off the grid"),
        pytest.param("socket =", "simulator.toml: ", id="no TOML"),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ScenarioError, match=says) as refused:
        read_scenario(path)
    assert str(refused.value).startswith(str(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"absent\.toml"):
        read_scenario(tmp_path / "absent.toml")


def test_without_a_start_the_day_of_the_clock_is_live() -> None:
    world, start = build(Scenario(Path("s"), nodes=1, homes_per_node=1), NOW)
    assert start == datetime(2025, 1, 20, tzinfo=UTC)
    assert world.start == start - timedelta(days=28)


def test_with_meters_the_first_midnight_with_enough_history_is_live(tmp_path: Path) -> None:
    path = meter_file(tmp_path, meters=2, days=4)
    world, start = build(Scenario(Path("s"), days_of_history=2, nodes=2, homes_per_node=1, meters=path), NOW)
    assert start == datetime(2025, 1, 21, 23, tzinfo=UTC)
    assert world.start == datetime(2025, 1, 19, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param({"nodes": 3}, "3 nodes x 1 homes need 3 meters, the file has 2", id="too few meters"),
        pytest.param({"days_of_history": 4}, "not 4 days of history before", id="too short for the history"),
        pytest.param(
            {"start": NOW.replace(minute=0)}, "the meters cover 2025-01-20T00:00", id="start too early"
        ),
        pytest.param(
            {"start": datetime(2026, 1, 1, tzinfo=UTC)}, "before 2026-01-01", id="start after the end"
        ),
    ],
)
def test_meters_that_do_not_reach_are_refused(tmp_path: Path, settings: dict[str, object], says: str) -> None:
    path = meter_file(tmp_path, meters=2, days=4)
    chosen = {"days_of_history": 1, "nodes": 2, "homes_per_node": 1, "meters": path, **settings}
    with pytest.raises(ScenarioError, match=says):
        build(Scenario(Path("s"), **chosen), NOW)  # type: ignore[arg-type]  # chosen by the case


def test_a_meter_file_that_is_refused_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"absent\.csv: No such file"):
        build(Scenario(Path("s"), meters=tmp_path / "absent.csv"), NOW)


def test_what_was_marked_in_a_meter_file_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = meter_file(tmp_path, meters=1, days=3)
    path.write_text(path.read_text().replace("T05:00:00+01:00,0.5", "T05:00:00+01:00,-3"), encoding="utf-8")
    build(Scenario(Path("s"), days_of_history=1, nodes=1, homes_per_node=1, meters=path), NOW)
    assert "line 7, column 2 (m0): negative value -3 kW" in caplog.text
    assert len(caplog.records) == 3
