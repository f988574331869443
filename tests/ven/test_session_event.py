"""Events and opts in the conversation: what the site decides, and when it changes its mind."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from openadr import (
    ActivePeriod,
    CancelOpt,
    CreatedEvent,
    CreatedOpt,
    CreateOpt,
    Duration,
    EiResponse,
    RequestEvent,
)
from openadr.enums import OptReason, OptType, ResponseRequired
from tests.ven.conversation import SETTINGS, make_session, names, ready, talk
from tests.ven.messages import VEN, cancelled, distribute, make_event, ok
from tests.ven.site import NOW, Site
from ven import opt
from ven.answer import Context, answer


def test_vex_26_a_change_of_mind_is_told_with_the_request_id_of_the_delivery() -> None:
    session = ready()
    talk(session, distribute(make_event(), request_id="d5"), ok(), ok())
    session.change_opt("e1", OptType.OPT_OUT)
    (message,) = session.due(NOW)
    assert isinstance(message, CreatedEvent)
    (answer,) = message.event_responses
    assert (answer.request_id, answer.event_id, answer.opt_type) == ("d5", "e1", OptType.OPT_OUT)
    assert make_session(session.saved).due(NOW) == [message]


@pytest.mark.criterion("VEX-26")
def test_a_change_of_mind_about_an_event_that_wants_no_response_is_kept_quiet() -> None:
    session = ready()
    talk(session, distribute(make_event(response_required=ResponseRequired.NEVER)), ok())
    session.change_opt("e1", OptType.OPT_OUT)
    assert session.due(NOW) == []
    assert session.saved.events["e1"].opt_type is OptType.OPT_OUT


def test_opt_schedules_are_sent_and_taken_back() -> None:
    session = ready()
    talk(session, ok())
    period = ActivePeriod(dtstart=NOW, duration=Duration(3600), notification=Duration(60))
    schedule = opt.schedule(
        OptType.OPT_OUT, OptReason.SCHEDULE, [period], ven_id=VEN, ids=("o1", "r1"), now=NOW
    )
    session.send(schedule)
    session.send(opt.cancel("o1", VEN, "r2"))
    asked = talk(session, CreatedOpt(response=EiResponse.ok("r1"), opt_id="o1"), ok())
    assert names(asked) == ["CreateOpt", "CancelOpt"]
    create, cancel = asked
    assert isinstance(create, CreateOpt)
    assert create.availability == (ActivePeriod(dtstart=NOW, duration=Duration(3600)),)
    assert (create.event_id, create.target.ven_id) == (None, (VEN,))
    assert isinstance(cancel, CancelOpt)
    assert cancel.opt_id == "o1"
    with pytest.raises(ValueError, match="OPT-02"):
        opt.schedule(OptType.OPT_OUT, OptReason.SCHEDULE, [], ven_id=VEN, ids=("o1", "r1"), now=NOW)


def test_opt_12_only_an_event_that_wants_a_response_can_be_qualified() -> None:
    session = ready()
    quiet = make_event("e2", response_required=ResponseRequired.NEVER)
    talk(session, distribute(make_event(), quiet), ok())
    message = opt.qualify(session.saved.events["e1"], VEN, ("o1", "r1"), NOW, ["home-01"])
    assert (message.event_id, message.modification_number, message.availability) == ("e1", 0, ())
    assert message.target.resource_id == ("home-01",)
    with pytest.raises(ValueError, match="OPT-12"):
        opt.qualify(session.saved.events["e2"], VEN, ("o1", "r1"), NOW)


def test_a_site_that_fails_to_decide_opts_out() -> None:
    class Broken(Site):
        def decide(self, event: object, now: datetime) -> OptType:
            raise RuntimeError("no idea")

    session = ready(site=Broken())
    talk(session, distribute(make_event()))
    assert session.saved.events["e1"].opt_type is OptType.OPT_OUT


def test_an_event_is_dropped_from_memory_a_day_after_its_end() -> None:
    session = ready()
    talk(session, distribute(make_event()), ok())
    session.due(NOW + timedelta(days=2))
    assert session.saved.events == {}


@pytest.mark.goal(73)
def test_goals_73_opt_in_modify_and_cancel_are_answered_in_their_order() -> None:
    session = ready()
    event = make_event()
    asked = talk(
        session,
        distribute(event),
        ok(),
        distribute(make_event(modification=1)),
        ok(),
        distribute(cancelled(event, 2)),
        ok(),
        ok(),
    )
    numbers = [
        answer.modification_number
        for message in asked
        if isinstance(message, CreatedEvent)
        for answer in message.event_responses
    ]
    assert numbers == [0, 1, 2]


@pytest.mark.parametrize(("limit", "left"), [(1, {"e1", "e2"}), (None, {"e1"})])
def test_vex_10_a_list_that_was_asked_for_in_part_cancels_nothing(limit: int | None, left: set[str]) -> None:
    session = ready()
    talk(session, distribute(make_event(), make_event("e2")), ok())
    asked = RequestEvent(request_id="e", ven_id=VEN, reply_limit=limit)
    context = Context(SETTINGS, Site(), (), str, lambda: 0.5, NOW)
    heard = answer(distribute(make_event()), asked, session.saved, context, good=True)
    assert heard.saved.events.keys() == left
