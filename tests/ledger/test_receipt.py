"""A receipt is a C2SP tlog-proof with our anchor in its extra line, and is read in this one form."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.checkpoint import to_base64
from ledger.errors import MalformedError
from ledger.receipt import FORMAT, Anchor, Receipt, squeeze
from ledger.state import Item, rlp_encode

RAW = (Path(__file__).parent / "example" / "receipt.tlog-proof").read_bytes()
TEXT = RAW.decode()
RECEIPT = Receipt.from_file(RAW)


def extra(raw: bytes) -> str:
    """The receipt with other bytes in its extra line."""
    return TEXT.replace(RECEIPT.anchor.text(), to_base64(raw))


def fields(*items: Item) -> str:
    """The receipt with these fields in its anchor."""
    return extra(FORMAT.encode() + b"\n" + squeeze(rlp_encode(items)))


GOOD: list[Item] = [b"\x01", bytes(20), b"", [], [], b"header", b"aggregator"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(TEXT.replace("@v1", "@v2"), "expected c2sp.org/tlog-proof@v1", id="a future format"),
        pytest.param("", "format is not known", id="an empty file"),
        pytest.param(TEXT.replace("index ", "index 0"), "plain decimal", id="a leading zero"),
        pytest.param(TEXT.replace("index ", "leaf "), "third line", id="no index"),
        pytest.param(TEXT.replace("extra ", "extras "), "not extra, index", id="no anchor"),
        pytest.param(TEXT.replace("\nindex ", "\n\nindex "), "not extra, index", id="a blank line more"),
        pytest.param(TEXT.replace("\n", "\r\n"), "format is not known", id="line ends of another system"),
        pytest.param(TEXT + "more 1\n", "not a signature line", id="a line more"),
        pytest.param(TEXT.replace("extra ", "extra *"), "not base64", id="an anchor that is not base64"),
        pytest.param(extra(b"flexpact-receipt/v2\n"), "flexpact-receipt/v1, got 'flex", id="a future anchor"),
        pytest.param(extra(b"\xff\n"), "anchor is not known", id="an anchor of no format"),
        pytest.param(extra(b""), "anchor is not known", id="an empty anchor"),
        pytest.param(fields(), "seven fields", id="no fields"),
        pytest.param(fields(*GOOD[:6], b"nobody"), "nobody known", id="an unknown voucher"),
        pytest.param(fields(*GOOD[:6], [b"x"]), "another shape", id="a list as voucher"),
        pytest.param(fields(b"\0\x01", *GOOD[1:]), "one form", id="a number with a leading zero"),
        pytest.param(fields(b"\xff" * 8, *GOOD[1:]), "number is above", id="a number above 2^63"),
        pytest.param(fields(GOOD[0], bytes(19), *GOOD[2:]), "another shape", id="a short address"),
        pytest.param(fields(*GOOD[:3], b"x", *GOOD[4:]), "not a list of nodes", id="no list of nodes"),
        pytest.param(fields(*GOOD[:3], [[b"x"]], *GOOD[4:]), "another shape", id="a list as node"),
        pytest.param(extra(FORMAT.encode() + b"\n\0"), "one form", id="a run of zeros without its length"),
        pytest.param(extra(FORMAT.encode() + b"\n\0\0"), "one form", id="a run of no zeros"),
        pytest.param(
            extra(FORMAT.encode() + b"\n" + b"\0\xff" * 200), "anchor is larger", id="zeros without end"
        ),
        pytest.param(TEXT + " " * 70_000, "larger", id="a huge file"),
    ],
)
def test_a_receipt_in_another_form_is_refused(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        Receipt.from_file(text.encode())


def test_a_receipt_that_is_no_text_is_refused() -> None:
    with pytest.raises(MalformedError, match="not UTF-8 at byte 0"):
        Receipt.from_file(b"\xff" + RAW)


def test_an_anchor_is_written_as_it_was_read() -> None:
    assert Anchor.parse(RECEIPT.anchor.text()) == RECEIPT.anchor
