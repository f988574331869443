"""`flexpact verify` and `flexpact ledger`, as a person types them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flexpact.commands import ledger as ledger_commands
from flexpact.commands import verify as verify_command
from ledger.checkpoint import SigningKey
from ledger.record import Record
from ledger.trust import Trust
from tests.ledger.conftest import Site

EXAMPLE = Path(__file__).parent / "example"
TRUST = EXAMPLE / "trust.toml"


def verify(
    *more: str,
    record: Path = EXAMPLE / "record.json",
    receipt: Path = EXAMPLE / "receipt.txt",
    trust: Path = TRUST,
) -> Result:
    arguments = [str(receipt), "--record", str(record), "--trust", str(trust), *more]
    return CliRunner().invoke(verify_command.app, arguments)


def ledger(*arguments: str) -> Result:
    return CliRunner().invoke(ledger_commands.app, list(arguments))


def changed(source: Path, target: Path, old: str, new: str) -> Path:
    text = source.read_text(encoding="utf-8")
    assert old in text
    target.write_text(text.replace(old, new), encoding="utf-8")
    return target


def test_a_good_receipt_exits_zero_with_a_line_for_each_step() -> None:
    done = verify()
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert [line.split()[1] for line in lines] == [
        "record", "inclusion", "checkpoint", "contract", "header", "account", "storage",
    ]  # fmt: skip
    assert all(line.startswith("checked ") for line in lines)


def test_a_step_that_cannot_be_checked_exits_three(tmp_path: Path) -> None:
    text = TRUST.read_text(encoding="utf-8")
    (tmp_path / "trust.toml").write_text(text[: text.index("\n[chain]")], encoding="utf-8")
    done = verify(trust=tmp_path / "trust.toml")
    assert done.exit_code == 3
    assert sum(line.startswith("not checked ") for line in done.output.splitlines()) == 4


def test_a_changed_record_exits_one_and_names_step_and_both_values(tmp_path: Path) -> None:
    done = verify(record=changed(EXAMPLE / "record.json", tmp_path / "r", '"load"', '"loaf"'))
    assert done.exit_code == 1
    last = done.output.splitlines()[-1]
    assert last.startswith("FAILED       inclusion ")
    assert "expected" in last
    assert "got" in last


@pytest.mark.parametrize("name", ["record", "receipt", "trust"])
def test_a_file_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    done = verify(**{name: tmp_path / "none"})  # type: ignore[arg-type] # one of the three paths
    assert done.exit_code == 1
    assert f"{name} " in done.output
    assert "cannot be read" in done.output


GARBAGE = '{"at":"2026-01-20T17:15:00Z","body":{},"format":"\\ud800","key":"k","kind":"k","salt":""}'


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_text_that_cannot_be_printed_is_escaped(more: Sequence[str], tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text(GARBAGE, encoding="ascii")
    command = [sys.executable, "-m", "flexpact", "verify", str(EXAMPLE / "receipt.txt"), *more]
    done = subprocess.run(
        [*command, "--record", str(record), "--trust", str(TRUST)], capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"format is not known" in done.stdout
    assert b"ud800" in done.stdout
    assert done.stderr == b""


def test_a_record_prints_no_line_of_its_own_and_moves_no_cursor(tmp_path: Path) -> None:
    forged = replace(
        Record.from_file((EXAMPLE / "record.json").read_bytes()),
        key="k\nchecked      storage     all is well\x1b[2A\r\u202e\u2028",
    )
    (tmp_path / "r").write_bytes(forged.to_file())
    done = verify(record=tmp_path / "r")
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert [line.split()[:2] for line in lines] == [["checked", "record"], ["FAILED", "inclusion"]]
    assert all(line.isprintable() for line in lines)
    assert r"k\nchecked" in lines[0]


@pytest.mark.parametrize("name", ["record", "receipt", "trust"])
@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_what_is_no_regular_file_is_refused_unread(name: str, kind: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = {"device": Path("/dev/zero"), "pipe": tmp_path / "pipe"}[kind]
    done = verify(**{name: path})  # type: ignore[arg-type] # one of the three paths
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].endswith("cannot be read: it is not a regular file")


def test_a_file_that_is_too_large_is_read_no_further_than_its_limit(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)  # sparse: no machine reads it whole
    done = verify(receipt=tmp_path / "huge")
    assert done.exit_code == 1
    assert "is larger than" in done.output


def test_json_says_the_same(tmp_path: Path) -> None:
    good = json.loads(verify("--json").output)
    assert good["verdict"] == "verified"
    assert [step["status"] for step in good["steps"]] == ["checked"] * 7
    broken = changed(EXAMPLE / "receipt.txt", tmp_path / "r", "chain 2", "chain 3")
    bad = verify("--json", receipt=broken)
    assert bad.exit_code == 1
    report = json.loads(bad.output)
    assert report["verdict"] == "failed"
    failed = report["steps"][-1]
    assert (failed["name"], failed["status"], failed["text"]) == ("contract", "failed", "another chain")
    assert (failed["expected"], failed["got"]) == ("20260002", "30260002")
    text = TRUST.read_text(encoding="utf-8")
    (tmp_path / "trust.toml").write_text(text[: text.index("\n[chain]")], encoding="utf-8")
    assert json.loads(verify("--json", trust=tmp_path / "trust.toml").output)["verdict"] == "not checked"


def test_a_log_key_is_made_shown_and_not_overwritten(tmp_path: Path) -> None:
    path = str(tmp_path / "log.key")
    made = ledger("key", "new", path, "--origin", "example.org/log")
    assert made.exit_code == 0
    assert made.output.strip() == str(SigningKey.load(tmp_path / "log.key").verifier)
    assert ledger("key", "show", path).output == made.output
    again = ledger("key", "new", path, "--origin", "example.org/log")
    assert "exists already" in str(again.exception)
    assert again.exit_code != 0


def test_a_chain_key_is_made(tmp_path: Path) -> None:
    made = ledger("key", "new", str(tmp_path / "chain.key"))
    assert made.exit_code == 0
    assert made.output.startswith("0x")
    assert len(made.output.strip()) == 42


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["key", "show", "none"], "cannot be read"),
        (["key", "new", "none/x"], "cannot be written"),
        (["chain", "serve", "--dir", "/proc/none"], "No such file"),
        (["chain", "serve", "--dir", "{dir}", "--clock", "noon"], "is not a clock"),
        (["deploy", "--rpc", "http://127.0.0.1:9", "--key-file", "none"], "cannot be read"),
        (["chain", "serve", "--dir", "{dir}/file"], "file: File exists"),
        (["chain", "serve", "--dir", "{dir}/chain"], "unable to open database file"),
        (["trust", "--key", "x"], "not of the form"),
        (["trust", "--key", "x", "--valid-from", "0001-01-01T00:00:00+14:00"], "not a time"),
        (["trust", "--key", "x", "--receipt", "/dev/zero"], "not a regular file"),
    ],
)
def test_what_goes_wrong_is_one_sentence(arguments: Sequence[str], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "chain" / "chain.db").mkdir(parents=True)
    done = ledger(*(word.replace("{dir}", str(tmp_path)) for word in arguments))
    assert isinstance(done.exception, SystemExit)
    assert str(done.exception).startswith("flexpact ledger: ")
    assert sentence in str(done.exception)
    assert "\n" not in str(done.exception)
    assert "[Errno" not in str(done.exception)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = ledger("chain", "serve", "--dir", str(tmp_path), "--port", str(port))
    sentence = f"flexpact ledger: cannot listen on 127.0.0.1 port {port}: Address already in use"
    assert str(done.exception) == sentence


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--chain-id", "0", "--contract", "0x" + "22" * 20], "greater than or equal to 1"),
        (["--chain-id", "5"], "go together"),
        (["--contract", "0x" + "22" * 20], "go together"),
        (["--header", "0x" + "22" * 32], "needs --chain-id and"),
        (["--receipt", str(EXAMPLE / "receipt.txt"), "--chain-id", "5"], "--receipt says what"),
    ],
)
def test_half_a_chain_makes_no_trust_file(arguments: Sequence[str], said: str) -> None:
    key = str(Trust.from_file(TRUST.read_bytes()).key)
    done = ledger("trust", "--key", key, *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "[log]" not in done.output


async def test_deploy_prints_the_address(site: Site) -> None:

    arguments = ["deploy", "--rpc", site.server.url, "--key-file", str(site.directory / "chain.key")]
    done = await asyncio.to_thread(ledger, *arguments, "--publisher", "0x" + "22" * 20)
    assert done.exit_code == 0
    address = done.output.strip()
    assert site.chain.state(site.chain.head()).get_code(bytes.fromhex(address[2:]))


def test_trust_is_taken_from_a_receipt() -> None:
    key = str(Trust.from_file(TRUST.read_bytes()).key)
    done = ledger("trust", "--key", key, "--receipt", str(EXAMPLE / "receipt.txt"))
    assert done.output.encode() == TRUST.read_bytes()
    since = ledger(
        "trust",
        "--key",
        key,
        "--receipt",
        str(EXAMPLE / "receipt.txt"),
        "--valid-from",
        "2026-01-01T00:00:00Z",
    )
    assert since.output.encode() == (EXAMPLE / "trust_since.toml").read_bytes()


def test_trust_is_written_from_what_a_person_knows() -> None:
    trust = Trust.from_file(TRUST.read_bytes())
    assert trust.chain is not None
    bare = ledger("trust", "--key", str(trust.key))
    assert Trust.from_file(bare.output.encode()).chain is None
    arguments = [
        "trust",
        "--key",
        str(trust.key),
        "--chain-id",
        str(trust.chain.id),
        "--contract",
        f"0x{trust.chain.contract.hex()}",
    ]
    headless = Trust.from_file(ledger(*arguments).output.encode())
    assert headless.chain is not None
    assert headless.chain.header is None
    assert trust.chain.header is not None
    full = ledger(*arguments, "--header", f"0x{trust.chain.header.hex()}")
    assert full.output.encode() == TRUST.read_bytes()
