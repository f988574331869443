"""What a VEN remembers of what it has done: rows that last, few, and never twice."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openadr import CreatedEvent, CreateOpt, EiResponse, EventResponse, Message, Target, encode
from openadr.enums import OptType
from openadr.event_digest import event_sha256
from tests.ven.messages import HOUR, cancelled, distribute, make_event, ok
from tests.ven.site import NOW
from tests.ven.test_store import reports
from ven import deed
from ven.deed import Deed, Kind
from ven.errors import StateError
from ven.event import HeldEvent
from ven.registration import Registration
from ven.saved import Saved
from ven.store import DELIVERED_KEPT, Store, recollect

SAVED = Saved(registration=Registration("ven-1", "r", "vtn", 10.0))
SIGNAL = Deed(Kind.SIGNAL, NOW, "e1/0", bytes(32))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "ven.db")
    opened.save(SAVED)
    yield opened
    opened.close()


def kept(store: Store) -> list[tuple[Kind, str]]:
    return [(each.kind, each.subject) for each in recollect(store._path).deeds]


def held(event_id: str, number: int = 0, **changes: object) -> HeldEvent:
    return HeldEvent(make_event(event_id, modification=number, **changes), "r", NOW, OptType.OPT_IN)


def test_a_version_of_an_event_is_remembered_with_its_content() -> None:
    first, second = make_event("e1", modification=1), make_event("e2")
    after = {"e1": held("e1", 1), "e2": held("e2")}
    before = {"e1": held("e1"), "e2": held("e2")}
    (found,) = deed.received(distribute(first, second), before, after, NOW)
    assert found == Deed(Kind.SIGNAL, NOW, "e1/1", event_sha256(first))
    assert list(deed.received(ok(), {}, {}, NOW)) == []


def test_a_stale_version_that_is_refused_is_none() -> None:
    state = {"e1": held("e1", 2)}
    assert list(deed.received(distribute(make_event("e1", modification=1)), state, state, NOW)) == []


def test_a_cancellation_is_remembered_as_it_came() -> None:
    event = make_event("e1", modification=0)
    stopped = cancelled(event)
    after = {"e1": replace(held("e1"), event=replace(event, descriptor=stopped.descriptor))}
    (found,) = deed.received(distribute(stopped), {"e1": held("e1")}, after, NOW)
    assert found.sha256 == event_sha256(stopped) != event_sha256(event)


def answer(event_id: str) -> EventResponse:
    return EventResponse(
        code="200", request_id="d", event_id=event_id, modification_number=3, opt_type=OptType.OPT_OUT
    )


OPTS: list[tuple[Message, list[str]]] = [
    (
        CreatedEvent(response=EiResponse.ok(), event_responses=(answer("e1"), answer("e2")), ven_id="ven-1"),
        ["e1/3/optOut/200", "e2/3/optOut/200"],
    ),
    (
        CreateOpt(
            opt_id="o-1",
            opt_type=OptType.OPT_IN,
            opt_reason="participating",
            ven_id="ven-1",
            created_date_time=NOW,
            request_id="r",
            event_id="e1",
            modification_number=2,
            target=Target(),
        ),
        ["e1/2/optIn/o-1"],
    ),
    (ok(), []),
]


@pytest.mark.parametrize(("message", "subjects"), OPTS)
def test_every_opt_of_a_message_is_remembered(message: Message, subjects: list[str]) -> None:
    assert [each.subject for each in deed.acknowledged(message, NOW)] == subjects
    said = list(deed.said([message], NOW))
    assert [(each.kind, each.subject) for each in said] == [(Kind.SAID, subject) for subject in subjects]


def test_what_is_done_again_is_written_once_after_a_restart_too(store: Store) -> None:
    for _ in range(3):
        store.save(SAVED, deeds=[SIGNAL, SIGNAL])
    store.close()
    again = Store.open(store._path)
    again.save(SAVED, deeds=[replace(SIGNAL, at=NOW + HOUR)])
    again.save(SAVED, deeds=[replace(SIGNAL, sha256=b"x" * 32)])
    again.close()
    assert kept(again) == [(Kind.SIGNAL, "e1/0")] * 2  # another content is another version


@pytest.mark.parametrize("ended_before", [False, True])
def test_under_another_id_nothing_is_forgotten(store: Store, ended_before: bool) -> None:
    store.save(SAVED, deeds=[SIGNAL])
    store.delivered(0, Deed(Kind.REPORT, NOW, "r/0", bytes(32)))
    if ended_before:
        store.save(replace(SAVED, registration=None))
        assert len(kept(store)) == 2
        store.close()
        store = Store.open(store._path)
    assert store.load().registration == (None if ended_before else SAVED.registration)
    assert recollect(store._path).ven_id == (None if ended_before else "ven-1")
    other = replace(SAVED, registration=Registration("ven-2", "r2", "vtn", 10.0))
    opt = Deed(Kind.OPT, NOW, "e1/0/optIn/200")
    store.save(other, deeds=[opt])
    store.save(other, deeds=[opt, SIGNAL])  # it came under this id too
    found = recollect(store._path)
    assert [(each.kind, each.ven_id) for each in found.deeds] == [
        (Kind.SIGNAL, "ven-1"),
        (Kind.REPORT, "ven-1"),
        (Kind.OPT, "ven-2"),
        (Kind.SIGNAL, "ven-2"),
    ]
    assert found.ids == {"ven-1", "ven-2"}
    store.close()


def test_under_the_same_id_the_memory_goes_on(store: Store) -> None:
    store.save(SAVED, deeds=[SIGNAL])
    store.save(replace(SAVED, registration=None))
    store.save(replace(SAVED, registration=Registration("ven-1", "r2", "vtn", 10.0)))
    assert kept(store) == [(Kind.SIGNAL, "e1/0")]


def test_acknowledged_reports_are_remembered_with_the_next_change(store: Store) -> None:
    (message,) = reports(1)
    store.save(SAVED, [message])
    queued = store.next_queued()
    assert queued is not None
    digest = hashlib.sha256(queued.body).digest()
    store.delivered(queued.seq, queued.delivered(digest, NOW))
    before = recollect(store._path)
    assert (before.deeds, before.unacknowledged) == ((), {digest})  # a crash here sends it once more
    store.save(SAVED, deeds=[SIGNAL])
    after = recollect(store._path)
    created = message.reports[0].created_date_time.strftime("%Y-%m-%dT%H:%M:%SZ")
    told = [(each.subject, each.sha256) for each in after.deeds]
    assert told == [(f"{queued.report_request_id}/{created}", digest), ("e1/0", bytes(32))]
    assert after.unacknowledged == frozenset()


def test_so_many_at_most_wait_in_memory(store: Store) -> None:
    for number in range(DELIVERED_KEPT):
        assert kept(store) == []
        store.delivered(number, Deed(Kind.REPORT, NOW, f"r/{number}", bytes(32)))
    assert len(kept(store)) == DELIVERED_KEPT


def test_a_stop_in_order_loses_none(store: Store) -> None:
    store.delivered(0, Deed(Kind.REPORT, NOW, "r/0", bytes(32)))
    store.close()
    assert kept(store) == [(Kind.REPORT, "r/0")]


def test_the_oldest_go_by_number_whatever_the_clock_says(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ven.store.DEEDS_KEPT", 5)
    for number in range(8):
        at = NOW + timedelta(days=4000 if number == 0 else 0)
        store.save(SAVED, deeds=[Deed(Kind.OPT, at, f"e/{number}")])
    assert [subject for _, subject in kept(store)] == [f"e/{number}" for number in range(3, 8)]


def test_a_file_of_before_learns_to_remember(tmp_path: Path) -> None:
    path = tmp_path / "ven.db"
    store = Store.open(path)
    store.save(SAVED, reports(1))
    store.close()
    with closing(sqlite3.connect(path)) as file:
        file.executescript(
            "DROP TABLE ven_deed; ALTER TABLE ven_queue DROP COLUMN created_at; PRAGMA user_version = 7;"
        )
    with pytest.raises(StateError, match="cannot be read: no such table"):
        recollect(path)
    again = Store.open(path)
    queued = again.next_queued()
    assert queued is not None
    assert queued.created_at == ""
    again.close()
    assert recollect(path).deeds == ()
    assert encode(reports(1)[0]) == queued.body


def test_reading_what_nobody_has_open_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "ven.db"
    store = Store.open(path)
    store.save(SAVED, deeds=[SIGNAL])
    while_open = recollect(path)
    store.close()
    before = sorted(tmp_path.iterdir())
    assert recollect(path) == while_open
    assert while_open.ven_id == "ven-1"
    assert sorted(tmp_path.iterdir()) == before
    assert while_open.deeds[0].at == datetime(2026, 3, 2, 12, tzinfo=UTC)
