"""Recorded conversations: real deviations of a released implementation are named, each by its criterion."""

from __future__ import annotations

import json
import os
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from flexpact.cli import build
from openadr.trace import Exchange, judge, read_trace

TRACES = Path(__file__).parent / "traces"
OPENLEADR = TRACES / "openleadr"
# Recorded by tests/interop/record_openleadr.py: what openleadr 0.5.36 does other than the rules say.
THEIR_VTN = {
    "ERR-03",
    "EVT-14",
    "EVT-15",
    "EVT-19",
    "EVT-21",
    "EVT-27",
    "REG-12",
    "RPT-14",
    "RPT-17",
    "RPT-36",
}
THEIR_VEN = {"RPT-01", "RPT-22", "RPT-40"}


def rules(trace: Path, party: str) -> set[str]:
    return {
        remark.finding.rule
        for _, remark in judge(read_trace(trace))
        if remark.party == party and not remark.finding.warning
    }


def test_the_checker_names_what_another_vtn_does_wrong() -> None:
    assert rules(OPENLEADR / "vtn", "VTN") == THEIR_VTN


def test_the_checker_names_what_another_ven_does_wrong() -> None:
    assert rules(OPENLEADR / "ven", "VEN") == THEIR_VEN


def test_exchanges_come_in_the_order_of_their_names_and_an_empty_reply_is_no_message(tmp_path: Path) -> None:
    for name in ("0002", "0001"):
        (tmp_path / f"{name}-request.xml").write_bytes(name.encode())
    (tmp_path / "0001-response.xml").write_bytes(b"reply")
    (tmp_path / "notes.txt").write_text("not part of it")
    assert list(read_trace(tmp_path)) == [
        Exchange("0001", b"0001", b"reply"),
        Exchange("0002", b"0002", b""),
    ]


def test_what_is_no_message_is_a_finding_of_its_sender() -> None:
    ((_, remark),) = judge([Exchange("1", b"<oadrPoll>")])
    assert (remark.party, remark.finding.rule) == ("VEN", "GEN-01")


def check(*arguments: str) -> Result:
    return CliRunner().invoke(build(["openadr"]), ["openadr", "check", "--trace", *arguments])


def test_the_command_prints_a_line_for_each_finding_and_fails() -> None:
    done = check("--json", str(OPENLEADR / "vtn"))
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert {row["rule"] for row in rows if row["party"] == "VTN" and not row["warning"]} == THEIR_VTN
    assert rows[0].keys() == {"trace", "exchange", "party", "rule", "warning", "text"}


def test_the_command_shows_a_table_with_one_row_for_each_rule() -> None:
    done = check(str(OPENLEADR / "ven"))
    assert done.exit_code == 1
    assert "RPT-40" in done.stdout


def test_a_directory_without_exchanges_is_refused_in_a_sentence(tmp_path: Path) -> None:
    done = check(str(tmp_path))
    assert done.exit_code == 2
    assert "no file NNNN-request.xml" in " ".join(done.output.replace("│", " ").split())


def test_a_pipe_in_a_trace_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0001-request.xml")
    done = check(str(tmp_path))
    assert done.exit_code == 2
    assert "it is no regular file" in " ".join(done.output.replace("│", " ").split())
