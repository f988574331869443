"""Canonical bytes: one form for each record, and no record that has none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import MalformedError, RecordError
from ledger.record import FORMAT, MAX_INTEGER, Record, canonical_bytes
from tests.ledger.conftest import record

SALT = bytes(range(32))
EXAMPLE = Record(
    "report",
    "report/7",
    datetime(2026, 1, 20, 17, 15, tzinfo=UTC),
    {"ven_id": "ven-é", "energy_wh": 1250, "homes": [{"b": -1, "a": 'x"\n'}], "empty": {}},
    SALT,
)
CANONICAL = (
    '{"at":"2026-01-20T17:15:00Z","body":{"empty":{},"energy_wh":1250,"homes":[{"a":"x\\"\\n","b":-1}],"ven_id":"ven-é"},'
    '"format":"flexpact-record/v1","key":"report/7","kind":"report"}'
).encode()

keys = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8)
values = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-MAX_INTEGER, MAX_INTEGER),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


class Level(IntEnum):
    HIGH = 3


def test_canonical_bytes_are_sorted_and_without_spaces() -> None:
    assert EXAMPLE.canonical() == CANONICAL


def test_leaf_is_the_salted_hash_of_the_canonical_bytes() -> None:
    assert EXAMPLE.leaf() == sha256(b"\x00" + SALT + CANONICAL).digest()


def test_two_records_of_the_same_fact_have_different_leaves() -> None:
    assert record("a").leaf() != record("a").leaf()


@given(st.dictionaries(keys, values, max_size=5))
def test_canonical_bytes_are_what_a_sorting_json_writer_gives(body: dict[str, object]) -> None:
    expected = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical_bytes(body) == expected


@given(st.dictionaries(keys, values, max_size=5), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_record_file_gives_the_same_record_again(body: dict[str, object], key: str) -> None:
    made = Record("opt", key, datetime(2026, 1, 1, 0, 0, 0, 5, tzinfo=UTC), body, SALT)
    assert Record.from_file(made.to_file()) == made
    assert Record.from_canonical(made.canonical(), SALT) == made


@pytest.mark.parametrize(
    ("value", "named"),
    [
        pytest.param(1.5, "a float", id="a float"),
        pytest.param(float("nan"), "a float", id="not a number"),
        pytest.param(True, "true or false", id="a truth value"),
        pytest.param(None, "null", id="null"),
        pytest.param(b"x", "bytes", id="bytes"),
        pytest.param(Level.HIGH, "Level", id="a number of another type"),
        pytest.param((1, 2), "tuple", id="a tuple"),
        pytest.param(2**53, "2^53", id="an integer that JSON readers round"),
        pytest.param(-(2**53), "2^53", id="a negative integer that JSON readers round"),
        pytest.param("\ud800", "surrogate", id="half a character"),
        pytest.param({"é": 1}, "printable ASCII", id="a key that is not ASCII"),
        pytest.param({"a\n": 1}, "printable ASCII", id="a key with a control character"),
        pytest.param({1: 1}, "printable ASCII", id="a key that is a number"),
        pytest.param({1: 1, "a": 1}, "printable ASCII", id="keys that cannot be sorted"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"x": [{"y": v}]}])
def test_what_has_no_canonical_bytes_is_refused_by_name(value: object, named: str, wrap) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RecordError, match=named.replace("^", r"\^")):
        record("a", body={"value": wrap(value)}).canonical()


@pytest.mark.parametrize("make", [lambda v: [v], lambda v: {"a": v}])
def test_deep_nesting_is_refused(make) -> None:  # type: ignore[no-untyped-def]
    value: object = 1
    for _ in range(40):
        value = make(value)
    with pytest.raises(RecordError, match="nested deeper"):
        record("a", body={"value": value}).canonical()


def test_time_without_zone_is_refused() -> None:
    with pytest.raises(RecordError, match="no time zone"):
        record("a", at=datetime(2026, 1, 20)).canonical()  # noqa: DTZ001 - the unaware time is the point


def test_time_of_another_zone_is_the_same_record() -> None:
    berlin = timezone(timedelta(hours=1))
    local = record("a", at=datetime(2026, 1, 20, 18, tzinfo=berlin), salt=SALT)
    assert local.canonical() == record("a", at=datetime(2026, 1, 20, 17, tzinfo=UTC), salt=SALT).canonical()


def test_short_salt_is_refused() -> None:
    with pytest.raises(RecordError, match="32 bytes"):
        record("a", salt=b"x").canonical()


FILE = EXAMPLE.to_file().decode()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param(FILE.rstrip("\n"), "layout", id="no newline at the end"),
        pytest.param(FILE + "\n", "layout", id="one newline more"),
        pytest.param(FILE + "x", "not JSON", id="text after the end"),
        pytest.param(FILE.replace('"at"', ' "at"'), "layout", id="a space more"),
        pytest.param(FILE.replace("1250", "1250.0"), "a float", id="the same number as a float"),
        pytest.param(FILE.replace("1250", "12_50"), "not JSON", id="a digit separator"),
        pytest.param(FILE.replace('"ven-é"', '"ven-\\u00e9"'), "layout", id="the same letter as an escape"),
        pytest.param(
            FILE.replace('"key": "report/7"', '"key": "x",\n "key": "report/7"'), "layout", id="a key twice"
        ),
        pytest.param(FILE.replace('"kind"', '"more": 1,\n "kind"'), "is not one object", id="a field more"),
        pytest.param(FILE.replace(' "kind": "report",\n', ""), "is not one object", id="a field less"),
        pytest.param(FILE.replace(FORMAT, "flexpact-record/v9"), "format is not known", id="a future format"),
        pytest.param(
            FILE.replace("17:15:00Z", "17:15:00+00:00"), "canonical form", id="UTC written as an offset"
        ),
        pytest.param(FILE.replace("17:15:00Z", "17:15:00.000Z"), "canonical form", id="an empty fraction"),
        pytest.param(FILE.replace("17:15:00Z", "25:15:00Z"), "not a time", id="an hour that does not exist"),
        pytest.param(
            FILE.replace("2026-01-20T17:15:00Z", "0001-01-01T00:00:00+14:00"),
            "not a time",
            id="a time before the year 1 in UTC",
        ),
        pytest.param(FILE.replace("17:15:00Z", "17:15:00"), "canonical form", id="a time without zone"),
        pytest.param(FILE.replace('"report/7"', "7"), "must be text", id="a number as key"),
        pytest.param(FILE.replace(SALT.hex(), SALT.hex().upper()), "layout", id="salt in capitals"),
        pytest.param(FILE.replace(SALT.hex(), SALT.hex()[:-2]), "wrong length", id="salt too short"),
        pytest.param(FILE.replace(SALT.hex(), "zz"), "not hexadecimal", id="salt that is no number"),
        pytest.param(FILE.replace(f'"{SALT.hex()}"', "5"), "not hexadecimal", id="salt as a number"),
        pytest.param("[]", "is not one object", id="a list"),
        pytest.param("", "not JSON", id="an empty file"),
        pytest.param("[" * 100_000, "nested deeper", id="a bomb of brackets"),
        pytest.param(FILE.replace("1250", '{"a":' * 100_000), "nested deeper", id="a bomb of objects"),
        pytest.param(FILE[: len(FILE) // 2], "not JSON", id="half a file"),
        pytest.param(" " * (5 * 1024 * 1024), "larger", id="a huge file"),
    ],
)
def test_a_record_file_in_another_form_is_refused(changed: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        Record.from_file(changed.encode())


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(MalformedError, match="UTF-8"):
        Record.from_file(b"\xff")


def test_stored_bytes_that_are_no_object_are_refused() -> None:
    with pytest.raises(MalformedError, match="not one object"):
        Record.from_canonical(b"[]", SALT)


def test_a_percent_sign_is_text_like_any_other() -> None:
    body = {"%": "%s", "50%s": 7, "%%d": {"%(x)s": "%"}}
    made = Record("kind%", "key%s", datetime(2026, 1, 20, tzinfo=UTC), body)
    assert json.loads(made.canonical())["body"] == body
