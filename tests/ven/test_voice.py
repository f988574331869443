"""What the site says while nobody listens: it lasts, holds at once, is bounded, and is heard in the end."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from openadr import CanceledOpt, CancelOpt, CreatedEvent, CreatedOpt, CreateOpt, EiResponse, Message
from tests.ven import messages
from tests.ven.conversation import make_session, names, ready, talk
from tests.ven.messages import HOUR, VEN, distribute, make_event, no, ok, registered
from tests.ven.site import NOW, Site
from tests.ven.speaking import AGAIN, IN, LEAVE, OUT, PERIODS, Speaking, minute
from tests.ven.wire import eventually, plain
from ven.client import Client
from ven.states import State
from ven.store import Store
from ven.transport import Transport
from ven.waiting import LIMIT

LATER = NOW + timedelta(minutes=10)
HEARD = CreatedOpt(response=EiResponse.ok("r"), opt_id="o")


def anew() -> list[Message]:
    """What a VTN answers a VEN that registers anew, up to its events."""
    return [registered(ven_id=None), registered(), messages.metadata_taken(), distribute()]


def opts(said: list[Message]) -> list[CreateOpt]:
    return [each for each in said if isinstance(each, CreateOpt)]


@pytest.mark.criterion("VEX-26", "VEX-28", who="ven")
async def test_what_is_said_while_the_vtn_is_away_is_on_the_disk_and_followed_when_the_call_is_back(
    tmp_path: Path,
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # a port at which nobody listens
        settings = plain(nobody.getsockname()[1], tmp_path / "ven.db")
        session, site = ready(), Site()
        talk(session, distribute(make_event(), make_event("e2", start=NOW + 5 * HOUR)), ok(), ok())
        store = Store.open(settings.state_path)
        store.save(session.saved)
        paused = asyncio.Event()

        async def pause(_seconds: float) -> None:
            paused.set()
            await asyncio.Event().wait()  # the VTN stays away for ever

        async with Transport(settings, lambda: LATER, store.spend) as transport:
            client = Client(settings, site, store, transport, clock=lambda: LATER, sleep=pause)
            task = asyncio.create_task(client.converse())
            await eventually(paused.is_set)
            client.voice.change("e1", OUT)
            assert [each.event.event_id for each in site.timelines[-1].setpoints()] == ["e2"]
            client.voice.qualify("e2", OUT)
            assert site.timelines[-1].setpoints() == []
            client.voice.declare(OUT, PERIODS, opt_id="o1")
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    store.close()
    store = Store.open(settings.state_path)  # the box was cut off
    saved = store.load()
    store.close()
    assert {held.opt_type for held in saved.events.values()} == {OUT}
    again = make_session(saved)
    asked = talk(again, ok(), HEARD, HEARD, ok(), now=LATER)
    assert names(asked) == ["CreatedEvent", "CreateOpt", "CreateOpt", "Poll"]
    assert isinstance(asked[0], CreatedEvent)
    assert [(each.event_id, each.opt_type) for each in asked[0].event_responses] == [("e1", OUT)]
    assert [each.event_id for each in opts(asked)] == ["e2", None]


@pytest.mark.criterion("OPT-01", "REG-11", who="ven")
@pytest.mark.parametrize("restarts", [False, True])
def test_what_a_vtn_that_forgot_us_has_not_heard_is_said_again_under_the_new_id(restarts: bool) -> None:
    speaking = Speaking()
    assert names(speaking.session.due(LATER)) == ["Poll"]
    speaking.voice.declare(OUT, PERIODS, opt_id="o1")
    speaking.session.receive(no("463"), LATER)
    speaking.voice.qualify("e1", OUT)  # between the registrations
    session = make_session(speaking.session.saved) if restarts else speaking.session
    answers: list[Message] = [
        registered(ven_id=None),
        registered(ven_id="ven-2"),
        messages.metadata_taken(),
        distribute(make_event()),
        ok(),
        HEARD,
        HEARD,
        ok(),
    ]
    asked = talk(session, *answers, now=LATER)
    assert names(asked)[2:] == [
        "RegisterReport",
        "RequestEvent",
        "CreatedEvent",
        "CreateOpt",
        "CreateOpt",
        "Poll",
    ]
    said = opts(asked)
    assert [(each.opt_id == "o1", each.event_id) for each in said] == [(True, None), (False, "e1")]
    assert {(each.ven_id, each.target.ven_id) for each in said} == {("ven-2", ("ven-2",))}
    assert session.saved.opts == tuple(said)
    assert session.saved.answers == ()


@pytest.mark.criterion("REG-11", who="ven")
def test_the_sites_words_wait_until_the_vtn_has_listed_its_events() -> None:
    session = make_session()
    talk(session, registered(ven_id=None), registered())
    speaking = Speaking(session)
    speaking.voice.declare(OUT, PERIODS)
    asked = talk(session, messages.metadata_taken(), distribute(), HEARD, ok())
    assert names(asked) == ["RegisterReport", "RequestEvent", "CreateOpt", "Poll"]


def test_a_word_said_during_a_renewal_that_fails_is_said_after_the_next_registration() -> None:
    speaking = Speaking()
    session = speaking.session
    talk(session, AGAIN, ok(), now=LATER)
    assert names(session.due(LATER)) == ["CreatePartyRegistration"]
    speaking.voice.declare(OUT, PERIODS)
    session.receive(registered("452", ven_id=None), LATER)
    assert session.state is State.UNREGISTERED
    later = LATER + HOUR
    assert names(session.due(later)) == ["QueryRegistration"]
    answers: list[Message] = [
        registered(ven_id=None),
        registered(),
        messages.metadata_taken(),
        distribute(),
        HEARD,
    ]
    assert names(talk(session, *answers, now=later))[2:] == ["RegisterReport", "RequestEvent", "CreateOpt"]


def test_the_end_of_the_registration_ends_what_was_said_between() -> None:
    speaking = Speaking()
    talk(speaking.session, no("463"), registered(ven_id=None), registered(), now=LATER)
    speaking.voice.declare(OUT, PERIODS)
    talk(speaking.session, messages.metadata_taken(), distribute(), now=LATER)
    assert names(speaking.session.due(LATER)) == ["CreateOpt"]
    speaking.session.leave()
    speaking.session.receive(no("463"), LATER)
    assert speaking.session.state is State.CANCELED
    assert speaking.session.saved.answers == ()
    assert speaking.session.saved.opts == ()


def test_wishes_about_the_vtns_reports_end_with_the_registration() -> None:
    session = ready()
    session.due(LATER)
    session.send(messages.create_report(messages.ask(), ven_id=VEN))
    session.receive(no("463"), LATER)
    assert session.saved.answers == ()


def test_of_many_changes_of_mind_only_the_last_waits() -> None:
    speaking = Speaking()
    session = speaking.session
    assert names(session.due(LATER)) == ["Poll"]  # under way, and never answered
    for number in range(500):
        speaking.voice.change("e1", OUT if number % 2 else IN)
    assert names(session.due(LATER)) == ["Poll", "CreatedEvent"]
    for number in range(500):
        speaking.voice.qualify("e1", OUT if number % 2 else IN)
        speaking.voice.declare(OUT, PERIODS, opt_id=f"s{number}")
    assert names(session.due(LATER)) == ["Poll", "CreatedEvent", "CreateOpt", "CreateOpt"]
    first, *_, schedule = (session.due(LATER)[n] for n in (1, 2, 3))
    assert isinstance(first, CreatedEvent)
    assert first.event_responses[0].opt_type is OUT
    assert isinstance(schedule, CreateOpt)
    assert schedule.opt_id == "s499"
    assert len(session.saved.opts) == 2
    with pytest.raises(ValueError, match="no schedule"):
        speaking.voice.withdraw("s0")  # nobody ever heard of it


def test_a_word_that_is_under_way_is_not_taken_back() -> None:
    speaking = Speaking()
    speaking.voice.declare(OUT, PERIODS, opt_id="o1")
    assert names(speaking.session.due(NOW)) == ["CreateOpt"]
    speaking.voice.declare(OUT, PERIODS, opt_id="o2")
    speaking.voice.withdraw("o2")
    assert names(speaking.session.due(NOW)) == ["CreateOpt", "CancelOpt"]
    assert [each.opt_id for each in speaking.session.saved.opts] == ["o1"]
    canceled = CanceledOpt(response=EiResponse("452", "unknown"), opt_id="o2")
    asked = talk(speaking.session, HEARD, canceled)
    assert isinstance(asked[1], CancelOpt)
    assert [each.opt_id for each in speaking.session.saved.opts] == ["o1"]


def test_a_schedule_holds_until_the_vtn_has_taken_the_next_one() -> None:
    speaking = Speaking()
    for opt_id, code, held in (("o1", "200", ["o1"]), ("o2", "451", ["o1"]), ("o3", "200", ["o3"])):
        speaking.voice.declare(OUT, PERIODS, opt_id=opt_id)
        speaking.answered(code)
        assert [each.opt_id for each in speaking.session.saved.opts] == held


def test_no_more_than_so_many_words_wait_and_a_refused_one_changes_nothing() -> None:
    speaking = Speaking()
    speaking.session.due(LATER)
    for number in range(LIMIT):
        speaking.voice.declare(OUT, PERIODS, resources=[f"home-{number}"])
    before = speaking.session.saved
    with pytest.raises(ValueError, match=f"no more than {LIMIT}"):
        speaking.voice.declare(OUT, PERIODS)
    with pytest.raises(ValueError, match=f"no more than {LIMIT}"):
        speaking.voice.qualify("e1", OUT)
    assert speaking.session.saved == before
    speaking.voice.declare(OUT, minute(NOW), resources=["home-7"])
    assert len(speaking.session.saved.answers) == LIMIT


def test_a_cancelled_registration_lets_no_word_out() -> None:
    speaking = Speaking()
    speaking.session.due(LATER)
    speaking.voice.declare(OUT, PERIODS)
    talk(speaking.session, LEAVE, ok(), now=LATER)
    later = LATER + 2 * HOUR
    answers: list[Message] = [
        registered(ven_id=None),
        registered(),
        messages.metadata_taken(),
        distribute(),
        ok(),
    ]
    asked = talk(speaking.session, *answers, now=later)
    assert "CreateOpt" not in names(asked)
