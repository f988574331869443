"""Every change of a row of journal, statements or log is found in the database file alone, and named."""

from __future__ import annotations

import hashlib
import json
import random
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from aggregator.check import check_rows
from aggregator.check_events import check_answers, check_events
from aggregator.check_readings import check_readings
from ledger import offline
from ledger.check import Head, check_log
from ledger.check_anchor import check_anchors
from ledger.errors import TamperedError
from ledger.receipt import Receipt
from ledger.record import FORMAT
from ledger.trust import Trust
from ledger.verify import Step
from tests.aggregator.conftest import START, Prepared
from tests.aggregator.forgery import canonical_bytes, forge_report, rewrite
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


def missed(conn: sqlite3.Connection, table: str, trust: Trust | None, count: int) -> list[str]:
    """The changes that are not found, or found at another record."""
    rng = random.Random(table)  # the same changes in every run
    wrong = []
    for _ in range(count):
        conn.execute("SAVEPOINT one")
        done, names = mutate(conn, TABLES[table], rng)
        try:
            checked(conn, trust)
        except TamperedError as error:
            if error.record not in names:
                wrong.append(f"{done}: {error}")
        else:
            wrong.append(f"not found: {done}")
        conn.execute("ROLLBACK TO one")
        conn.execute("RELEASE one")
    return wrong


@pytest.mark.goal(50)
@pytest.mark.parametrize("table", TABLES)
def test_ten_random_changes_of_a_table_are_all_found_and_named(
    writable: sqlite3.Connection, table: str, trust: Trust
) -> None:
    assert all(step.status == "checked" for step in checked(writable, trust))
    assert missed(writable, table, trust, 10) == []


@pytest.mark.goal(50)
@pytest.mark.long
@pytest.mark.parametrize("trusted", [True, False], ids=["with trust", "without trust"])
@pytest.mark.parametrize("table", TABLES)
def test_a_hundred_random_changes_of_a_table_are_all_found_and_named(
    writable: sqlite3.Connection, table: str, trust: Trust, trusted: bool
) -> None:
    assert missed(writable, table, trust if trusted else None, 100) == []


SAID = {
    "vtn_event": (check_events, ("modification_number", "content", "event_id")),
    "vtn_opt": (check_answers, ("at", "opt_type", "event_id", "modification_number", "response_code")),
    "vtn_reading": (
        check_readings,
        ("ts", "r_id", "duration_s", "value", "quality", "created_at", "report_request_id"),
    ),
}
"""What nodes were sent and have said: how it is compared, and the columns that facts bind."""


@pytest.mark.goal(50)
@pytest.mark.parametrize("table", SAID)
@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.long)])
def test_random_changes_of_what_nodes_were_sent_and_said_are_found(
    writable: sqlite3.Connection, table: str, count: int
) -> None:
    assert SAID[table][0](writable).status == "checked"
    assert unnoticed(writable, table, count) == []


def unnoticed(conn: sqlite3.Connection, table: str, count: int) -> list[str]:
    """The changes that are not found, or found elsewhere."""
    check, columns = SAID[table]
    rng, wrong = random.Random(table), []  # the same changes in every run
    for _ in range(count):
        conn.execute("SAVEPOINT one")
        done, named = change_said(conn, table, rng.choice([*columns, ""]), rng)
        try:
            step = check(conn)
            found_at = step.text if step.status == "not checked" else "nothing"
        except TamperedError as error:
            found_at = error.record
        if not any(name in found_at for name in named):
            wrong.append(f"{done}: {found_at}")
        conn.execute("ROLLBACK TO one")
        conn.execute("RELEASE one")
    return wrong


def change_said(
    conn: sqlite3.Connection, table: str, column: str, rng: random.Random
) -> tuple[str, list[str]]:
    """Change a value of a row, or delete it where no column is given; how a check may name what is wrong."""
    keys = [row[1] for row in conn.execute(f"PRAGMA table_info({table})") if row[5]]
    telemetry = "WHERE report_name LIKE '%TELEMETRY%'" if table == "vtn_reading" else ""
    rows = sorted(conn.execute(f"SELECT {', '.join(keys)} FROM {table} {telemetry}"))
    key = rng.choice(rows)
    where = " AND ".join(f"{name} = ?" for name in keys)
    (ven_id,) = conn.execute(f"SELECT ven_id FROM {table} WHERE {where}", key).fetchone()
    if not column:
        conn.execute(f"DELETE FROM {table} WHERE {where}", key)
        return f"deleted {key}", [table] if table == "vtn_opt" else [f"{table} {ven_id}/"]
    (old,) = conn.execute(f"SELECT {column} FROM {table} WHERE {where}", key).fetchone()
    new = old + 1 if isinstance(old, int | float) else old + b"x" if isinstance(old, bytes) else f"{old}x"
    conn.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (new, *key))
    return f"{column} of {key}", [f"{table} {key[0]}" if table == "vtn_opt" else f"{table} {ven_id}/"]


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


