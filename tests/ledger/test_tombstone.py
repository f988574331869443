"""The list of what was erased: signed, read in its one form, and silent to who does not know a name."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.checkpoint import SigningKey
from ledger.errors import LedgerError, MalformedError, VerificationError
from ledger.tombstone import FORMAT, Tombstone, Tombstones, path_beside, read, write

NOW = datetime(2026, 2, 1, tzinfo=UTC)
KEY = SigningKey.generate("test.example/log")
STONES = tuple(
    Tombstone.of(subject, NOW + timedelta(days=day))
    for day, subject in enumerate([("ven-1",), ("ven-1", "home-01"), ("ven-2",)])
)
LIST = Tombstones(KEY.name).with_more(STONES)


def test_a_tombstone_names_its_subject_and_no_other() -> None:
    assert [stone.names(("ven-1", "home-01")) for stone in STONES] == [False, True, False]
    assert not Tombstone.of(("ven", "1"), NOW).names(("ven1",))
    assert Tombstone.of(("ven-1",), NOW).digest != STONES[0].digest  # the salt is new


def test_the_list_says_no_name(tmp_path: Path) -> None:
    write(tmp_path / "list", LIST, KEY)
    content = (tmp_path / "list").read_text()
    assert not [name for name in ("ven-1", "home-01", "ven-2") if name in content]
    assert (tmp_path / "list").stat().st_mode & 0o777 == 0o600


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    place = path_beside(tmp_path / "aggregator.sqlite")
    assert read(place, KEY.name, [KEY.verifier]) == Tombstones(KEY.name)
    write(place, LIST, KEY)
    assert read(place, KEY.name, [KEY.verifier]) == LIST
    assert LIST.with_more(STONES) == LIST


def test_a_list_that_somebody_else_signed_is_refused(tmp_path: Path) -> None:
    other = SigningKey.generate(KEY.name)
    write(tmp_path / "list", LIST, other)
    with pytest.raises(LedgerError, match=r"list: erasures: signed by another key"):
        read(tmp_path / "list", KEY.name, [KEY.verifier])
    assert read(tmp_path / "list", KEY.name, [KEY.verifier, other.verifier]) == LIST


def test_every_flipped_byte_is_found() -> None:
    good = LIST.text(KEY).encode()
    assert Tombstones.parse(good, [KEY.verifier]) == LIST
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1
        with pytest.raises(VerificationError):
            Tombstones.parse(bytes(bad), [KEY.verifier])


def _signed(body: str) -> bytes:
    raw = KEY.verifier.id + KEY.sign(body.encode())
    text = LIST.text(KEY).rpartition(" ")[0].rpartition("\n")[2]
    from ledger.checkpoint import to_base64  # noqa: PLC0415 - of this alone

    return f"{body}\n{text} {to_base64(raw)}\n".encode()


@pytest.mark.parametrize(
    "body",
    [
        "",
        f"{FORMAT}\n",
        f"{FORMAT[:-1]}2\n{KEY.name}\n",
        f"{FORMAT}\n{KEY.name}\nno line\n",
        f"{FORMAT}\n{KEY.name}\n{STONES[0].line().upper()}\n",
        f"{FORMAT}\n{KEY.name}\n{STONES[0].line()}00\n",
        f"{FORMAT}\n{KEY.name}\n{STONES[1].line()}\n{STONES[0].line()}\n",
        f"{FORMAT}\n{KEY.name}\n{STONES[0].line()}\n{STONES[0].line()}\n",
    ],
    ids=["empty", "no name", "version", "words", "case", "length", "order", "twice"],
)
def test_what_is_signed_and_in_no_form_is_refused(body: str) -> None:
    with pytest.raises(MalformedError):
        Tombstones.parse(_signed(body), [KEY.verifier])


def test_any_bytes_are_refused_in_a_sentence() -> None:
    for length in (0, 1, 100, 10_000):
        with pytest.raises(MalformedError):
            Tombstones.parse(secrets.token_bytes(length), [KEY.verifier])
