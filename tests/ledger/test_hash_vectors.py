"""The hashes that stand inside records, and the formats beside receipts, are frozen to the last byte.

An auditor years later makes them anew from a message, a detail or a share; if they came out otherwise, honest
evidence would look forged. If a test here fails, the change breaks records that are sealed: it needs a field
of another name, not new vectors.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from aggregator import audit, share, store
from aggregator.settlement import Outcome, Statement
from ledger import erasure
from ledger.checkpoint import Checkpoint, VerifierKey
from ledger.consistency import ConsistencyProof, consistency_steps, keep_evidence
from ledger.errors import ForkError, VerificationError
from ledger.record import Record, time_text
from ledger.source import verify_source
from ledger.trust import LogKey, Trust
from openadr import DistributeEvent, Report, UpdateReport, decode
from openadr.event import Event
from openadr.event_digest import event_sha256
from vtn import event_content
from vtn.judgement import Expected, judge

FILE = Path(__file__).parent / "vectors" / "hashes.json"
FROZEN = "7e7e6d4226615936dc19c2fcce79ef355f16768463a56378f3810e778d923dd2"
VECTORS: dict[str, list[dict[str, Any]]] = json.loads(FILE.read_bytes())
AT = datetime(2026, 1, 20, 17, 45, tzinfo=UTC)
ASKED_FOR_NOTHING = Expected("", frozenset(), None, None)
"""The hash is of all values, whatever becomes of them."""


def each(kind: str) -> pytest.MarkDecorator:
    """A test for each vector of a kind."""
    return pytest.mark.parametrize("case", VECTORS[kind], ids=lambda case: str(case.get("name", "")))


def report_of(case: dict[str, Any]) -> Report:
    message = decode(case["message"].encode())
    assert isinstance(message, UpdateReport)
    return message.reports[int(case["report"])]


def event_of(case: dict[str, Any]) -> Event:
    message = decode(case["message"].encode())
    assert isinstance(message, DistributeEvent)
    return message.events[int(case["event"])]


def test_the_published_vectors_are_the_frozen_ones() -> None:
    assert sha256(FILE.read_bytes()).hexdigest() == FROZEN


@pytest.mark.parametrize("kind", ["values", "events", "contents", "details"])
def test_each_hash_is_sha_256_of_the_published_bytes(kind: str) -> None:
    for case in VECTORS[kind]:
        assert sha256(case["hashed"].encode()).hexdigest() == case["sha256"]


@each("values")
def test_the_values_of_a_report_have_their_hash(case: dict[str, Any]) -> None:
    assert judge(report_of(case), ASKED_FOR_NOTHING, AT).sha256 == case["sha256"]


@each("values")
def test_values_that_are_judged_one_by_one_have_the_same_hash(case: dict[str, Any]) -> None:
    report = report_of(case)
    r_ids = frozenset(payload.r_id for interval in report.intervals for payload in interval.payloads)
    expected = Expected("x-any", r_ids, None, None)
    at = report.intervals[0].dtstart or AT
    assert judge(report, expected, at).sha256 == case["sha256"]


@each("events")
def test_what_an_event_says_has_its_hash(case: dict[str, Any]) -> None:
    assert event_sha256(event_of(case)).hex() == case["sha256"]


@each("contents")
def test_a_stored_event_has_its_hash(case: dict[str, Any]) -> None:
    assert event_content.write(event_of(case)).decode() == case["hashed"]


@each("details")
def test_a_statements_details_have_their_hash_and_shares_their_commitments(case: dict[str, Any]) -> None:
    outcome = Outcome.MEASURED
    statement = Statement("event-1", "ven-1", outcome, 1000, 250, "mid-10-of-10", 12, 0, "EUR")
    body = audit.statement_record(store.StoredStatement(1, statement, case["detail"], AT)).body
    assert body["detail_sha256"] == case["sha256"]
    assert body.get("shares", []) == case["shares"]


@each("shares")
def test_a_share_has_its_commitment(case: dict[str, Any]) -> None:
    assert sha256(bytes.fromhex(case["hashed"])).hexdigest() == case["sha256"]
    assert share.commitment(case["home"], case["minor"], case["salt"]) == case["sha256"]


@each("erasures")
def test_an_erasure_record_is_the_logs_word_at_its_leaf_alone(case: dict[str, Any]) -> None:
    record = Record.from_file(case["record"].encode())
    keys = [VerifierKey.parse(case["log_key"])]
    body = {name: value for name, value in record.body.items() if name != "signature"}
    told = json.dumps(body, sort_keys=True, separators=(",", ":"))
    signed = f"flexpact-erasure/v1\n{case['index']}\n{time_text(record.at)}\n{told}\n"
    assert signed == case["signed"]
    assert record.leaf().hex() == case["leaf"]
    assert erasure.is_authorised(case["index"], record.canonical(), keys)
    assert not erasure.is_authorised(case["index"] + 1, record.canonical(), keys)


def trust() -> Trust:
    return Trust((LogKey(VerifierKey.parse(VECTORS["erasures"][0]["log_key"])),))


@each("consistency")
def test_a_consistency_proof_holds_and_is_written_as_it_is_read(case: dict[str, Any]) -> None:
    proof = ConsistencyProof.from_file(case["proof"].encode())
    assert proof.text() == case["proof"]
    old, new = Checkpoint.parse(case["old"]), Checkpoint.parse(case["new"])
    *_, last = consistency_steps(old, new, proof, trust())
    assert last.text == "the log only grew, from 3 to 8 leaves"


@each("forks")
def test_a_fork_is_kept_in_the_same_file(case: dict[str, Any], tmp_path: Path) -> None:
    one, other = Checkpoint.parse(case["one"]), Checkpoint.parse(case["other"])
    proof = ConsistencyProof.from_file(case["proof"].encode()) if case["proof"] else None
    with pytest.raises(ForkError) as found:
        list(consistency_steps(one, other, proof, trust()))
    path = keep_evidence(tmp_path, found.value)
    assert (path.name, path.read_text("utf-8")) == (case["file_name"], case["file"])
    assert path.name == f"fork-{sha256(case['file'].encode()).hexdigest()[:16]}.txt"


@each("sources")
def test_a_signed_report_shows_its_key(case: dict[str, Any]) -> None:
    record, original = Record.from_file(case["record"].encode()), case["original"].encode()
    found = verify_source(record, original)
    assert found is not None
    said = {"key_sha256": found.key_sha256, "certificate_sha256": found.certificate_sha256}
    assert said == {name: case[name] for name in said}
    assert time_text(found.signed_at) == case["signed_at"]
    with pytest.raises(VerificationError, match="other bytes"):
        verify_source(record, original + b"\n")
