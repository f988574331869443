"""The box's memory: what is kept stays, what is damaged is moved aside, no limit is in it."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feid.store import KEPT, MIGRATIONS, NodeQuarter, OfferedQuarter, Register, Store

START = datetime(2026, 1, 20, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
GOOD = "Quality Good - Non Specific"


def registers(count: int = 4) -> list[Register]:
    return [
        Register(f"home-{home:02d}", START + QUARTER * n, 100 * home + n, 10 * home, GOOD)
        for n in range(count)
        for home in (1, 2)
    ]


def keep(store: Store, given: list[Register]) -> None:
    store.keep_registers(given, complete_until=("complete_until", given[-1].start + QUARTER))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "feid.sqlite"


def test_registers_and_their_mark_outlive_the_process(path: Path) -> None:
    store = Store(path)
    keep(store, registers())
    store.close()
    again = Store(path)
    assert again.registers(START, START + QUARTER * 4) == registers()
    assert again.mark("complete_until") == START + QUARTER * 4
    assert again.moved_aside is None


def test_registers_are_read_by_half_open_period_and_home(path: Path) -> None:
    store = Store(path)
    keep(store, registers())
    found = store.registers(START + QUARTER, START + QUARTER * 3, "home-02")
    assert [(r.start, r.energy_wh) for r in found] == [(START + QUARTER, 201), (START + QUARTER * 2, 202)]


def test_a_register_that_comes_again_replaces_the_first(path: Path) -> None:
    store = Store(path)
    keep(store, registers(1))
    keep(store, [Register("home-01", START, 7, 3, GOOD)])
    assert store.registers(START, START + QUARTER, "home-01") == [Register("home-01", START, 7, 3, GOOD)]


def test_node_quarters_sum_the_homes(path: Path) -> None:
    store = Store(path)
    keep(store, registers(2))
    assert store.node_quarters(START, START + QUARTER) == [NodeQuarter(START, 300, 30)]


def test_an_offer_issued_again_replaces_itself_and_the_newest_is_found(path: Path) -> None:
    store = Store(path)
    store.keep_offer(START, [OfferedQuarter(START, 1, 1)])
    store.keep_offer(START, [OfferedQuarter(START, 100, 50)])
    later = START + timedelta(hours=1)
    store.keep_offer(later, [OfferedQuarter(later, 90, 40)])
    assert store.offer(START) == [OfferedQuarter(START, 100, 50)]
    assert store.last_issued() == later
    assert store.last_issued(later - timedelta(seconds=1)) == START
    assert store.last_issued(START - timedelta(seconds=1)) is None


def test_the_state_frozen_first_stays(path: Path) -> None:
    store = Store(path)
    assert store.frozen("e", START) is None
    store.freeze("e", START, None, {"at": 1})
    store.freeze("e", START, None, {"at": 2})
    assert store.frozen("e", START) == {"at": 1}


def test_a_frozen_state_that_was_damaged_is_forgotten(path: Path) -> None:
    store = Store(path)
    store.freeze("e", START, None, {"at": 1})
    with sqlite3.connect(path) as other:
        other.execute("UPDATE frozen SET state = replace(state, '1', '7')")
    other.close()
    assert store.frozen("e", START) is None
    store.freeze("e", START, None, {"at": 3})
    assert store.frozen("e", START) == {"at": 3}


def test_a_mark_can_be_forgotten(path: Path) -> None:
    store = Store(path)
    store.keep_mark("held_since", START)
    assert store.mark("held_since") == START
    store.keep_mark("held_since", None)
    assert store.mark("held_since") is None


def test_purge_keeps_35_days_and_the_plan_of_an_event_that_ended_today(path: Path) -> None:
    store = Store(path)
    keep(store, registers(2))
    store.keep_offer(START, [OfferedQuarter(START, 1, 1)])
    store.freeze("old", START, START, {})
    now = START + KEPT + QUARTER
    store.freeze("new", START, now - timedelta(hours=1), {})
    store.freeze("open", START, None, {})
    store.purge(now)
    assert {r.start for r in store.registers(START, now)} == {START + QUARTER}
    assert store.last_issued() is None
    assert store.frozen("old", START) is None
    assert store.frozen("new", START) == {}
    assert store.frozen("open", START) == {}


def test_a_naive_instant_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="offset from UTC"):
        Store(path).keep_mark("x", datetime(2026, 1, 20))  # noqa: DTZ001  # that is the point


@pytest.mark.parametrize("damage", ["header", "middle", "text"])
def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(path)
    keep(store, registers(400))
    store.close()
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:512] = bytes(512)
    elif damage == "middle":
        content[4096:12288] = b"\xff" * 8192
    else:
        content = bytearray(b"this is no database, it is a letter to the editor" * 100)
    path.write_bytes(content)

    again = Store(path)
    assert again.registers(START, START + timedelta(days=9)) == []
    assert again.moved_aside == path.with_name("feid.sqlite.damaged-1")
    assert again.moved_aside.read_bytes() == bytes(content)
    assert "is damaged" in caplog.text
    keep(again, registers(1))


def test_a_second_damaged_file_does_not_overwrite_the_first(path: Path) -> None:
    path.parent.mkdir()
    for number in (1, 2):
        path.write_bytes(b"no database at all, whatever it says" * 50 + bytes([number]))
        store = Store(path)
        assert store.moved_aside is not None
        assert store.moved_aside.name == f"feid.sqlite.damaged-{number}"
        store.close()
        path.unlink()


def test_a_file_cut_at_any_sector_opens_with_the_last_good_state_or_anew(path: Path) -> None:
    store = Store(path)
    keep(store, registers(60))
    store.close()
    content = path.read_bytes()
    for cut in range(0, len(content), 512):
        path.write_bytes(content[:cut])
        again = Store(path)
        assert again.registers(START, START + timedelta(days=1)) in ([], registers(60))
        keep(again, registers(1))
        again.close()
        for left in path.parent.iterdir():
            left.unlink()


def test_a_file_with_a_sector_of_zeros_never_tells_a_wrong_value(path: Path) -> None:
    given = registers(60)
    store = Store(path)
    keep(store, given)
    store.freeze("e", START, None, {"at": list(range(300))})
    store.close()
    content = path.read_bytes()
    for sector in range(0, len(content), 512):
        path.write_bytes(content[:sector] + bytes(512) + content[sector + 512 :])
        again = Store(path)
        found = again.registers(START, START + timedelta(days=1))
        until = again.mark("complete_until")
        assert set(found) <= set(given)
        gap = again.first_gap(2, START, START + QUARTER * 60)
        assert found == given or again.moved_aside is not None or gap is not None or until is None
        assert again.frozen("e", START) in (None, {"at": list(range(300))})
        again.close()
        for left in path.parent.iterdir():
            left.unlink()


def test_a_directory_in_the_way_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "feid.sqlite").mkdir()
    with pytest.raises(sqlite3.OperationalError):
        Store(tmp_path / "feid.sqlite")


def test_a_file_of_every_earlier_version_is_brought_up(path: Path) -> None:
    path.parent.mkdir()
    for version in range(len(MIGRATIONS)):
        with sqlite3.connect(path) as db:
            for number, script in enumerate(MIGRATIONS[:version], start=1):
                db.executescript(f"{script} PRAGMA user_version = {number};")
        db.close()
        store = Store(path)
        keep(store, registers(1))
        assert store.registers(START, START + QUARTER) == registers(1)
        assert store.moved_aside is None
        store.close()
        path.unlink()
