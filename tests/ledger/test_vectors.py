"""Format v1 is frozen: what was published is still what is read and written, to the last byte.

Evidence is verified for as long as the agreement that it belongs to is disputed. If a test here fails, the
change breaks receipts that people hold: it needs a new format version beside this one, not new vectors.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ledger import merkle
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.errors import VerificationError
from ledger.receipt import Receipt, commitment
from ledger.record import Record
from ledger.trust import Trust
from ledger.verify import verification_steps
from tests.ledger.evidence import VALIDATOR_KEYS, WITNESSES, evidence
from tests.ledger.vectors import make

VECTORS = Path(__file__).parent / "vectors"
FROZEN = {
    "formats.json": "fb2d48910749121caa222a7aee0eec8376de83b19a00dd14c59dc5fe1d7ac420",
    "good.json": "f8fe4ccefb4a1a6c1befc6a5dc69970a30624eb64cc15a501188e3480f2d32fc",
    "bad.json": "d347913a3ddde915bedfb11c01a41a675c2b0667c735ef7f35c89c241d3466aa",
    "validator_sets.json": "6baf56c1163fc7fcb7c07866891c73db2d31db38167eb3560b3046a35d523ef1",
}
MAX_RECEIPT_BYTES = 4096


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_bytes())


GOOD, BAD, FORMATS = load("good.json"), load("bad.json"), load("formats.json")
JOINED: dict[str, list[dict[str, Any]]] = load("validator_sets.json")


def named(case: dict[str, Any]) -> str:
    return str(case["name"])


@pytest.mark.parametrize("name", FROZEN)
def test_the_published_vectors_are_the_frozen_ones(name: str) -> None:
    assert sha256((VECTORS / name).read_bytes()).hexdigest() == FROZEN[name]


@pytest.mark.parametrize(("name", "content"), make.all_files().items(), ids=str)
def test_the_same_facts_are_still_written_in_the_same_bytes(name: str, content: bytes) -> None:
    assert (VECTORS / name).read_bytes() == content


@pytest.mark.parametrize("case", [*GOOD, *BAD, *JOINED["good"], *JOINED["bad"]], ids=named)
def test_a_published_case_is_judged_as_published(case: dict[str, Any]) -> None:
    steps, failed = [], None
    try:
        for step in verification_steps(
            Record.from_file(case["record"].encode()),
            Receipt.from_file(case["receipt"].encode()),
            Trust.from_file(case["trust"].encode()),
        ):
            steps.append({"name": step.name, "status": str(step.status), "text": step.text})
    except VerificationError as error:
        failed = {name: getattr(error, name) for name in ("step", "text", "expected", "got")}
    assert steps == case["steps"]
    assert failed == case.get("failed")


@pytest.mark.parametrize("case", [*GOOD, *JOINED["good"]], ids=named)
def test_a_published_file_is_written_as_it_is_read(case: dict[str, Any]) -> None:
    for name, kind in (("record", Record), ("receipt", Receipt), ("trust", Trust)):
        raw = case[name].encode()
        assert kind.from_file(raw).to_file() == raw  # type: ignore[attr-defined] # all three have both


def test_a_block_is_held_against_the_validators_of_its_time() -> None:
    assert not any("failed" in case for case in JOINED["good"])
    failed = {case["name"]: case["failed"] for case in JOINED["bad"]}
    old_in_new = failed["three seals of five: the old quorum in a new block"]
    assert (old_in_new["step"], old_in_new["expected"], old_in_new["got"]) == ("seals", "4", "3")
    moved = failed["a new block that calls itself an old one"]
    assert (moved["step"], moved["got"]) == ("seals", "0")
    assert {fault["step"] for fault in failed.values()} == {"seals", "trust"}


def test_every_step_can_fail_and_is_published_failing() -> None:
    steps = {step["name"] for case in GOOD for step in case["steps"]}
    failing = {case["failed"]["step"] for case in BAD}
    assert failing == steps | {"receipt", "trust"}


@pytest.mark.parametrize("case", FORMATS["records"], ids=lambda case: case["leaf"][:8])
def test_a_published_record_has_its_leaf(case: dict[str, str]) -> None:
    record = Record.from_file(case["file"].encode())
    assert record.canonical().decode() == case["canonical"]
    salted = b"\0" + record.salt + case["canonical"].encode()
    assert record.leaf().hex() == case["leaf"] == sha256(salted).hexdigest()


def test_published_trees_have_their_roots_and_proofs() -> None:
    tree = FORMATS["tree"]
    leaves = [sha256(b"\0" + bytes.fromhex(text)).digest() for text in tree["leaf_inputs"]]
    roots = [bytes.fromhex(text) for text in tree["roots"]]
    assert len(roots) == len(leaves) + 1
    for proof in tree["inclusion"]:
        path = [bytes.fromhex(text) for text in proof["path"]]
        found = merkle.root_from_inclusion(proof["index"], proof["size"], leaves[proof["index"]], path)
        assert found == roots[proof["size"]]
    for proof in tree["consistency"]:
        path = [bytes.fromhex(text) for text in proof["path"]]
        merkle.check_consistency(proof["old"], roots[proof["old"]], proof["new"], roots[proof["new"]], path)


def test_the_published_checkpoint_is_signed_again_alike() -> None:
    case = FORMATS["checkpoint"]
    point = Checkpoint.parse(case["note"])
    key = SigningKey(point.origin, bytes.fromhex(case["log_seed"]))
    assert str(key.verifier) == case["log_key"]
    assert Checkpoint.sign(point.size, point.root, key).signature == point.signature
    assert commitment(point.size, point.root).hex() == case["commitment"]


@pytest.mark.parametrize("accounts", [12, 100])
def test_a_receipt_from_a_million_leaves_with_seals_and_witnesses_has_four_kilobytes(accounts: int) -> None:
    case = evidence(777_777, 1_000_000, witnesses=WITNESSES, sealers=VALIDATOR_KEYS, accounts=accounts)
    assert len(case.receipt.path) == 20
    assert len(case.receipt.to_file()) <= MAX_RECEIPT_BYTES
