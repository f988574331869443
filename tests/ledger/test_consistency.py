"""Two checkpoints of one log: that it only grew, and what is kept of a log that forked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flexpact.commands import ledger_check, verify
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.consistency import (
    MAX_FILE_BYTES,
    ConsistencyProof,
    consistency_steps,
    keep_evidence,
    read_head,
)
from ledger.errors import ForkError, MalformedError, VerificationError
from ledger.log import Log
from ledger.merkle import EMPTY_ROOT, complete_root, consistency_ranges, leaf_hash, range_hash
from ledger.record import Record
from ledger.trust import LogKey, Trust
from vtn.store import Database

ORIGIN = "example.org/log"
KEY = SigningKey.generate(ORIGIN)
TRUST = Trust((LogKey(KEY.verifier),))
NOW = datetime(2026, 1, 20, tzinfo=UTC)
RECEIPT = Path(__file__).parent / "example" / "receipt.tlog-proof"
LEAVES = [leaf_hash(bytes(32), str(number).encode()) for number in range(40)]


def head(size: int, leaves: Sequence[bytes] = LEAVES, key: SigningKey = KEY) -> Checkpoint:
    """The signed checkpoint of the first leaves."""
    root = hash_of((0, size), leaves) if size else EMPTY_ROOT
    return Checkpoint.sign(size, root, key)


def hash_of(span: tuple[int, int], leaves: Sequence[bytes]) -> bytes:
    """The hash of a range of them."""

    def subtree(place: tuple[int, int]) -> bytes:
        level, index = place
        return complete_root(leaves[index << level : (index + 1) << level])

    return range_hash(span, subtree)


def proof(old: int, new: int, leaves: Sequence[bytes] = LEAVES) -> ConsistencyProof:
    """The proof between two sizes."""
    return ConsistencyProof(old, new, tuple(hash_of(span, leaves) for span in consistency_ranges(old, new)))


def steps(one: Checkpoint, other: Checkpoint, shown: ConsistencyProof | None = None) -> list[str]:
    """What the steps say."""
    return [step.text for step in consistency_steps(one, other, shown, TRUST)]


@pytest.mark.parametrize(("old", "new"), [(1, 2), (5, 9), (8, 40), (39, 40), (16, 32)])
def test_a_log_that_grew_is_said_to_have_grown_in_either_order(old: int, new: int) -> None:
    said = f"the log only grew, from {old} to {new} leaves"
    assert steps(head(old), head(new), proof(old, new))[-1] == said
    assert steps(head(new), head(old), proof(old, new))[-1] == said


def test_two_checkpoints_of_one_tree_need_no_proof() -> None:
    assert steps(head(7), head(7))[-1] == "both are of the same tree of 7 leaves"


def test_two_trees_of_one_size_are_a_fork() -> None:
    other = head(7, LEAVES[1:])
    with pytest.raises(ForkError, match="two trees of 7 leaves") as caught:
        steps(head(7), other)
    assert caught.value.evidence == (head(7).text(), other.text())
    assert caught.value.got == other.root.hex()


def test_a_smaller_tree_that_is_not_in_the_larger_is_kept_with_the_proof() -> None:
    other = head(20, [b"x" * 32, *LEAVES])
    with pytest.raises(ForkError, match="does not show that the tree of 20 leaves holds that of 7") as caught:
        steps(head(7), other, proof(7, 20))
    assert caught.value.evidence == (head(7).text(), other.text(), proof(7, 20).text())


def test_without_a_proof_the_command_that_makes_it_is_named() -> None:
    with pytest.raises(VerificationError, match="flexpact ledger consistency 7 20") as caught:
        steps(head(20), head(7))
    assert not isinstance(caught.value, ForkError)


def test_a_proof_for_other_sizes_is_no_evidence_of_a_fork() -> None:
    with pytest.raises(VerificationError, match="expected 7 and 20, got 7 and 21") as caught:
        steps(head(7), head(20), proof(7, 21))
    assert not isinstance(caught.value, ForkError)


@pytest.mark.parametrize("which", [0, 1])
def test_a_checkpoint_that_the_log_did_not_sign_is_no_evidence(which: int) -> None:
    heads = [head(7), head(20)]
    heads[which] = head(heads[which].size, LEAVES[1:], SigningKey.generate(ORIGIN))
    with pytest.raises(VerificationError, match="signed by another key") as caught:
        steps(heads[0], heads[1], proof(7, 20))
    assert not isinstance(caught.value, ForkError)


def test_a_proof_is_read_as_it_was_written() -> None:
    shown = proof(7, 20)
    assert ConsistencyProof.from_file(shown.text().encode()) == shown


def test_no_changed_byte_of_a_proof_passes() -> None:
    raw = proof(7, 20).text().encode()
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(VerificationError):
            steps(head(7), head(20), ConsistencyProof.from_file(changed))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param(b"", "format is not known", id="empty"),
        pytest.param(
            b"flexpact-consistency/v2\nold 1\nnew 2\n", "got 'flexpact-consistency/v2'", id="future"
        ),
        pytest.param(b"flexpact-consistency/v1\nold 1\n", "not format, old size", id="cut off"),
        pytest.param(b"flexpact-consistency/v1\nold 1\nnew 2", "not format, old size", id="no last line end"),
        pytest.param(b"flexpact-consistency/v1\nnew 1\nold 2\n", "not format, old size", id="exchanged"),
        pytest.param(b"flexpact-consistency/v1\nold 01\nnew 2\n", "plain decimal", id="leading zero"),
        pytest.param(
            b"flexpact-consistency/v1\nold 1\nnew 2\nAAAA\n", "expected 32 bytes, got 3", id="short"
        ),
        pytest.param(
            b"flexpact-consistency/v1\nold 1\nnew 2\n\n", "expected 32 bytes, got 0", id="blank line"
        ),
        pytest.param(b"\xff", "not UTF-8 at byte 0", id="no text"),
        pytest.param(b"x" * (MAX_FILE_BYTES + 1), f"larger than {MAX_FILE_BYTES}", id="too long"),
    ],
)
def test_a_malformed_proof_is_refused_with_the_place(raw: bytes, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        ConsistencyProof.from_file(raw)


def test_a_head_is_read_from_a_receipt_and_from_a_checkpoint() -> None:
    of_receipt = read_head(RECEIPT.read_bytes())
    assert read_head(of_receipt.text().encode()) == of_receipt
    with pytest.raises(MalformedError, match="not UTF-8"):
        read_head(b"\xff")


def test_the_same_evidence_is_kept_once_and_nothing_is_overwritten(tmp_path: Path) -> None:
    with pytest.raises(ForkError) as caught:
        steps(head(7), head(7, LEAVES[1:]))
    first = keep_evidence(tmp_path, caught.value)
    assert keep_evidence(tmp_path, caught.value) == first
    for checkpoint in caught.value.evidence:
        assert checkpoint in first.read_text(encoding="utf-8")
    first.write_bytes(b"cut off")
    second = keep_evidence(tmp_path, caught.value)
    assert first.read_bytes() == b"cut off"
    assert sorted(tmp_path.iterdir()) == sorted([first, second])


def files(folder: Path, **content: str) -> list[str]:
    """Files of these names, and their paths."""
    for name, text in content.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [str(folder / name) for name in content]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(verify.app, list(arguments))


def test_the_command_says_that_a_log_only_grew(tmp_path: Path) -> None:
    old, new, shown, trust = files(
        tmp_path, old=head(5).text(), new=head(9).text(), proof=proof(5, 9).text(), trust=TRUST.text()
    )
    done = run("--consistency", old, new, "--proof", shown, "--trust", trust)
    assert (done.exit_code, done.output.splitlines()[-1].split()[:2]) == (0, ["checked", "consistency"])
    done = run("--consistency", old, new, "--trust", trust)
    assert done.exit_code == 1
    assert "flexpact ledger consistency 5 9" in done.output


def test_the_command_keeps_the_evidence_of_a_fork_and_says_where(tmp_path: Path) -> None:
    old, new, trust = files(tmp_path, old=head(5).text(), new=head(5, LEAVES[1:]).text(), trust=TRUST.text())
    kept = tmp_path / "kept"
    kept.mkdir()
    done = run("--consistency", old, new, "--trust", trust, "--keep", str(kept), "--json")
    assert done.exit_code == 1
    (path,) = kept.iterdir()
    assert f"both checkpoints are kept in {path}" in done.stderr
    assert json.loads(done.stdout)["verdict"] == "failed"
    assert head(5).text() in path.read_text(encoding="utf-8")


def test_evidence_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    old, new, trust = files(tmp_path, old=head(5).text(), new=head(5, LEAVES[1:]).text(), trust=TRUST.text())
    done = run("--consistency", old, new, "--trust", trust, "--keep", str(tmp_path / "none"))
    assert done.exit_code == 1
    assert "could not be kept" in str(done.exception)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["r", "--consistency", "a", "b"], id="a receipt too"),
        pytest.param(["--record", "r", "--consistency", "a", "b"], id="a record too"),
        pytest.param(["r", "--record", "r", "--proof", "p"], id="a proof without it"),
        pytest.param([], id="nothing at all"),
        pytest.param(["r"], id="no record"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(words: list[str]) -> None:
    assert run(*words, "--trust", "t").exit_code == 2


def test_the_operator_makes_the_proof_from_the_database_alone(database_path: Path, tmp_path: Path) -> None:
    first, second = asyncio.run(grow(database_path))
    old, new, trust = files(tmp_path, old=first.text(), new=second.text(), trust=TRUST.text())
    made = CliRunner().invoke(
        ledger_check.app, ["consistency", str(first.size), str(second.size), "--database", str(database_path)]
    )
    assert made.exit_code == 0
    (shown,) = files(tmp_path, proof=made.stdout)
    assert run("--consistency", old, new, "--proof", shown, "--trust", trust).exit_code == 0
    refused = CliRunner().invoke(
        ledger_check.app, ["consistency", "5", "1000", "--database", str(database_path)]
    )
    assert (refused.exit_code, "the log has 600" in str(refused.exception)) == (1, True)


async def grow(path: Path) -> tuple[Checkpoint, Checkpoint]:
    """A log in that database, signed twice."""
    database = await Database.open(path)
    log = Log(ORIGIN, KEY)
    heads = []
    try:
        for start, end in ((0, 300), (300, 600)):
            async with database.write() as conn:
                records = [Record("report", str(n), NOW, {"n": n}) for n in range(start, end)]
                await log.append(records, conn)
                heads.append(await log.publish(conn, NOW))
    finally:
        await database.close()
    first, second = heads
    assert first is not None
    assert second is not None
    return first, second
