"""A box's audit of an export of the log, as `flexpact ledger export` and the auditor's page lay it out."""

from datetime import timedelta
from pathlib import Path

import pytest

from ledger.evidence_folder import EvidenceFolder
from tests.feid.test_audit import PRESENT, Box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def laid_out(box: Box, *, sharded: bool) -> None:
    """The box's pairs as leaves of an export; without shards, as in the archive of the auditor's page."""
    pairs, export = box.folder / "pairs", box.folder / "export"
    export.rename(pairs)
    for index, record in enumerate(sorted(pairs.glob("*.record.json"))):
        beside = record.with_name(record.name.replace(".record.json", ".receipt.txt"))
        for kind, file in (("records", record), ("receipts", beside)):
            place = EvidenceFolder(export).file(kind, index)
            place = place if sharded else export / kind / place.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    (place.parent / ".9.receipt.part").write_bytes(b"what an interruption left")


@pytest.mark.parametrize("sharded", [True, False])
def test_a_box_finds_its_records_in_an_export(box: Box, sharded: bool) -> None:
    laid_out(box, sharded=sharded)
    code, said = box.audit()
    assert "complete: 2 reports, 1 events and 1 opts are in the log" in said
    assert code == 3  # the trust file names no chain


def test_a_record_that_an_export_lacks_is_an_alarm(box: Box) -> None:
    laid_out(box, sharded=True)
    (box.folder / "export/records/000000/2.json").unlink()
    code, said = box.audit("--as-of", (PRESENT.now + timedelta(hours=2)).isoformat())
    assert (code, "missing    report ask/2026-03-02T12:01:00Z" in said) == (1, True)


def test_a_receipt_that_an_export_lacks_is_an_alarm(box: Box) -> None:
    laid_out(box, sharded=True)
    (box.folder / "export/receipts/000000/2.receipt").unlink()
    code, said = box.audit()
    assert (code, "broken     2: receipt: format is not known" in said) == (1, True)


def test_an_export_without_records_is_no_audit(box: Box) -> None:
    laid_out(box, sharded=True)
    for place in (box.folder / "export/records/000000").iterdir():
        place.unlink()
    code, said = box.audit()
    assert (code, "export/records holds no records" in said) == (2, True)
