"""Under load, with a killed server and lost answers, all logs agree; and the join would see it otherwise.

`benchmarks/load_proof.py` is the same with more of everything (GOALS 69).
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.load_proof import judged, prove

VENS, EVENTS, KILLS = 3, 3, 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    directory = tmp_path_factory.mktemp("load")
    return directory, prove(directory, VENS, EVENTS, KILLS)


@pytest.mark.goal(69)
def test_nothing_is_lost_or_doubled(run: tuple[Path, dict[str, object]]) -> None:
    _, figures = run
    assert (figures["lost"], figures["duplicated"], figures["kills"]) == (0, 0, KILLS)
    assert figures["events"] == VENS * EVENTS
    assert int(str(figures["answers"])) >= VENS * EVENTS
    assert int(str(figures["readings"])) >= VENS


def change(statement: str) -> Callable[[Path], None]:
    """The database as if this had happened."""

    def act(directory: Path) -> None:
        with closing(sqlite3.connect(directory / "vtn.db")) as db:
            assert db.execute(statement).rowcount > 0
            db.commit()

    return act


def log(name: str, *, without: str = "", twice: str = "") -> Callable[[Path], None]:
    """A log in which the first line of this kind is missing, or is there twice."""

    def act(directory: Path) -> None:
        path = directory / f"{name}.jsonl"
        lines = path.read_text().splitlines()
        (found, *_) = [line for line in lines if f'"{without or twice}"' in line]
        if without:
            lines.remove(found)
        else:
            lines.append(found)
        path.write_text("".join(f"{line}\n" for line in lines))

    return act


ONE = "WHERE rowid = (SELECT min(rowid) FROM {} {})"
AGAIN = "INSERT INTO vtn_opt SELECT NULL, {} FROM vtn_opt WHERE seq = (SELECT min(seq) FROM vtn_opt)"
OPT_COLUMNS = "ven_id, key || 'x', at, source, opt_type, event_id, modification_number, opt_id, response_code"
WRONG = {
    # what happens -> whether something is lost by it, or doubled
    "an event is gone": (change("DELETE FROM vtn_event " + ONE.format("vtn_event", "")), "lost"),
    "an event is of another version": (
        change("UPDATE vtn_event SET modification_number = 7 " + ONE.format("vtn_event", "")),
        "lost",
    ),
    "a signal is gone": (
        change("DELETE FROM vtn_journal " + ONE.format("vtn_journal", "WHERE kind = 'signal'")),
        "lost",
    ),
    "an answer is gone": (
        change("DELETE FROM vtn_opt " + ONE.format("vtn_opt", "WHERE source = 'created_event'")),
        "lost",
    ),
    "a report is gone": (
        change("DELETE FROM vtn_journal " + ONE.format("vtn_journal", "WHERE kind = 'report'")),
        "lost",
    ),
    "readings are others": (
        change("UPDATE vtn_reading SET value = value + 1"),
        "lost",
    ),
    "a VEN has decided nothing": (log("ven-0001", without="decided"), "lost"),
    "a VEN has decided twice": (log("ven-0001", twice="decided"), "doubled"),
    "an answer is there twice": (change(AGAIN.format(OPT_COLUMNS + ", content, cancelled_at")), "doubled"),
    "an event that the operator was not told of": (log("operator", without="event-000"), "doubled"),
}


@pytest.mark.goal(69)
@pytest.mark.parametrize("what", WRONG)
def test_the_join_sees_what_is_lost_or_doubled(
    what: str, run: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    act, kind = WRONG[what]
    directory = Path(shutil.copytree(run[0], tmp_path / "run", ignore=shutil.ignore_patterns("control")))
    act(directory)
    found = judged(directory)
    assert getattr(found, kind)


@pytest.mark.long
@pytest.mark.goal(69)
def test_a_fleet_loses_and_doubles_nothing() -> None:
    command = [sys.executable, "benchmarks/load_proof.py", "--vens", "100", "--events", "24", "--kills", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, figures["lost"], figures["duplicated"]) == (0, 0, 0), done.stdout
