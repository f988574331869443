"""Whatever is in the files: a sentence that names the step, and an exit code that is documented."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from flexpact.commands import verify as verify_command
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.errors import VerificationError
from ledger.receipt import FORMAT, Receipt, squeeze
from ledger.record import Record
from ledger.state import Item, rlp_decode, rlp_encode
from ledger.trust import Trust
from ledger.verify import Step, verify_receipt

EXAMPLE = Path(__file__).parent / "example"
FILES = {
    "record": EXAMPLE / "record.json",
    "receipt": EXAMPLE / "sealed.tlog-proof",
    "trust": EXAMPLE / "trust_sealed.toml",
}
RAW = {kind: path.read_bytes() for kind, path in FILES.items()}
RECORD, RECEIPT, TRUST = (
    Record.from_file(RAW["record"]),
    Receipt.from_file(RAW["receipt"]),
    Trust.from_file(RAW["trust"]),
)
READ: dict[str, Callable[[bytes], Record | Receipt | Trust]] = {
    "record": Record.from_file,
    "receipt": Receipt.from_file,
    "trust": Trust.from_file,
}
STEPS = {
    "record", "receipt", "trust", "key", "inclusion", "checkpoint", "witness", "contract", "seals", "header",
    "account", "storage", "validity",
}  # fmt: skip
LONGEST_SENTENCE = 1200


def judged(files: dict[str, bytes]) -> tuple[Step, ...] | VerificationError:
    """The steps, or the failure, which is one sentence with a step of those we know."""
    try:
        record, receipt, trust = (READ[kind](files[kind]) for kind in FILES)
        assert isinstance(record, Record)
        assert isinstance(receipt, Receipt)
        assert isinstance(trust, Trust)
        return verify_receipt(record, receipt, trust).steps
    except VerificationError as error:
        assert error.step in STEPS
        assert "\n" not in str(error)
        assert len(str(error)) < LONGEST_SENTENCE
        return error


GOOD = judged(RAW)

positions = st.integers(0, 5000)
edits = st.lists(
    st.tuples(
        positions, st.integers(0, 40), st.binary(max_size=12) | st.sampled_from([b"\n", b"\n\n", b"\0"])
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(list(FILES)), edits)
def test_files_with_pieces_replaced_fail_in_one_sentence(
    kind: str, changes: list[tuple[int, int, bytes]]
) -> None:
    raw = RAW[kind]
    for at, length, piece in changes:
        start = at % (len(raw) + 1)
        raw = raw[:start] + piece + raw[start + length :]
    if raw != RAW[kind]:
        assert judged({**RAW, kind: raw}) != GOOD


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(FILES)), st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_other_content_fails_in_one_sentence(kind: str, raw: bytes) -> None:
    assert isinstance(judged({**RAW, kind: raw}), VerificationError)


LONG = b"x" * 50_000


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("record", b"2030", b'["' + LONG + b'", 1.5]'),
        ("record", b"2026-01-20T17:45:00Z", LONG),
        ("receipt", b"c2sp.org", b"c2sp.org" + LONG),
        ("receipt", b"index 3", b"index " + LONG),
        ("receipt", b"extra ", b"extra " + LONG),
        ("receipt", b"\n\nexample.org", b"\n" + LONG + b"\n\nexample.org"),
        ("receipt", b"\n\nexample.org", b"\n\n" + LONG + b" example.org"),
        ("receipt", b"witness.example/b", LONG),
        ("trust", b"needed = 3", b'needed = "' + LONG + b'"'),
        ("trust", b"[witness]", b'[witness]\n"a\\nb" = 1'),
        ("trust", b'origin = "', b'origin = "' + LONG),
        ("trust", b'keys = ["', b'keys = ["' + LONG),
        ("trust", b'validators = ["', b"validators = [1, '" + LONG + b"', \""),
        ("trust", b'contract = "', b'contract = "' + LONG),
    ],
)
def test_what_is_long_or_has_line_ends_is_still_one_sentence(kind: str, old: bytes, new: bytes) -> None:
    assert old in RAW[kind]
    assert isinstance(judged({**RAW, kind: RAW[kind].replace(old, new, 1)}), VerificationError)


items = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=5), max_leaves=6)


def leaves_of(item: Item, at: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """The places of all byte strings in it, and of its lists."""
    if isinstance(item, bytes):
        return [at]
    return [at, *(place for number, part in enumerate(item) for place in leaves_of(part, (*at, number)))]


def with_item(item: Item, at: tuple[int, ...], new: Item) -> Item:
    """The same with another item at a place."""
    if not at:
        return new
    assert isinstance(item, list)
    return [with_item(part, at[1:], new) if number == at[0] else part for number, part in enumerate(item)]


TREE = rlp_decode("test", rlp_encode(
    [
        b"\x01", RECEIPT.anchor.contract, b"", list(RECEIPT.anchor.account_proof),
        list(RECEIPT.anchor.storage_proof), RECEIPT.anchor.header, b"validators",
    ]
))  # fmt: skip
HEADER = rlp_decode("test", RECEIPT.anchor.header)
PLACES = [place for place in leaves_of(TREE) if place]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PLACES), items)
def test_an_anchor_of_another_shape_fails_in_one_sentence(place: tuple[int, ...], new: Item) -> None:
    tree = with_item(TREE, place, new)
    extra = base64.b64encode(FORMAT.encode() + b"\n" + squeeze(rlp_encode(tree))).decode()
    raw = RAW["receipt"].decode().replace(RECEIPT.anchor.text(), extra).encode()
    assert isinstance(judged({**RAW, "receipt": raw}), VerificationError)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([place for place in leaves_of(HEADER) if place]), items)
def test_a_header_of_another_shape_fails_in_one_sentence(place: tuple[int, ...], new: Item) -> None:
    header = rlp_encode(with_item(HEADER, place, new))
    if header == RECEIPT.anchor.header:
        return
    receipt = replace(RECEIPT, anchor=replace(RECEIPT.anchor, header=header))
    assert isinstance(judged({**RAW, "receipt": receipt.to_file()}), VerificationError)


def verify(**paths: Path) -> Result:
    """`flexpact verify` as a person types it."""
    files = {**FILES, **paths}
    words = [str(files["receipt"]), "--record", str(files["record"]), "--trust", str(files["trust"])]
    return CliRunner().invoke(verify_command.app, words)


def written(tmp_path: Path, raw: bytes) -> Path:
    (tmp_path / "file").write_bytes(raw)
    return tmp_path / "file"


OTHER = SigningKey.generate("example.org/other")
POINT = RECEIPT.checkpoint


@pytest.mark.parametrize(
    ("kind", "raw", "step", "values"),
    [
        pytest.param(
            "receipt",
            replace(RECEIPT, checkpoint=Checkpoint.sign(POINT.size, POINT.root, OTHER)).to_file(),
            "checkpoint",
            "expected example.org/flexpact, got example.org/other",
            id="another log's checkpoint",
        ),
        pytest.param(
            "trust",
            replace(TRUST, keys=(replace(TRUST.keys[0], key=OTHER.verifier),)).to_file(),
            "checkpoint",
            "expected example.org/other, got example.org/flexpact",
            id="another log's trust file",
        ),
        pytest.param(
            "trust",
            (EXAMPLE / "trust.toml").read_bytes(),
            "header",
            "expected 0x5dee5954a61b891b9850dfabac5e35bfc421ed6e8eac301b627ef28fbeada611, got 0x",
            id="a trust file for another block",
        ),
        pytest.param(
            "record",
            RAW["record"].replace(b"record/v1", b"record/v9"),
            "record",
            "expected flexpact-record/v1, got 'flexpact-record/v9'",
            id="a record of the future",
        ),
        pytest.param(
            "receipt",
            RAW["receipt"].replace(b"proof@v1", b"proof@v9"),
            "receipt",
            "expected c2sp.org/tlog-proof@v1, got 'c2sp.org/tlog-proof@v9'",
            id="a receipt of the future",
        ),
        pytest.param(
            "trust",
            RAW["trust"].replace(b"trust/v1", b"trust/v9"),
            "trust",
            "expected flexpact-trust/v1, got 'flexpact-trust/v9'",
            id="a trust file of the future",
        ),
        pytest.param("record", RAW["receipt"], "record", "not JSON", id="a receipt as record"),
        pytest.param("receipt", RAW["trust"], "receipt", "got 'format = ", id="a trust file as receipt"),
        pytest.param("trust", RAW["record"], "trust", "not TOML", id="a record as trust file"),
        pytest.param("record", b"", "record", "not JSON", id="an empty record"),
        pytest.param("receipt", b"", "receipt", "got ''", id="an empty receipt"),
        pytest.param("trust", b"", "trust", "got 'no format'", id="an empty trust file"),
        pytest.param("receipt", RAW["receipt"][:-60], "checkpoint", "", id="a receipt cut off"),
    ],
)
def test_wrong_files_exit_one_with_the_step_and_both_values(
    kind: str, raw: bytes, step: str, values: str, tmp_path: Path
) -> None:
    done = verify(**{kind: written(tmp_path, raw)})
    assert done.exit_code == 1
    last = done.output.splitlines()[-1]
    assert last.split()[:2] == ["FAILED", step]
    assert values in last


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    done = verify(receipt=tmp_path)
    assert (done.exit_code, "cannot be read" in done.output) == (1, True)


def test_the_exit_codes_are_those_of_the_docs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text("utf-8")
    open_trust = written(tmp_path, Trust(TRUST.keys).to_file())
    found = [
        verify().exit_code,
        verify(record=tmp_path).exit_code,
        CliRunner().invoke(verify_command.app, []).exit_code,
        verify(trust=open_trust).exit_code,
    ]
    assert found == [0, 1, 2, 3]
    for code in found:
        assert f"\n| {code} | " in text
