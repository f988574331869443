"""The voice of the site: schedules, qualified events, changes of mind; what is remembered of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from openadr import ActivePeriod, CanceledOpt, CancelOpt, CreatedEvent, CreateOpt, Duration, EiResponse
from openadr.enums import OptReason, ResponseRequired
from tests.openadr.samples import MESSAGES
from tests.ven.conversation import make_session, names, ready, talk
from tests.ven.messages import VEN, distribute, make_event, no, ok, registered
from tests.ven.site import NOW
from tests.ven.speaking import AGAIN, HOUR, IN, LEAVE, OUT, PERIODS, Speaking, minute
from ven.errors import UnexpectedMessageError
from ven.saved import Saved
from ven.states import State
from ven.store import Store


@pytest.mark.criterion("OPT-01", "OPT-02", "OPT-03", "OPT-04")
@pytest.mark.criterion("OPT-10", who="ven")
def test_a_schedule_has_its_periods_an_id_and_the_ven_id_and_nothing_of_an_event() -> None:
    speaking = Speaking()
    opt_id = speaking.voice.declare(OUT, PERIODS, reason=OptReason.MUST_RUN)
    message = speaking.said()
    assert (message.opt_id, message.opt_type, message.opt_reason) == (opt_id, OUT, "mustRun")
    assert message.availability == (
        ActivePeriod(dtstart=NOW, duration=Duration(3600)),
        ActivePeriod(dtstart=NOW + 5 * HOUR, duration=Duration(0)),
    )
    assert (message.ven_id, message.target.ven_id, message.created_date_time) == (VEN, (VEN,), NOW)
    assert (message.event_id, message.market_context, message.device_class) == (None, None, None)
    assert speaking.woken == 1


@pytest.mark.criterion("OPT-09", "TGT-06", who="ven")
@pytest.mark.criterion("OPT-02", "OPT-04")
def test_a_schedule_may_be_limited_to_resources_a_programme_and_device_classes() -> None:
    speaking = Speaking()
    speaking.voice.declare(
        IN,
        PERIODS,
        resources=["home-01"],
        market_context="http://programme.test/a",
        device_classes=["Storage", "x-heat-pump"],
        opt_id="shared",
    )
    message = speaking.answered()
    assert (message.target.resource_id, message.market_context) == (("home-01",), "http://programme.test/a")
    assert message.device_class is not None
    assert message.device_class.end_device_asset == ("Storage", "x-heat-pump")
    speaking.voice.declare(OUT, PERIODS, opt_id="shared")
    assert speaking.answered().opt_id == "shared"


@pytest.mark.criterion("OPT-19", who="ven")
@pytest.mark.parametrize("reason", [*OptReason, "x-holiday"])
def test_every_reason_can_be_given(reason: str) -> None:
    speaking = Speaking()
    speaking.voice.declare(OUT, PERIODS, reason=reason)
    assert speaking.said().opt_reason == reason


@pytest.mark.criterion("OPT-01", "OPT-02", "OPT-04")
@pytest.mark.parametrize("resources", [(), ("home-01", "home-02")], ids=["whole", "resources"])
def test_an_event_is_qualified_without_periods_and_programme(resources: tuple[str, ...]) -> None:
    speaking = Speaking()
    speaking.voice.qualify("e1", OUT, resources)
    message = speaking.said()
    assert (message.event_id, message.modification_number, message.opt_type) == ("e1", 0, OUT)
    assert (message.availability, message.market_context) == ((), None)
    assert (message.target.ven_id, message.target.resource_id) == ((VEN,), resources)
    held = speaking.session.saved.events["e1"]
    assert held.opt_type == (IN if resources else OUT)  # some resources are the site's own matter


@pytest.mark.criterion("OPT-12", "VEX-01", who="ven")
def test_an_event_that_wants_no_response_is_not_qualified() -> None:
    session = ready()
    talk(session, distribute(make_event(response_required=ResponseRequired.NEVER)), ok())
    speaking = Speaking(session)
    with pytest.raises(ValueError, match="OPT-12"):
        speaking.voice.qualify("e1", OUT)
    assert session.saved.opts == ()
    with pytest.raises(KeyError):
        speaking.voice.qualify("unknown", OUT)


@pytest.mark.criterion("VEX-26", who="ven")
def test_what_was_qualified_is_changed_by_create_opt_and_by_nothing_else() -> None:
    speaking = Speaking()
    speaking.voice.qualify("e1", OUT)
    speaking.answered()
    later = NOW + timedelta(minutes=10)
    asked = talk(speaking.session, distribute(make_event(modification=1), request_id="d2"), ok(), now=later)
    answer = asked[-1]
    assert isinstance(answer, CreatedEvent)
    assert [(each.modification_number, each.opt_type) for each in answer.event_responses] == [(1, OUT)]
    speaking.voice.change("e1", IN)
    message = speaking.answered()
    assert (message.event_id, message.modification_number, message.opt_type) == ("e1", 1, IN)
    assert speaking.session.saved.events["e1"].opt_type is IN


@pytest.mark.criterion("VEX-26", who="ven")
def test_a_change_of_mind_about_an_event_that_was_not_qualified_is_a_created_event() -> None:
    speaking = Speaking()
    speaking.voice.change("e1", OUT)
    assert names(speaking.session.due(NOW)) == ["CreatedEvent"]
    assert speaking.woken == 1


@pytest.mark.criterion("OPT-14", who="ven")
def test_a_qualification_is_never_taken_back() -> None:
    speaking = Speaking()
    speaking.voice.qualify("e1", OUT)
    opt_id = speaking.answered().opt_id
    with pytest.raises(ValueError, match="OPT-14"):
        speaking.voice.withdraw(opt_id)
    with pytest.raises(ValueError, match="qualifies an event"):
        speaking.voice.declare(OUT, PERIODS, opt_id=opt_id)
    assert not any(isinstance(message, CancelOpt) for message in speaking.session.due(NOW))


def test_schedules_of_one_id_are_taken_back_together() -> None:
    speaking = Speaking()
    for opt_type in (IN, OUT):
        speaking.voice.declare(opt_type, PERIODS, opt_id="shared")
        speaking.answered()
    speaking.voice.withdraw("shared")
    (message,) = speaking.session.due(NOW)
    assert isinstance(message, CancelOpt)
    assert (message.opt_id, message.ven_id) == ("shared", VEN)
    speaking.session.receive(CanceledOpt(response=EiResponse.ok(message.request_id), opt_id="shared"), NOW)
    assert speaking.session.saved.opts == ()
    with pytest.raises(ValueError, match="no schedule"):
        speaking.voice.withdraw("shared")


def test_a_schedule_that_the_vtn_refuses_is_not_remembered() -> None:
    speaking = Speaking()
    speaking.voice.declare(OUT, PERIODS)
    assert len(speaking.session.saved.opts) == 1
    speaking.answered("451")
    assert speaking.session.saved.opts == ()
    speaking.voice.declare(OUT, PERIODS)
    speaking.said()
    speaking.session.receive(no("459"), NOW)
    assert speaking.session.saved.opts == ()


@pytest.mark.parametrize("event", [None, "event e1"], ids=["schedule", "event"])
def test_an_opt_that_the_vtn_never_takes_leaves_the_state_and_the_operator_is_told(
    event: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    speaking = Speaking()
    speaking.voice.declare(IN, PERIODS, opt_id="kept")
    speaking.answered()
    if event is None:
        speaking.voice.declare(OUT, PERIODS, opt_id="lost")
    else:
        speaking.voice.qualify("e1", OUT)
    message = speaking.said()
    speaking.session.give_up(NOW)
    assert [each.opt_id for each in speaking.session.saved.opts] == ["kept"]
    assert speaking.session.saved.answers == ()
    (record,) = (each for each in caplog.records if each.levelname == "ERROR")
    assert message.opt_id in record.getMessage()
    assert (event or "a schedule") in record.getMessage()
    if event is None:
        with pytest.raises(ValueError, match="no schedule"):
            speaking.voice.withdraw("lost")
    else:
        assert speaking.session.saved.events["e1"].opt_type is OUT  # the site's own decision holds
        speaking.voice.change("e1", IN)
        assert names(speaking.session.due(NOW)) == ["CreatedEvent"]


def test_what_is_said_while_a_poll_is_under_way_goes_out_in_whatever_state_that_leads_to() -> None:
    speaking = Speaking()
    later = NOW + timedelta(minutes=10)
    assert names(speaking.session.due(later)) == ["Poll"]
    speaking.voice.declare(OUT, PERIODS)
    speaking.session.query()
    speaking.session.receive(AGAIN, later)
    assert speaking.session.state is State.REREGISTERING
    assert names(speaking.session.due(later)) == ["CreateOpt", "QueryRegistration", "Response"]
    speaking.answered()
    asked = talk(speaking.session, registered(), ok(), registered(), now=later)
    assert names(asked) == ["QueryRegistration", "Response", "CreatePartyRegistration"]
    assert speaking.session.state is State.READY
    assert len(speaking.session.saved.opts) == 1


def test_what_was_to_be_said_ends_with_the_registration() -> None:
    speaking = Speaking()
    later = NOW + timedelta(minutes=10)
    speaking.session.due(later)
    speaking.voice.declare(OUT, PERIODS)
    speaking.session.receive(LEAVE, later)
    assert names(speaking.session.due(later)) == ["CanceledPartyRegistration"]
    assert speaking.session.saved.opts == ()


def test_what_is_over_is_forgotten_when_something_new_is_said() -> None:
    speaking = Speaking()
    speaking.voice.qualify("e1", OUT)
    speaking.answered()
    speaking.voice.declare(OUT, PERIODS[:1])
    speaking.answered()
    speaking.voice.declare(IN, PERIODS)  # has no end
    speaking.answered()
    later = Speaking(speaking.session, timedelta(days=3))
    later.session.due(later.now)  # the event is dropped a day after its end
    later.voice.declare(OUT, minute(later.now))
    assert [each.opt_type for each in later.session.saved.opts] == [IN, OUT]


@pytest.mark.criterion("GEN-18", who="ven")
def test_what_was_said_survives_a_restart_before_it_was_answered(tmp_path: Path) -> None:
    speaking = Speaking()
    speaking.voice.declare(OUT, PERIODS, opt_id="o1")
    speaking.voice.qualify("e1", OUT)
    store = Store.open(tmp_path / "ven.db")
    store.save(speaking.session.saved)
    store.close()
    store = Store.open(tmp_path / "ven.db")
    again = make_session(store.load())
    store.close()
    assert again.saved == speaking.session.saved
    assert names(again.due(NOW)) == ["CreateOpt", "CreateOpt"]
    assert again.due(NOW) == speaking.session.due(NOW)  # the same, ids and all
    Speaking(again).voice.withdraw("o1")


def test_a_new_registration_keeps_what_was_said() -> None:
    speaking = Speaking()
    speaking.voice.qualify("e1", OUT)
    speaking.answered()
    talk(speaking.session, no("463"), now=NOW + timedelta(minutes=10))
    assert [each.event_id for each in speaking.session.saved.opts] == ["e1"]


def test_nothing_is_said_without_a_registration() -> None:
    speaking = Speaking(make_session(Saved()))
    with pytest.raises(ValueError, match="not registered"):
        speaking.voice.declare(OUT, PERIODS)
    with pytest.raises(ValueError, match="OPT-02"):
        Speaking().voice.declare(OUT, [])


@pytest.mark.criterion("OPT-20")
def test_opts_run_from_the_ven_to_the_vtn_only() -> None:
    for message in MESSAGES.values():
        if isinstance(message, CreateOpt | CancelOpt):
            session = ready()
            talk(session, ok())
            assert names(session.due(NOW + timedelta(minutes=10))) == ["Poll"]
            with pytest.raises(UnexpectedMessageError):
                session.receive(message, NOW)


def test_the_voice_says_what_it_was_told_at_the_time_of_its_clock() -> None:
    speaking = Speaking(now=timedelta(seconds=90))
    speaking.voice.declare(OUT, PERIODS)
    assert speaking.said().created_date_time == NOW + timedelta(seconds=90)
