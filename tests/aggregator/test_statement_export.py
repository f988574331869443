"""Statements as files: what a spreadsheet, a reader of PDF and a verifier find in them."""

from __future__ import annotations

import base64
import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from openpyxl import load_workbook
from pypdf import PdfReader

from aggregator.statement_export import Selection, as_csv, as_json
from aggregator.statement_list import Row
from aggregator.statement_pdf import as_pdf
from aggregator.statement_xlsx import as_xlsx
from ledger.checkpoint import SigningKey
from ledger.log import Log

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ORIGIN = "test.example/log"
START = datetime(2026, 1, 20, 17, tzinfo=UTC)
GREEK = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
ROW = Row(
    number=7,
    event_id="event-1",
    ven_id="v1",
    ven_name="node-1",
    start=START,
    end=START + timedelta(hours=2),
    outcome="measured",
    requested_wh=4000,
    delivered_wh=-250,
    incentive_minor=0,
    penalty_minor=64,
    amount_minor=-64,
    currency="EUR",
    baseline_method="10-of-10",
    revision=1,
    newest=1,
    made_at=NOW,
)


def chosen(*names: str) -> Selection:
    """A statement for each name of a node."""
    return Selection([replace(ROW, ven_name=name) for name in names], "month 2026-01", NOW, ORIGIN)


def cells(raw: bytes) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_name_that_a_spreadsheet_would_run_is_text(name: str) -> None:
    (row,) = cells(as_csv(chosen(name)))
    assert row["node"].startswith("'")
    sheet = load_workbook(io.BytesIO(as_xlsx(chosen(name)))).active
    assert sheet is not None and sheet["C2"].data_type == "s"


def test_amounts_are_exact_numbers() -> None:
    (row,) = cells(as_csv(chosen("node-1")))
    assert (row["amount"], row["penalty"], row["delivered_kwh"]) == ("-0.64", "0.64", "-0.250")
    won = Selection([replace(ROW, currency="KRW", amount_minor=-64)], "", NOW, ORIGIN)
    assert cells(as_csv(won))[0]["amount"] == "-64"
    sheet = load_workbook(io.BytesIO(as_xlsx(chosen("node-1")))).active
    assert sheet is not None and sheet["L2"].value == -0.64


def test_characters_that_cannot_be_seen_are_written_out() -> None:
    (row,) = cells(as_csv(chosen("a\u202eb\x07")))
    assert row["node"] == "a\\u202eb\\x07"
    assert load_workbook(io.BytesIO(as_xlsx(chosen("a\u202eb\x07"))))


@pytest.mark.parametrize("write", [as_csv, as_xlsx, as_pdf])
def test_the_same_selection_is_the_same_bytes(write: object) -> None:
    assert callable(write)
    assert write(chosen("node-1", "node-2")) == write(chosen("node-1", "node-2"))


def test_a_korean_name_without_a_font_is_written_by_numbers_and_the_paper_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aggregator.statement_pdf.FONTS", ())
    text = PdfReader(io.BytesIO(as_pdf(chosen("김")))).pages[0].extract_text()
    assert "<U+AE40>" in text
    assert "fonts-nanum" in text
    assert "10-of-10" in text


@pytest.mark.skipif(not GREEK.is_file(), reason="the machine has no DejaVu font")
def test_a_font_of_the_system_shows_names_of_other_scripts() -> None:
    text = PdfReader(io.BytesIO(as_pdf(chosen("Ωμέγα"), GREEK))).pages[0].extract_text()
    assert "Ωμέγα" in text


def test_a_long_selection_has_a_heading_on_each_page() -> None:
    pages = PdfReader(io.BytesIO(as_pdf(chosen(*["node"] * 60)))).pages
    assert len(pages) == 3
    assert all("Delivered kWh" in page.extract_text() for page in pages[:2])


def test_twenty_lines_without_the_product_verify_the_signed_json() -> None:
    key = SigningKey.generate(ORIGIN)
    raw = as_json(chosen("=김\u202e"), Log(ORIGIN, key).attest)
    verify(raw, str(key.verifier))
    shown = json.loads(raw)
    shown["document"]["statements"][0]["amount_minor"] += 1
    with pytest.raises(InvalidSignature):
        verify(json.dumps(shown).encode(), str(key.verifier))


def verify(raw: bytes, key: str) -> None:
    """As docs/settlement.md shows it."""
    shown = json.loads(raw)
    document = shown["document"]
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = f"{document['format']}\n{canonical}\n".encode()
    public = base64.b64decode(key.split("+", 2)[2])[1:]
    signature = base64.b64decode(shown["signature"].split(" ")[2])[4:]
    Ed25519PublicKey.from_public_bytes(public).verify(signature, text)


def test_the_log_signs_nothing_that_could_be_a_checkpoint() -> None:
    log = Log(ORIGIN, SigningKey.generate(ORIGIN))
    for text in (f"{ORIGIN}\n5\nAAAA\n", "no end of line"):
        with pytest.raises(ValueError, match="a text that is signed"):
            log.attest(text)
