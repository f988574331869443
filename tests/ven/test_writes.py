"""What a VEN writes to its card: nothing for what brings nothing new (GOALS 68). Counted in pages."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from openadr import (
    CancelReport,
    CreatedEvent,
    CreatedOpt,
    CreatedReport,
    EiResponse,
    EventResponse,
    Message,
    Poll,
    RegisterReport,
)
from openadr.enums import OptType
from tests.ven.conversation import make_session, names
from tests.ven.messages import (
    HOUR,
    ask,
    cancelled,
    create_report,
    distribute,
    make_event,
    metadata_taken,
    no,
    ok,
    registered,
)
from tests.ven.site import NOW, USAGE, Site, capability
from ven.opt import qualify
from ven.session import Delivery, Session
from ven.store import DELIVERED_KEPT, SPENT_AHEAD, Store

FRAME = 1024 + 24
PERIOD = timedelta(seconds=11)
OUT, IN = OptType.OPT_OUT, OptType.OPT_IN


@dataclass
class Box:
    """A registered VEN over a real state file, driven as its client drives it."""

    path: Path
    site: Site = field(default_factory=Site)
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.store = Store.open(self.path)
        self.session = self._begun()
        if self.session.saved.registration is None:
            granted = registered(period_s=10)
            self.play(registered(ven_id=None), granted, metadata_taken(), distribute())

    def _begun(self) -> Session:
        return make_session(self.store.load(), self.site)

    def play(self, *answers: Message) -> list[Message]:
        """Gives one answer after the other, everything saved as it goes; the requests that they answered."""
        asked = []
        for answer in answers:
            asked.append(self.session.due(self.now)[0])
            self.store.save(self.session.saved)
            self.session.receive(answer, self.now)
            self.store.save(self.session.saved)
        return asked

    def poll(self, *answers: Message) -> list[Message]:
        """The next poll after the period, and what follows from it."""
        self.now += PERIOD
        return self.play(*answers)

    def pages(self) -> int:
        """Pages written since this was asked last."""
        wal = self.path.with_name(self.path.name + "-wal")
        count = max(0, wal.stat().st_size - 32) // FRAME
        self.store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    def crash(self) -> Box:
        """What begins again from the file as it lies there now."""
        folder = self.path.parent / f"{self.path.parent.name}-again"
        shutil.copytree(self.path.parent, folder)
        return Box(folder / self.path.name, self.site, self.now)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A box that has registered and written so."""
    folder = tmp_path / "box"
    folder.mkdir()
    box = Box(folder / "ven.db")
    box.pages()
    yield box
    box.store.close()


def responses(message: Message) -> tuple[EventResponse, ...]:
    assert isinstance(message, CreatedEvent)
    return message.event_responses


def test_goals_68_a_poll_that_brings_nothing_writes_nothing(box: Box) -> None:
    for _ in range(50):
        assert names(box.poll(ok())) == ["Poll"]
    assert box.pages() == 0


LISTS = {
    "followed": [make_event(), make_event("e2", start=NOW + 9 * HOUR)],
    "refused": [make_event(), make_event("e2", market_context="x", start=NOW - 9 * HOUR)],
    "cancelled": [make_event(), cancelled(make_event("e2"))],
    "cancelled while it is followed": [make_event()],
}


@pytest.mark.criterion("VEX-02", "VEX-06", who="ven")
@pytest.mark.parametrize("name", LISTS)
def test_goals_68_a_list_that_is_repeated_at_each_poll_is_answered_and_not_written(
    box: Box, name: str
) -> None:
    events = LISTS[name]
    box.poll(distribute(*events), ok())
    if "while" in name:
        events = [cancelled(each) for each in events]
    box.poll(distribute(*events, request_id="d2"), ok())
    assert box.pages() > 0
    before = box.store.load()
    for number in range(50):
        asked = box.poll(distribute(*events, request_id=f"again-{number}"), ok())
        assert names(asked) == ["Poll", "CreatedEvent"]
        assert {each.request_id for each in responses(asked[1])} == {f"again-{number}"}
    assert box.pages() == 0
    again = box.crash()
    assert again.store.load() == before
    again.store.close()


def test_a_list_of_another_vtn_is_refused_each_time_and_written_once(box: Box) -> None:
    wrong = [replace(distribute(make_event(), request_id=f"d{number}"), vtn_id="x") for number in range(9)]
    box.poll(wrong[0], ok())
    box.pages()
    for each in wrong[1:]:
        assert names(box.poll(each, ok())) == ["Poll", "CreatedEvent"]
    assert box.pages() == 0


