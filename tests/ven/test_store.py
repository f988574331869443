"""The state file: what was saved is there after a restart, a power cut, or damage (GOALS 70, 76)."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from openadr import EiResponse, RegisteredReport, Response, SpecifierPayload, UpdateReport
from openadr.codec import encode
from openadr.enums import OptType
from openadr.parser import DEFAULT_LIMITS
from tests.ven.messages import HOUR, VEN, ask, distribute, make_event, signal
from tests.ven.site import NOW, USAGE, Site, all_capabilities
from ven.answer import NEVER
from ven.errors import StateError
from ven.event import HeldEvent
from ven.registration import Registration
from ven.report import Limits, accept, offers
from ven.request import Reporting, make_reports
from ven.saved import Saved
from ven.schema import MIGRATIONS
from ven.store import REFUSED_KEPT, Store

OFFERS = offers(all_capabilities())
EVENT = HeldEvent(
    event=make_event(start_after=timedelta(minutes=10)),
    request_id="d1",
    received_at=NOW,
    opt_type=OptType.OPT_IN,
    offset=timedelta(seconds=77),
)
FULL = Saved(
    registration=Registration(VEN, "reg-1", "vtn-1", 300.0),
    metadata="digest",
    synced=True,
    renewing=True,
    pruned_at=NOW,
    events={
        "e1": EVENT,
        "e2": replace(
            EVENT, event=make_event("e2"), stop_at=NOW + HOUR, vanished=True, code="454", description="x"
        ),
    },
    requests={"ask-TELEMETRY_USAGE": accept(ask(), OFFERS, NOW)},
    answers=(Response(response=EiResponse.ok("r1"), ven_id=VEN),),
)


def reports(count: int = 2) -> list[UpdateReport]:
    """Quarter-hour reports of the request in FULL."""
    site = Site(complete_until=NOW + count * HOUR)
    desk = Reporting(site, OFFERS, Limits(), VEN, lambda: "u1", NOW + count * HOUR)
    held, made = dict(FULL.requests), []
    while len(made) < count:
        held, more = make_reports(held, desk)
        made += more
    return made


def test_everything_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ven.db")
    assert store.load() == Saved()
    store.save(FULL)
    store.close()
    again = Store.open(tmp_path / "ven.db")
    assert again.load() == FULL
    again.close()


def test_what_is_longer_than_an_ordinary_message_is_there_after_a_restart(tmp_path: Path) -> None:
    values = signal(values=[1.0] * 1200)
    event = make_event(signals=(values,))
    points = tuple(SpecifierPayload(r_id=f"r-{number}") for number in range(1200))
    held = FULL.requests["ask-TELEMETRY_USAGE"]
    specifier = replace(held.request.report_specifier, specifier_payloads=points)
    asked = replace(held.request, report_specifier=specifier)
    answers = (RegisteredReport(response=EiResponse.ok("r1"), report_requests=(asked,), ven_id=VEN),)
    long = replace(
        FULL,
        events={"e1": replace(EVENT, event=event)},
        requests={held.request_id: replace(held, request=asked)},
        answers=answers,
    )
    assert len(encode(answers[0])) > DEFAULT_LIMITS.max_bytes
    assert len(encode(distribute(event))) > DEFAULT_LIMITS.max_bytes
    store = Store.open(tmp_path / "ven.db")
    store.save(long)
    store.close()
    again = Store.open(tmp_path / "ven.db")
    assert again.load() == long
    again.close()


def test_each_change_is_saved_and_what_is_gone_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "ven.db"
    store = Store.open(path)
    steps = [
        FULL,
        replace(FULL, events={"e1": replace(EVENT, stop_at=NOW)}),
        replace(FULL, events={}, answers=()),
        replace(FULL, requests={key: replace(held, final=True) for key, held in FULL.requests.items()}),
        Saved(barred_until=NEVER),
        Saved(registration=Registration(VEN, "reg-2", "vtn-1", None)),
    ]
    for step in steps:
        store.save(step)
        store.close()
        store = Store.open(path)
        assert store.load() == step
    store.close()


def test_events_and_requests_keep_their_order_over_a_restart(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ven.db")
    events = {f"e{n}": replace(EVENT, event=make_event(f"e{n}")) for n in range(5)}
    asked = FULL.requests["ask-TELEMETRY_USAGE"]
    requests = {f"r{n}": replace(asked, request=ask(request_id=f"r{n}")) for n in range(5)}
    for chosen in ("012", "2", "24", "243", "0243"):
        step = replace(
            FULL,
            events={f"e{n}": events[f"e{n}"] for n in chosen},
            requests={f"r{n}": requests[f"r{n}"] for n in chosen},
        )
        store.save(step)
        store.close()
        store = Store.open(tmp_path / "ven.db")
        assert list(store.load().events) == list(step.events)
        assert list(store.load().requests) == list(step.requests)
    store.close()


def test_a_commit_is_on_the_disk_before_it_counts(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ven.db")
    pragmas = {
        name: store._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    }
    store.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}


def test_reports_wait_in_order_and_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    path = tmp_path / "ven.db"
    store = Store.open(path)
    store.save(FULL, reports(3))
    first = store.next_queued()
    assert first is not None
    store.close()
    store = Store.open(path)
    assert store.next_queued() == first
    assert store.waiting() == {"ask-TELEMETRY_USAGE": 3}
    store.delivered(first.seq)
    second = store.next_queued()
    assert second is not None
    assert second.seq > first.seq
    assert second.body != first.body
    store.close()


def test_a_refused_report_does_not_hold_up_the_next_and_the_newest_hundred_are_kept(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ven.db")
    for number in range(REFUSED_KEPT + 2):
        store.save(FULL, reports(1))
        queued = store.next_queued()
        assert queued is not None
        store.refuse(queued.seq, f"reason {number}")
    assert store.next_queued() is None
    assert [reason for _, reason in store.refused()] == [f"reason {n}" for n in range(2, REFUSED_KEPT + 2)]
    store.close()


def test_rpt_43_a_new_registration_and_a_cancelled_request_empty_the_queue(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ven.db")
    store.save(FULL, reports())
    store.save(replace(FULL, requests={}), revoked={"ask-TELEMETRY_USAGE"})
    assert store.next_queued() is None
    store.save(FULL, reports())
    renewed = replace(FULL, registration=Registration(VEN, "reg-1", "vtn-1", 60.0))
    store.save(renewed)
    assert store.next_queued() is not None
    store.save(replace(FULL, registration=Registration(VEN, "reg-2", "vtn-1", 60.0)))
    assert store.next_queued() is None
    store.close()


def test_state_and_reports_are_saved_together_or_not_at_all(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ven.db")
    store.save(FULL)
    store._connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON ven_queue BEGIN SELECT RAISE(ABORT, 'disk'); END"
    )
    with pytest.raises(StateError, match="cannot be written: disk"):
        store.save(Saved(), reports(1))
    assert store.load() == FULL
    store._connection.execute("DROP TRIGGER full")
    store.close()
    again = Store.open(tmp_path / "ven.db")
    assert again.load() == FULL
    again.close()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A state file and its copy, as a power cut leaves them after a checkpoint."""
    path = tmp_path / "site" / "ven.db"
    path.parent.mkdir()
    store = Store.open(path)
    store.save(FULL, reports())
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    return path


