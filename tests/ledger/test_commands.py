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
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flexpact.commands import ledger as ledger_commands
from flexpact.commands import verify as verify_command
from ledger.checkpoint import COSIGNATURE, SigningKey
from ledger.record import Record
from ledger.trust import Trust
from tests.ledger.conftest import Site

EXAMPLE = Path(__file__).parent / "example"
TRUST = EXAMPLE / "trust.toml"


def verify(
    *more: str,
    record: Path = EXAMPLE / "record.json",
    receipt: Path = EXAMPLE / "receipt.tlog-proof",
    trust: Path = TRUST,
) -> Result:
    arguments = [str(receipt), "--record", str(record), "--trust", str(trust), *more]
    return CliRunner().invoke(verify_command.app, arguments)


def trusted(path: Path = TRUST) -> Trust:
    return Trust.from_file(path.read_bytes())


def ledger(*arguments: str) -> Result:
    return CliRunner().invoke(ledger_commands.app, list(arguments))


def changed(source: Path, target: Path, old: str, new: str) -> Path:
    text = source.read_text(encoding="utf-8")
    assert old in text
    target.write_text(text.replace(old, new), encoding="utf-8")
    return target


LOG_KEY = trusted().keys[0].key


def test_a_good_receipt_exits_zero_with_a_line_for_each_step() -> None:
    done = verify()
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert [line.split()[1] for line in lines] == [
        "record", "inclusion", "checkpoint", "contract", "header", "account", "storage",
    ]  # fmt: skip
    assert all(line.startswith("checked ") for line in lines)


def test_a_step_that_cannot_be_checked_exits_three(tmp_path: Path) -> None:
    (tmp_path / "trust.toml").write_bytes(replace(trusted(), chain=None).to_file())
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
    command = [sys.executable, "-m", "flexpact", "verify", str(EXAMPLE / "receipt.tlog-proof"), *more]
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
    chain = trusted().chain
    assert chain is not None
    (tmp_path / "trust.toml").write_bytes(replace(trusted(), chain=replace(chain, id=1)).to_file())
    bad = verify("--json", trust=tmp_path / "trust.toml")
    assert bad.exit_code == 1
    report = json.loads(bad.output)
    assert report["verdict"] == "failed"
    failed = report["steps"][-1]
    assert (failed["name"], failed["status"], failed["text"]) == ("contract", "failed", "another chain")
    assert (failed["expected"], failed["got"]) == ("1", "20260002")
    (tmp_path / "trust.toml").write_bytes(replace(trusted(), chain=None).to_file())
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


def test_a_witness_key_is_made_and_shown(tmp_path: Path) -> None:
    path = str(tmp_path / "witness.key")
    made = ledger("key", "new", path, "--witness", "witness.example/a")
    assert made.output.strip() == str(SigningKey.load(tmp_path / "witness.key", COSIGNATURE).verifier)
    assert ledger("key", "show", path).output == made.output
    both = ledger("key", "new", path, "--witness", "a", "--origin", "b")
    assert (both.exit_code, "exclude each other" in both.output) == (2, True)


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
        (["trust", "--key", "x from 0001-01-01T00:00:00+14:00"], "not a time"),
        (["trust", "--key", "x since 2026-01-01T00:00:00Z"], "--key is KEY, then from TIME"),
        (["trust", "--key", "x from"], "--key is KEY, then from TIME"),
        (["trust", "--key", f"{LOG_KEY}", "--key", f"{LOG_KEY}"], "stands there twice"),
        (["trust", "--key", f"{LOG_KEY}", "--witness", f"{LOG_KEY}"], "of another kind"),
        (["trust", "--key", "x", "--receipt", "/dev/zero"], "not a regular file"),
        (["trust", "--key", "x", "--chain", str(TRUST)], "the file has other entries"),
        (["trust", "--key", "x", "--chain", "{dir}/section"], "line 3 is not in its one form"),
    ],
)
def test_what_goes_wrong_is_one_sentence(arguments: Sequence[str], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "section").write_text(f'[chain]\nid = 1\ncontract = "0x{"22" * 20}" #\n', encoding="ascii")
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
        (["--header", "0x" + "22" * 32], "need --chain-id and"),
        (["--receipt", str(EXAMPLE / "receipt.tlog-proof"), "--chain-id", "5"], "--receipt says what"),
        (["--chain", str(TRUST), "--validator", "0x" + "22" * 20], "--chain says what"),
    ],
)
def test_half_a_chain_makes_no_trust_file(arguments: Sequence[str], said: str) -> None:
    key = str(LOG_KEY)
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
    arguments = ["trust", "--receipt", str(EXAMPLE / "receipt.tlog-proof"), "--key"]
    assert ledger(*arguments, str(LOG_KEY)).output.encode() == TRUST.read_bytes()
    since = ledger(*arguments, f"{LOG_KEY} from 2026-01-01T00:00:00Z")
    assert since.output.encode() == (EXAMPLE / "trust_since.toml").read_bytes()


