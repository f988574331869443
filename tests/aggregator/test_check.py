"""Every change of a row of journal, statements or log is found in the database file alone, and named."""

from __future__ import annotations

import json
import random
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aggregator.check import check_rows
from flexpact.commands import ledger_check
from ledger import book, merkle, offline, tile
from ledger.check import Head, check_log
from ledger.check_anchor import check_anchors
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.errors import LedgerError, TamperedError
from ledger.receipt import Receipt, commitment
from ledger.record import FORMAT
from ledger.trust import Trust
from ledger.verify import Step
from tests.aggregator.conftest import ORIGIN, START, Prepared
from tests.aggregator.mutation import TABLES, mutate
from tests.aggregator.sealed import SealedRun, make_sealed_run


@pytest.fixture(scope="module")
def run(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> SealedRun:
    """One run for all tests; they copy its database or undo what they do to it."""
    return make_sealed_run(prepared, tmp_path_factory)


@pytest.fixture(scope="module")
def trust(run: SealedRun) -> Trust:
    """What an auditor of the run takes as given."""
    return Trust.from_file(run.trust.read_bytes())


@pytest.fixture
def writable(run: SealedRun) -> Iterator[sqlite3.Connection]:
    """The run's database for somebody who may change it; undone at the end."""
    with closing(sqlite3.connect(run.database, isolation_level=None)) as conn:
        conn.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        conn.execute("BEGIN")
        yield conn
        conn.rollback()


def checked(conn: sqlite3.Connection, trust: Trust | None, outside: Sequence[Head] = ()) -> list[Step]:
    """All steps."""

    def quiet(what: str, done: int, of: int) -> None:
        assert done <= of, what

    return [*check_log(conn, trust, quiet, outside), *check_rows(conn, quiet), *check_anchors(conn, trust)]


def said(steps: Sequence[Step], name: str) -> str:
    """What the step of that name says."""
    (text,) = [step.text for step in steps if step.name == name]
    return text


def found(conn: sqlite3.Connection, trust: Trust | None, outside: Sequence[Head] = ()) -> TamperedError:
    """What is found first."""
    with pytest.raises(TamperedError) as caught:
        checked(conn, trust, outside)
    return caught.value


def every_change_is_found(conn: sqlite3.Connection, table: str, trust: Trust | None, count: int) -> None:
    rng = random.Random(table)  # the same changes in every run
    for _ in range(count):
        conn.execute("SAVEPOINT one")
        done, names = mutate(conn, TABLES[table], rng)
        try:
            checked(conn, trust)
        except TamperedError as error:
            assert error.record in names, f"{done}: {error}"
        else:
            pytest.fail(f"not found: {done}")
        conn.execute("ROLLBACK TO one")
        conn.execute("RELEASE one")


@pytest.mark.parametrize("table", TABLES)
def test_ten_random_changes_of_a_table_are_all_found_and_named(
    writable: sqlite3.Connection, table: str, trust: Trust
) -> None:
    assert all(step.status == "checked" for step in checked(writable, trust))
    every_change_is_found(writable, table, trust, 10)


@pytest.mark.long
@pytest.mark.parametrize("trusted", [True, False], ids=["with trust", "without trust"])
@pytest.mark.parametrize("table", TABLES)
def test_a_hundred_random_changes_of_a_table_are_all_found_and_named(
    writable: sqlite3.Connection, table: str, trust: Trust, trusted: bool
) -> None:
    every_change_is_found(writable, table, trust if trusted else None, 100)


def test_rows_that_are_not_sealed_yet_are_told_and_are_no_error(
    writable: sqlite3.Connection, trust: Trust
) -> None:
    writable.execute(
        "INSERT INTO vtn_journal (at, kind, ven_id, key, body) VALUES (1, 'opt', 'v', 'opt/v/1', '{}')"
    )
    assert said(checked(writable, trust), "vtn_journal").endswith("1 newer rows are not sealed yet")


def test_a_key_that_is_declared_lost_is_said_to_leave_its_checkpoints_open(
    writable: sqlite3.Connection, trust: Trust
) -> None:
    (key,) = trust.keys
    lost = replace(trust, keys=(replace(key, lost_at=START),))
    steps = checked(writable, lost)
    assert "with a key that is declared lost" in said(steps, "checkpoint")
    assert {step.status for step in steps if step.name == "checkpoint"} == {"not checked"}


def test_anchors_in_a_block_that_nobody_trusts_are_not_called_checked(
    writable: sqlite3.Connection, trust: Trust
) -> None:
    assert trust.chain is not None
    other = replace(trust, chain=replace(trust.chain, header=bytes(32)))
    assert "in no block that a trust file makes believable" in said(checked(writable, other), "anchor")


def test_a_changed_tail_that_no_checkpoint_covers_is_found_too(
    writable: sqlite3.Connection, trust: Trust
) -> None:
    writable.execute("DELETE FROM ledger_checkpoint WHERE size = (SELECT max(size) FROM ledger_checkpoint)")
    assert "are under no checkpoint yet" in said(checked(writable, trust), "checkpoint")
    size = offline.log_size(writable)
    writable.execute("UPDATE ledger_leaf SET salt = randomblob(32) WHERE leaf_index = ?", (size - 1,))
    assert found(writable, trust).record == f"ledger_leaf {size - 1}"


@pytest.mark.parametrize("to", ["seq - 1", "seq + 1", "'x'"])
def test_a_moved_position_is_found(writable: sqlite3.Connection, trust: Trust, to: str) -> None:
    writable.execute(f"UPDATE agg_position SET seq = {to} WHERE name = 'sealed-journal'")
    assert found(writable, trust).record == "agg_position sealed-journal"


def test_a_row_sealed_in_another_form_is_said_to_be_not_comparable(
    writable: sqlite3.Connection, run: SealedRun
) -> None:
    (index, _, _, canonical), *_ = offline.leaves(writable)
    fields = json.loads(canonical)
    fields["format"], fields["body"]["later"] = FORMAT + "-older", "x"
    rewrite(writable, run, {index: canonical_bytes(fields)})
    steps = checked(writable, None)
    assert "1 of these rows were sealed in another form" in said(steps, "vtn_journal")
    assert {step.status for step in steps if step.name == "vtn_journal"} == {"not checked"}


def test_a_number_that_changes_no_order_is_found_too(writable: sqlite3.Connection, trust: Trust) -> None:
    writable.execute("UPDATE vtn_journal SET seq = -5 WHERE seq = 1")
    assert found(writable, trust).record == "vtn_journal -5"


def test_a_leaf_behind_the_end_of_the_log_is_named(writable: sqlite3.Connection, trust: Trust) -> None:
    size = offline.log_size(writable)
    writable.execute("INSERT INTO ledger_leaf VALUES (?, 'k', randomblob(32), '{}')", (size + 3,))
    assert found(writable, trust).record == f"ledger_leaf {size + 3}"


def test_an_anchor_that_a_chain_lost_since_is_told(writable: sqlite3.Connection, trust: Trust) -> None:
    since = "2027-01-01T00:00:00Z"
    writable.execute(
        "UPDATE ledger_anchor SET state = 'dropped', changed_at = ? WHERE anchor_id = 1", (since,)
    )
    assert "1 of these rows were anchored when" in said(checked(writable, trust), "ledger_anchor")


def test_a_log_written_anew_and_signed_is_found_by_one_old_receipt(
    writable: sqlite3.Connection, run: SealedRun, trust: Trust
) -> None:
    old = Receipt.from_file(run.receipts[1].read_bytes())
    outside = Head(old.checkpoint.size, old.checkpoint.root, "old.txt", old)
    checked(writable, trust, [outside])
    index = next(n for n, key, *_ in offline.leaves(writable) if key.startswith("report/") and n > 9)
    forge_report(writable, run, index)
    passed = checked(writable, trust)
    assert {step.name for step in passed if step.status != "checked"} == {"anchor"}
    caught = found(writable, trust, [outside])
    assert caught.record == "old.txt"
    first, last = (int(word) for word in re.findall("leaves ([0-9]+) to ([0-9]+)", caught.text)[0])
    assert first <= index <= last
    assert last - first < 64


def test_a_receipt_names_the_one_leaf_that_was_changed(
    writable: sqlite3.Connection, run: SealedRun, trust: Trust
) -> None:
    old = Receipt.from_file(run.receipts[-1].read_bytes())
    outside = Head(old.checkpoint.size, old.checkpoint.root, "old.txt", old)
    (key,) = writable.execute("SELECT key FROM ledger_leaf WHERE leaf_index = ?", (old.index,)).fetchone()
    assert not key.startswith(("checkpoint", "anchor", "statement")), "the test needs a fact's receipt"
    forge_report(writable, run, old.index)
    assert f"the leaves {old.index} to {old.index}" in found(writable, trust, [outside]).text


def test_a_log_that_was_cut_off_is_found_by_a_receipt(writable: sqlite3.Connection, trust: Trust) -> None:
    size = offline.log_size(writable)
    longer = Head(size + 5, bytes(32), "later.txt")
    assert found(writable, trust, [longer]).record == "later.txt"


def forge_report(conn: sqlite3.Connection, run: SealedRun, index: int) -> None:
    """Change what one fact says, in the journal and in a log that is written anew for it."""
    (canonical,) = conn.execute("SELECT canonical FROM ledger_leaf WHERE leaf_index = ?", (index,)).fetchone()
    fields = json.loads(canonical)
    (text,) = conn.execute("SELECT body FROM vtn_journal WHERE key = ?", (fields["key"],)).fetchone()
    body = json.loads(text) | {"forged": 1}
    conn.execute("UPDATE vtn_journal SET body = ? WHERE key = ?", (json.dumps(body), fields["key"]))
    fields["body"]["forged"] = 1
    rewrite(conn, run, {index: canonical_bytes(fields)})


def rewrite(conn: sqlite3.Connection, run: SealedRun, changed: dict[int, bytes]) -> None:
    """Put other records into the log and write all of it anew, signed: what only the owner of its key can.

    What the chain holds he cannot change, so he says that nothing was ever anchored.
    """
    key = SigningKey.load(run.log_key)
    conn.execute("UPDATE ledger_anchor SET state = 'dropped', proof = NULL")
    for row in offline.anchors(conn):
        record = book.anchor_record(row)
        conn.execute("UPDATE ledger_leaf SET canonical = ? WHERE key = ?", (record.canonical(), record.key))
    for index, canonical in changed.items():
        conn.execute("UPDATE ledger_leaf SET canonical = ? WHERE leaf_index = ?", (canonical, index))
    for (size,) in conn.execute("SELECT size FROM ledger_checkpoint ORDER BY size").fetchall():
        tiles = tiles_of(conn, size)
        root = merkle.range_hash((0, size), lambda subtree, tiles=tiles: tile.subtree_hash(subtree, tiles))
        row = {
            "note": Checkpoint.sign(size, root, key).text(),
            "commitment": commitment(size, root),
            "size": size,
        }
        conn.execute(
            "UPDATE ledger_checkpoint SET note = :note, commitment = :commitment WHERE size = :size", row
        )
        times = conn.execute("SELECT published_at FROM ledger_checkpoint WHERE size = ?", (size,)).fetchone()
        record = book.checkpoint_record({**row, "published_at": times[0]})
        conn.execute("UPDATE ledger_leaf SET canonical = ? WHERE key = ?", (record.canonical(), record.key))
    conn.execute("DELETE FROM ledger_tile")
    for place, content in tiles_of(conn, offline.log_size(conn)).items():
        conn.execute("INSERT INTO ledger_tile VALUES (?, ?, ?)", (*place, content))


def tiles_of(conn: sqlite3.Connection, size: int) -> dict[tile.Place, bytes]:
    """The tiles of the first leaves, as their rows stand now."""
    rows = list(offline.leaves(conn))[:size]
    return tile.extend(0, {}, [merkle.leaf_hash(salt, canonical) for _, _, salt, canonical in rows])


def canonical_bytes(fields: dict[str, object]) -> bytes:
    """A record in its canonical form."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def command(*arguments: object) -> Result:
    """What the command says, as a person types it."""
    return CliRunner().invoke(ledger_check.app, ["check", *map(str, arguments)])


def test_the_command_exits_zero_where_all_was_checked(run: SealedRun) -> None:
    receipts = [word for receipt in run.receipts for word in ("--receipt", receipt)]
    done = command("--database", run.database, "--trust", run.trust, *receipts)
    assert done.exit_code == 0
    assert done.output.count("the log still holds its") == len(receipts) // 2


def test_without_trust_the_command_exits_three_and_says_what_is_not_known(run: SealedRun) -> None:
    done = command("--database", run.database, "--json", "--receipt", run.receipts[0])
    assert done.exit_code == 3
    unknown = [step["name"] for step in json.loads(done.output)["steps"] if step["status"] != "checked"]
    assert unknown == ["checkpoint", "anchor", "receipt"]


def test_the_command_exits_one_and_names_the_row(run: SealedRun, tmp_path: Path) -> None:
    copy = run.copy(tmp_path)
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        conn.execute("UPDATE vtn_journal SET at = at + 1 WHERE seq = 7")
    done = command("--database", copy, "--trust", run.trust)
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].startswith("FAILED       vtn_journal 7  at is not what was sealed")


def test_a_receipt_of_another_log_is_refused(run: SealedRun, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(Checkpoint.sign(3, bytes(32), SigningKey.generate(ORIGIN)).text(), encoding="utf-8")
    done = command("--database", run.database, "--trust", run.trust, "--receipt", other)
    assert (done.exit_code, "signed by another key" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "is no database file", id="not there"),
        pytest.param(b"x" * 4096, "cannot be read: file is not a database", id="other file"),
        pytest.param(b"", "cannot be read: no such table", id="empty file"),
    ],
)
def test_what_is_no_database_of_ours_is_said_in_one_sentence(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "some.sqlite"
    if content is not None:
        path.write_bytes(content)
    done = command("--database", path)
    assert (done.exit_code, said in str(done.exception)) == (1, True)


def test_a_damaged_file_is_a_finding(run: SealedRun, tmp_path: Path) -> None:
    copy = run.copy(tmp_path)
    with closing(sqlite3.connect(copy)) as conn:
        (page,) = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ledger_leaf'").fetchone()
        (size,) = conn.execute("PRAGMA page_size").fetchone()
    with copy.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 64)
    done = command("--database", copy)
    assert done.exit_code == 1


def test_nothing_is_written_beside_a_file_that_no_process_has_open(run: SealedRun, tmp_path: Path) -> None:
    copy = run.copy(tmp_path)
    before = copy.read_bytes()
    assert command("--database", copy, "--trust", run.trust).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == [copy.name]
    assert copy.read_bytes() == before


def test_a_database_in_use_is_read_as_it_is_now(run: SealedRun, tmp_path: Path) -> None:
    copy = run.copy(tmp_path)
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        conn.execute("DELETE FROM vtn_journal WHERE seq = 5")  # in the -wal, not in the file yet
        assert copy.with_name(copy.name + "-wal").stat().st_size > 0
        done = command("--database", copy)
    assert (done.exit_code, "vtn_journal" in done.output.splitlines()[-1]) == (1, True)


def test_a_file_that_a_process_opens_meanwhile_is_not_judged(run: SealedRun, tmp_path: Path) -> None:
    copy = run.copy(tmp_path)
    with pytest.raises(LedgerError, match="was opened by a process while it was read"), offline.reading(copy):
        copy.with_name(copy.name + "-wal").touch()