def test_goals_68_requests_for_reports_that_are_repeated_are_answered_and_not_written(box: Box) -> None:
    wanted = create_report(ask(), ask("UNKNOWN"))
    offered = RegisterReport(request_id="r", reports=())
    unknown = CancelReport(request_id="c", report_request_ids=("?",), report_to_follow=False)
    for _ in range(2):
        box.poll(wanted, ok())
        box.poll(offered, ok())
        box.poll(unknown, ok())
    box.pages()
    for _ in range(20):
        assert names(box.poll(wanted, ok())) == ["Poll", "CreatedReport"]
        assert names(box.poll(offered, ok())) == ["Poll", "RegisteredReport"]
        assert names(box.poll(unknown, ok())) == ["Poll", "CanceledReport"]
    assert box.pages() == 0


def test_an_answer_outlives_a_crash_until_the_vtn_has_heard_it_once(box: Box) -> None:
    told = distribute(make_event())
    for answers in ((told,), (ok(), told)):  # before the first answer was heard, and before the second was
        box.play(*answers) if len(answers) == 2 else box.poll(*answers)
        again = box.crash()
        first = names(again.session.due(again.now))
        again.store.close()
        shutil.rmtree(again.path.parent)
        assert first == (["CreatedEvent"] if len(answers) == 1 else ["Poll"])
        box.now += HOUR


def test_an_answer_to_a_changed_request_is_kept_though_it_says_what_was_said(box: Box) -> None:
    box.poll(create_report(ask()), ok())
    ended = CancelReport(request_id="c", report_request_ids=("ask-TELEMETRY_USAGE",), report_to_follow=False)
    box.poll(ended, ok())
    (asked,) = box.poll(create_report(ask(back=HOUR)))  # the same words in answer, to something new
    assert isinstance(asked, Poll)
    again = box.crash()
    assert [type(each) for each in again.session.due(again.now)] == [CreatedReport]
    again.store.close()


def test_a_refusal_that_changes_nothing_outlives_a_crash_too_until_it_was_heard(box: Box) -> None:
    box.poll(distribute(make_event(modification=3)), ok())
    box.poll(distribute(make_event(modification=2)))
    again = box.crash()
    assert [responses(each)[0].code for each in again.session.due(again.now)] == ["450"]
    again.store.close()


def test_a_word_that_is_followed_by_another_on_its_way_is_kept(box: Box) -> None:
    told = distribute(make_event())
    box.poll(told, ok())  # the VTN has heard: optIn
    box.poll(told)  # and is to hear it again, while the site changes its mind twice
    box.session.change_opt("e1", OUT)
    box.store.save(box.session.saved)
    box.play(ok())
    box.session.due(box.now)
    box.session.change_opt("e1", IN)
    box.store.save(box.session.saved)
    again = box.crash()
    said = [responses(each)[0].opt_type for each in again.session.due(again.now)]
    assert said == [OUT, IN]
    again.store.close()


def test_a_word_that_was_overtaken_unsaid_and_is_said_again_is_kept(box: Box) -> None:
    told = distribute(make_event())
    box.poll(told, ok())
    box.now += PERIOD
    box.session.due(box.now)  # while the poll is under way, the site says something
    box.session.send(qualify(box.session.saved.events["e1"], "ven-1", ("o", "r"), NOW, ("r1",)))
    box.play(told)
    box.session.change_opt("e1", OUT)  # in place of the answer, which only repeats what the VTN knows
    box.play(CreatedOpt(response=EiResponse.ok("r"), opt_id="o"))
    box.session.due(box.now)
    box.session.change_opt("e1", IN)
    box.store.save(box.session.saved)
    again = box.crash()
    said = [responses(each)[0].opt_type for each in again.session.due(again.now)]
    assert said == [OUT, IN]
    again.store.close()


def test_a_vtn_that_has_forgotten_us_is_told_anew(box: Box) -> None:
    offered = RegisterReport(request_id="r", reports=())
    box.poll(offered, ok())
    box.poll(offered, no("463"))
    box.play(registered(ven_id=None), registered(), metadata_taken(), distribute())
    box.poll(offered)
    again = box.crash()
    assert names(again.session.due(again.now)) == ["RegisteredReport"]
    again.store.close()


# nonces of signed answers


def spend(store: Store, second: int) -> bool:
    return store.spend("f" * 64, f"{second * 7919 % 10_007:032}", NOW + timedelta(seconds=second))


@pytest.mark.criterion("SIG-05", who="ven")
def test_goals_68_nonces_of_an_hour_are_written_once_a_minute(box: Box) -> None:
    written = 0
    for second in range(0, 3600, 10):
        assert spend(box.store, second)
        written += box.pages() > 0
    assert written <= 3600 // SPENT_AHEAD.seconds