def test_trust_in_validators_and_witnesses_names_no_block() -> None:
    wanted = trusted(EXAMPLE / "trust_sealed.toml")
    assert wanted.chain is not None
    assert wanted.witness is not None
    arguments = ["trust", "--key", str(LOG_KEY), "--receipt", str(EXAMPLE / "sealed.tlog-proof")]
    for address in wanted.chain.validators:
        arguments += ["--validator", f"0x{address.hex()}"]
    for key in wanted.witness.keys:
        arguments += ["--witness", str(key)]
    assert ledger(*arguments).output.encode() == wanted.to_file()
    one = Trust.from_file(ledger(*arguments, "--needed", "1").output.encode())
    assert one.witness == replace(wanted.witness, needed=1)
    assert "--needed is more than" in ledger(*arguments, "--needed", "4").output


def test_trust_in_validators_that_changed_has_a_set_for_each_stretch_of_blocks() -> None:
    one, two, three = ("0x" + digit * 40 for digit in "123")
    said = [one, f"{two} until 1200", f"{three} from 1200"]
    chain = ["--chain-id", "5", "--contract", "0x" + "22" * 20]
    options = [word for text in said for word in ("--validator", text)]
    done = ledger("trust", "--key", str(LOG_KEY), *chain, *options)
    trust = Trust.from_file(done.output.encode()).chain
    assert trust is not None
    assert trust.validators == ()
    found = [(each.from_block, [f"0x{a.hex()}" for a in each.addresses]) for each in trust.validator_sets]
    assert found == [(0, [one, two]), (1200, [one, three])]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("until 5", "the set of validators from block 5 on is empty"),
        ("from 5 until 5", "--validator ends before it begins: from 5, until 5"),
        ("since 5", "--validator is ADDRESS, then from BLOCK, until BLOCK as needed, not"),
        ("from 05", "not a plain decimal number: '05'"),
        ("from 5 from 6", "--validator is ADDRESS, then"),
    ],
)
def test_a_validators_blocks_make_sense_or_make_no_trust_file(said: str, reason: str) -> None:
    chain = ["--chain-id", "5", "--contract", "0x" + "22" * 20]
    done = ledger("trust", "--key", str(LOG_KEY), *chain, "--validator", f"0x{'11' * 20} {said}")
    assert done.exit_code == 1
    assert reason in done.output
    assert "[log]" not in done.output


def test_trust_in_several_keys_of_the_log() -> None:
    new = SigningKey.generate(LOG_KEY.name).verifier
    done = ledger(
        "trust",
        "--key",
        f"{LOG_KEY} from 2026-01-01T00:00:00Z until 2027-01-01T00:00:00Z lost 2026-06-01T00:00:00Z",
        "--key",
        f"{new} from 2026-06-01T00:00:00Z",
    )
    first, second = Trust.from_file(done.output.encode()).keys
    assert (first.key, second.key) == (LOG_KEY, new)
    assert (first.valid_until, first.lost_at) == (datetime(2027, 1, 1, tzinfo=UTC), second.valid_from)


def test_a_receipt_under_seals_has_a_step_for_them_and_for_its_witnesses() -> None:
    done = verify(receipt=EXAMPLE / "sealed.tlog-proof", trust=EXAMPLE / "trust_sealed.toml")
    assert done.exit_code == 0
    lines = {line.split()[1]: line for line in done.output.splitlines()}
    assert "3 needed, cosigned by witness.example/a at 2026-01-20T18:01:01Z" in lines["witness"]
    assert "3 needed, sealed by 0x" in lines["seals"]


def test_trust_is_written_from_what_a_person_knows() -> None:
    trust = trusted()
    assert trust.chain is not None
    assert trust.chain.header is not None
    assert Trust.from_file(ledger("trust", "--key", str(LOG_KEY)).output.encode()).chain is None
    contract = f"0x{trust.chain.contract.hex()}"
    arguments = ["trust", "--key", str(LOG_KEY), "--chain-id", str(trust.chain.id), "--contract", contract]
    headless = Trust.from_file(ledger(*arguments).output.encode())
    assert headless.chain is not None
    assert headless.chain.header is None
    full = ledger(*arguments, "--header", f"0x{trust.chain.header.hex()}")
    assert full.output.encode() == TRUST.read_bytes()