@pytest.mark.parametrize(("moved", "to"), [(9, 69), (10, -3)], ids=["behind the next", "to the front"])
def test_of_two_rows_out_of_order_the_one_that_moved_is_named(
    writable: sqlite3.Connection, trust: Trust, moved: int, to: int
) -> None:
    writable.execute("UPDATE agg_statement SET seq = ? WHERE seq = ?", (to, moved))
    assert found(writable, trust).record == f"agg_statement {to}"


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


@pytest.mark.parametrize("changed_at", ["2025-01-01T00:00:00Z", None], ids=["earlier", "the same"])
def test_an_anchor_cannot_have_been_lost_before_it_was_sealed(
    writable: sqlite3.Connection, trust: Trust, changed_at: str | None
) -> None:
    writable.execute("UPDATE ledger_anchor SET state = 'dropped' WHERE anchor_id = 1")
    if changed_at is not None:
        writable.execute("UPDATE ledger_anchor SET changed_at = ? WHERE anchor_id = 1", (changed_at,))
    assert found(writable, trust).record == "ledger_anchor 1"


@pytest.mark.parametrize(
    ("change", "record"),
    [
        pytest.param(
            "vtn_journal SET body = replace(body, ': ', ':') WHERE seq = 3", "vtn_journal 3", id="blanks"
        ),
        pytest.param("vtn_journal SET body = '[]' WHERE seq = 3", "vtn_journal 3", id="no object"),
        pytest.param(
            "vtn_journal SET body = '{\"seq\": 9, ' || substr(body, 2) WHERE seq = 3",
            "vtn_journal 3",
            id="a number",
        ),
        pytest.param(
            "agg_statement SET detail = detail || ' ' WHERE seq = 2", "agg_statement 2", id="detail"
        ),
        pytest.param("agg_statement SET body = body || ' ' WHERE seq = 2", "agg_statement 2", id="statement"),
        pytest.param("agg_statement SET event_id = 'x' WHERE seq = 2", "agg_statement 2", id="column"),
    ],
)
def test_a_row_in_another_form_is_found_though_it_says_the_same(
    writable: sqlite3.Connection, trust: Trust, change: str, record: str
) -> None:
    writable.execute(f"UPDATE {change}")
    assert found(writable, trust).record == record


def test_a_message_that_is_not_the_one_of_its_hash_is_found(
    writable: sqlite3.Connection, trust: Trust
) -> None:
    digest = hashlib.sha256(b"as it came").hexdigest()
    writable.execute(
        "INSERT INTO vtn_original (sha256, ven_id, received_at, raw) VALUES (?, 'v', 1, ?)",
        (digest, b"as it came"),
    )
    assert said(checked(writable, trust), "vtn_original") == "1 messages are those of their hashes"
    writable.execute("UPDATE vtn_original SET raw = ?", (b"as it came?",))
    assert found(writable, trust).record == f"vtn_original {digest}"


def test_a_row_that_passes_for_sealed_is_found(writable: sqlite3.Connection, trust: Trust) -> None:
    new = writable.execute(
        "INSERT INTO vtn_journal (at, kind, ven_id, key, body) VALUES (1, 'opt', 'v', 'opt/v/1', '{}')"
    ).lastrowid
    writable.execute("UPDATE agg_position SET seq = ? WHERE name = 'sealed-journal'", (new,))
    assert found(writable, trust).record == f"vtn_journal {new}"


@pytest.mark.parametrize(
    ("size", "proof", "text"),
    [
        ("none", "newest", "there is no checkpoint of its size"),
        ("open", "newest", "its proof is of another checkpoint"),
        ("open", "none", "it is anchored without a proof"),
    ],
)
def test_an_anchor_that_is_not_sealed_yet_must_prove_its_checkpoint(
    writable: sqlite3.Connection, trust: Trust, size: str, proof: str, text: str
) -> None:
    newest, shown = writable.execute(
        "SELECT size, proof FROM ledger_anchor WHERE state = 'anchored' ORDER BY size DESC"
    ).fetchone()
    row = (larger(writable, newest) if size == "open" else newest + 1, shown if proof == "newest" else None)
    writable.execute("PRAGMA ignore_check_constraints=ON")
    writable.execute(
        "INSERT INTO ledger_anchor (state, size, proof, changed_at)"
        " VALUES ('anchored', ?, ?, '2027-01-01T00:00:00Z')",
        row,
    )
    caught = found(writable, trust)
    assert caught.record.startswith("ledger_anchor ")
    assert text in caught.text


def larger(conn: sqlite3.Connection, size: int) -> int:
    """The size of a checkpoint above that one: it is not anchored."""
    (found_size,) = conn.execute("SELECT min(size) FROM ledger_checkpoint WHERE size > ?", (size,)).fetchone()
    return int(found_size)


@pytest.mark.goal(50)
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