def reopened(path: Path) -> Saved:
    store = Store.open(path)
    saved = store.load()
    store.close()
    return saved


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A directory where nothing waits for a disk, if there is one."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as name:
        yield Path(name)


@pytest.mark.goal(76)
def test_goals_76_a_file_cut_or_zeroed_at_any_512_bytes_gives_the_state_or_its_copy(
    kept: Path, in_memory: Path
) -> None:
    whole = kept.read_bytes()
    for offset in range(0, len(whole), 512):
        for damaged in (whole[:offset], whole[:offset] + bytes(512) + whole[offset + 512 :]):
            work = in_memory / "work"
            shutil.copytree(kept.parent, work)
            (work / "ven.db").write_bytes(damaged)
            saved = reopened(work / "ven.db")
            # whatever could be read, no event is lost and none runs without what the VTN said of it
            assert replace(saved, synced=True) == FULL, offset
            shutil.rmtree(work)


@pytest.mark.goal(76)
def test_goals_76_a_log_cut_or_zeroed_at_any_512_bytes_loses_no_event(
    in_memory: Path, tmp_path: Path
) -> None:
    """The write-ahead log as a power cut leaves it, before the first checkpoint: all is in there."""
    live = tmp_path / "site"
    live.mkdir()
    store = Store.open(live / "ven.db")
    store.save(FULL)
    store.save(replace(FULL, answers=()))  # a later change, which may be lost
    cut = tmp_path / "cut"
    shutil.copytree(live, cut)
    store.close()
    whole = (cut / "ven.db-wal").read_bytes()
    assert len(whole) > 20_000
    for offset in range(0, len(whole), 512):
        for damaged in (whole[:offset], whole[:offset] + bytes(512) + whole[offset + 512 :]):
            work = in_memory / "work"
            shutil.copytree(cut, work)
            (work / "ven.db-wal").write_bytes(damaged)
            saved = reopened(work / "ven.db")
            assert replace(saved, synced=True, answers=()) == replace(FULL, answers=()), offset
            shutil.rmtree(work)