@pytest.mark.criterion("SIG-05", who="ven")
@pytest.mark.parametrize("other_change", [False, True])
def test_sig_05_no_nonce_is_believed_twice_whenever_the_power_goes(box: Box, other_change: bool) -> None:
    for second in range(0, 100, 10):
        assert spend(box.store, second)
        if other_change and second == 30:
            box.poll(distribute(make_event()))
        again = box.crash()
        for earlier in range(0, second + 1, 10):
            assert not spend(again.store, earlier)
        assert spend(again.store, second + SPENT_AHEAD.seconds + 1)  # it hears again after a minute
        again.store.close()
        twice = Box(again.path)  # and what the crash has lost is not forgiven later
        assert not any(spend(twice.store, earlier) for earlier in range(0, second + 1, 10))
        twice.store.close()
        shutil.rmtree(again.path.parent)


@pytest.mark.criterion("SIG-05", who="ven")
def test_after_a_stop_in_order_the_next_answer_is_believed_and_no_old_one(box: Box) -> None:
    assert all(spend(box.store, second) for second in range(0, 50, 10))
    box.store.close()
    box.store = Store.open(box.path)
    assert not any(spend(box.store, second) for second in range(0, 50, 10))
    assert spend(box.store, 51)


@pytest.mark.criterion("SIG-05", who="ven")
def test_clocks_that_were_an_hour_ahead_do_not_shut_a_ven_up(box: Box) -> None:
    assert spend(box.store, 3600)
    assert spend(box.store, 10)  # both clocks were put right
    again = box.crash()
    assert not spend(again.store, 10)
    assert not spend(again.store, 3600)
    assert spend(again.store, 10 + SPENT_AHEAD.seconds + 1)
    again.store.close()


@pytest.mark.criterion("SIG-05", who="ven")
@pytest.mark.parametrize("ahead", [0, 10 * 365 * 86_400])
def test_nonces_that_can_be_believed_no_more_take_no_memory(box: Box, ahead: int) -> None:
    assert spend(box.store, ahead)  # a clock that was far ahead must not keep those that come later
    for second in range(10, 4000, 10):
        assert spend(box.store, second)
    assert len(box.store._nonces) < 120


# reports


def minutely() -> Site:
    minute = timedelta(minutes=1)
    return Site(offered=[capability(USAGE, "load", min_period=minute)])


def report(box: Box) -> int:
    """Makes and delivers what is due; how many reports."""
    made = box.session.reports_due(box.now)
    box.store.save(box.session.saved, made)
    for _ in made:
        queued = box.store.next_queued()
        assert queued is not None
        assert box.session.reported(ok(), queued.report_request_id) is Delivery.DONE
        box.store.save(box.session.saved)
        box.store.delivered(queued.seq)
    return len(made)


def test_goals_68_a_report_a_minute_is_one_commit_of_few_pages(tmp_path: Path) -> None:
    box = Box(tmp_path / "ven.db", minutely())
    minute = timedelta(minutes=1)
    box.poll(create_report(ask(granularity=minute, back=minute)), ok())
    box.now = NOW + 5 * minute
    pages = []
    for _ in range(60):
        box.now += minute
        box.site.complete_until = box.now
        while report(box):
            pass
        pages.append(box.pages())
    assert max(pages[10:]) <= 8
    box.store.close()
    with closing(sqlite3.connect(tmp_path / "ven.db")) as file:
        assert file.execute("SELECT count(*) FROM ven_queue").fetchone() == (0,)


def test_goals_68_the_progress_of_a_long_request_is_one_page(box: Box) -> None:
    points = [f"point-{number}" for number in range(100)]
    box.session = make_session(box.session.saved, Site(offered=[capability(USAGE, each) for each in points]))
    box.play(metadata_taken(), distribute())
    box.poll(create_report(ask(r_ids=points)), ok())
    box.pages()
    saved = box.store.load()
    (held,) = saved.requests.values()
    later = replace(held, next_start=held.next_start + HOUR)
    box.store.save(replace(saved, requests={held.request_id: later}))
    assert box.pages() == 1
    assert box.crash().store.load().requests == {held.request_id: later}


def test_a_crash_sends_few_reports_again_that_the_vtn_has_and_unchanged(
    tmp_path: Path,
) -> None:
    (tmp_path / "box").mkdir()
    box = Box(tmp_path / "box" / "ven.db", minutely())
    minute = timedelta(minutes=1)
    box.poll(create_report(ask(granularity=minute, back=minute)), ok())
    box.now += 2 * HOUR + 7 * minute
    box.site.complete_until = box.now
    bodies = []
    while made := box.session.reports_due(box.now):
        box.store.save(box.session.saved, made)
    while (queued := box.store.next_queued()) is not None:
        bodies.append(queued.body)
        box.store.delivered(queued.seq)
    assert box.store.waiting() == {}
    again = box.crash()
    resent = []
    while (queued := again.store.next_queued()) is not None:
        resent.append(queued.body)
        again.store.delivered(queued.seq)
    assert 0 < len(resent) < DELIVERED_KEPT < len(bodies)
    assert resent == bodies[-len(resent) :]
    again.store.close()
    box.store.close()
