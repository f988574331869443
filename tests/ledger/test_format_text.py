"""The format text says what the code does: its limits, the names it allows, the versions, the owners."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger import checkpoint, consistency, erasure, receipt, record, seal, trust
from ledger.errors import MalformedError

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "evidence.md").read_text("utf-8")
LIMITS = {
    "record file": record.MAX_FILE_BYTES,
    "objects and lists inside each other in a body": record.MAX_DEPTH,
    "receipt file": receipt.MAX_FILE_BYTES,
    "anchor, with its runs of zeros written out": receipt.MAX_ANCHOR_BYTES,
    "trust file": trust.MAX_FILE_BYTES,
    "consistency proof": consistency.MAX_FILE_BYTES,
    "seals in a header": seal.MAX_SEALS,
    "signature lines under a checkpoint, the log's among them": checkpoint.MAX_SIGNATURES,
    "sizes, indices, numbers of blocks in a trust file": checkpoint.MAX_SIZE,
    "integers in a body": record.MAX_INTEGER,
}
FROZEN = [
    *(f"/ledger/{name}.py" for name in ("record", "merkle", "checkpoint", "receipt", "verify", "trust")),
    *(f"/ledger/{name}.py" for name in ("seal", "qbft", "state", "source", "consistency", "erasure")),
    "/ledger/binding.py",
    "/aggregator/share.py",
    "/openadr/event_digest.py",
    "/vtn/judgement.py",
    "/tests/ledger/vectors/",
    "/tests/ledger/example/",
    "/docs/verify/",
    "/CODEOWNERS",
]


def test_the_limits_in_the_text_are_those_of_the_code() -> None:
    table = TEXT.partition("### Limits\n")[2].partition("\n### ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")]
    said = {row[1].strip(): int(row[2].split()[0].replace(",", "")) for row in rows[1:]}
    assert said == LIMITS


@pytest.mark.parametrize("letter", [" ", "+", '"', "\\", "\n", "\u00a0", "\x07"])
def test_a_name_with_a_letter_that_the_text_forbids_is_refused(letter: str) -> None:
    assert 'printable text without space, `+`, `"` and `\\`, at least one letter' in TEXT
    checkpoint.check_name("example.org/é-1_~")
    with pytest.raises(MalformedError, match="a log's name is printable text"):
        checkpoint.check_name(f"a{letter}b")


def test_a_name_without_a_letter_is_refused() -> None:
    with pytest.raises(MalformedError, match="a log's name is printable text"):
        checkpoint.check_name("")


def test_every_format_of_evidence_is_in_the_text() -> None:
    formats = [module.FORMAT for module in (record, receipt, trust, consistency)]
    for name in (*formats, consistency.FORK_FORMAT, receipt.PROOF, erasure._FORMAT):
        assert f"`{name}`" in TEXT or f"    {name}\n" in TEXT


def owned() -> set[str]:
    """The paths that CODEOWNERS gives to those who answer for evidence."""
    lines = (ROOT / "CODEOWNERS").read_text("utf-8").splitlines()
    rows = [line.split() for line in lines if line.startswith("/")]
    return {path for path, *owners in rows if owners == ["@flexpact/evidence"]}


@pytest.mark.parametrize("path", FROZEN)
def test_a_frozen_file_has_owners(path: str) -> None:
    assert path in owned()


def test_every_path_with_owners_is_there() -> None:
    assert [path for path in owned() if not (ROOT / path[1:]).exists()] == []