def test_a_damaged_file_is_put_aside_and_the_events_are_asked_for_again(kept: Path) -> None:
    kept.write_bytes(b"no database" * 100)
    assert reopened(kept) == replace(FULL, synced=False)
    assert reopened(kept) == replace(FULL, synced=False)
    assert kept.with_name("ven.db.damaged").read_bytes().startswith(b"no database")


@pytest.mark.goal(76)
def test_goals_76_without_a_good_copy_the_error_says_what_to_do(kept: Path) -> None:
    kept.with_name("ven.db.good").unlink()
    kept.write_bytes(b"no database" * 100)
    with pytest.raises(StateError, match="damaged and there is no good copy: move it away"):
        Store.open(kept)


def test_a_file_that_holds_something_else_is_damaged_too(kept: Path) -> None:
    with sqlite3.connect(kept) as connection:
        connection.execute("UPDATE ven_event SET body = x'00'")
    connection.close()
    assert reopened(kept).events == FULL.events
    kept.with_name("ven.db.good").unlink()
    with sqlite3.connect(kept) as connection:
        connection.execute("UPDATE ven_request SET next_start = 'yesterday'")
    connection.close()
    with pytest.raises(StateError, match="damaged"):
        Store.open(kept)


@pytest.mark.parametrize("table", ["ven_event", "ven_request"])
def test_a_message_of_another_kind_is_damage(kept: Path, table: str) -> None:
    with sqlite3.connect(kept) as connection:
        connection.execute(f"UPDATE {table} SET body = (SELECT body FROM ven_answer)")
    connection.close()
    assert replace(reopened(kept), synced=True) == FULL


def test_when_file_and_copy_are_damaged_the_error_says_so(kept: Path) -> None:
    for name in ("ven.db", "ven.db.good"):
        kept.with_name(name).write_bytes(b"no database" * 100)
    with pytest.raises(StateError, match="damaged and there is no good copy"):
        Store.open(kept)


def test_a_file_of_a_newer_version_is_refused(kept: Path) -> None:
    with sqlite3.connect(kept) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(StateError, match=f"has version {len(MIGRATIONS) + 1}"):
        Store.open(kept)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"nowhere.* cannot be used"):
        Store.open(tmp_path / "nowhere" / "ven.db")


def test_a_path_that_is_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be used"):
        Store.open(tmp_path)


def test_usage_reports_of_the_helper_are_for_the_request_in_the_state() -> None:
    assert {report.reports[0].report_name for report in reports(2)} == {USAGE}
