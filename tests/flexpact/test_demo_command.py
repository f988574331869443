import gzip
import io
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from feid.meters import read_meters
from flexpact.demo.play import tell_remarks
from flexpact.demo.view import PlainView


def demo(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flexpact", "demo", "--headless", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a refused demo says, on standard error."""
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = one_sentence(demo("--out", "file/out", cwd=tmp_path))
    assert said == "flexpact demo: file/out cannot be written: Not a directory"


def test_a_directory_on_a_file_system_that_takes_none_is_one_sentence(tmp_path: Path) -> None:
    # not by permission bits: root, as whom tests may run, is stopped by none of them
    said = one_sentence(demo("--out", "/proc/flexpact-demo", cwd=tmp_path))
    assert said.startswith("flexpact demo: /proc/flexpact-demo cannot be written: ")


def test_a_directory_that_is_not_empty_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert "is not empty" in one_sentence(demo("--out", "out", cwd=tmp_path))
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "mine"]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param("nonsense,0.2", id="text as a time"),
        pytest.param("2018-10-29T00:15:00+01:00,x", id="text as a value"),
    ],
)
def test_a_bad_meter_file_is_told_with_the_line(row: str, tmp_path: Path) -> None:
    good = "interval_start,m1\n2018-10-29T00:00:00+01:00,0.1\n"
    (tmp_path / "meters.csv").write_text(f"{good}{row}\n")
    done = demo("--meters", "meters.csv", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "line 3" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_meter_file_is_named(tmp_path: Path) -> None:
    assert "nowhere.csv" in one_sentence(demo("--meters", "nowhere.csv", "--out", "out", cwd=tmp_path))


def test_too_few_meters_for_the_homes_is_told_with_both_numbers(tmp_path: Path) -> None:
    rows = "".join(f"2018-10-29T{h:02d}:{m:02d}:00+01:00,0.1\n" for h in range(24) for m in (0, 15, 30, 45))
    (tmp_path / "meters.csv.gz").write_bytes(gzip.compress(f"interval_start,m1\n{rows}".encode()))
    said = one_sentence(demo("--meters", "meters.csv.gz", "--out", "out", cwd=tmp_path))
    assert "has 1 meters, and 6 nodes with 10 homes need 60" in said


@pytest.mark.parametrize("year", ["2018", "9999"], ids=["a day of it", "at the end of time"])
def test_a_meter_file_that_ends_before_the_day_is_told_with_what_it_covers(year: str, tmp_path: Path) -> None:
    rows = "".join(f"{year}-12-30T{h:02d}:{m:02d}:00+01:00,0.1\n" for h in range(24) for m in (0, 15, 30, 45))
    (tmp_path / "meters.csv").write_text(f"interval_start,m1\n{rows}")
    few = ("--vens", "1", "--households-per-ven", "1")
    said = one_sentence(demo("--meters", "meters.csv", "--out", "out", *few, cwd=tmp_path))
    assert f"covers {year}-12-30T00:00:00+01:00 to {year}-12-31T00:00:00+01:00" in said
    assert not (tmp_path / "out").exists()


def test_what_is_marked_in_a_meter_file_is_listed(tmp_path: Path) -> None:
    marked = tmp_path / "meters.csv"
    marked.write_text("interval_start,m1\n2018-10-29T00:00:00+01:00,0.1\n2018-10-29T00:15:00+01:00,-4\n")
    screen = Console(file=io.StringIO(), width=400)
    tell_remarks(read_meters(marked), tmp_path / "meters.txt", PlainView(screen))
    for said in (screen.file.getvalue(), (tmp_path / "meters.txt").read_text()):
        assert "line 3, column 2 (m1)" in said


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [
            sys.executable,
            "-m",
            "flexpact",
            "ledger",
            "chain",
            "serve",
            "--dir",
            "chain",
            "--port",
            port,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "address already in use" in one_sentence(done).lower()
