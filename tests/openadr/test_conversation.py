"""What the checker says of whole conversations: nothing of a good one, the rule by name of a bad one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from openadr import (
    ActivePeriod,
    CanceledPartyRegistration,
    CanceledReport,
    CancelOpt,
    CancelPartyRegistration,
    CancelReport,
    CreatedEvent,
    CreatedOpt,
    CreatedPartyRegistration,
    CreatedReport,
    CreateOpt,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    Duration,
    EiResponse,
    Event,
    EventResponse,
    Message,
    Poll,
    Profile,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportDescription,
    ReportInterval,
    ReportPayload,
    ReportRequest,
    ReportSpecifier,
    RequestEvent,
    RequestReregistration,
    Response,
    SpecifierPayload,
    Target,
    UpdatedReport,
    UpdateReport,
)
from openadr.conversation import Conversation
from openadr.enums import EventStatus, OptType, ProfileName, ResponseRequired, TransportName
from tests.vtn.desk import make_event

Exchange = tuple[Message, Message | None]
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
VEN, VTN = "ven-1", "vtn-1"
OK = Response(response=EiResponse.ok(), ven_id=VEN)


def said(*exchanges: Exchange) -> list[tuple[str, str]]:
    """(party, rule) of every remark, in order."""
    conversation = Conversation()
    return [
        (remark.party.value, remark.finding.rule)
        for request, response in exchanges
        for remark in conversation.hear(request, response)
    ]


def created(**changes: object) -> CreatedPartyRegistration:
    values: dict[str, object] = {
        "response": EiResponse.ok("c"),
        "registration_id": "reg-1",
        "ven_id": VEN,
        "vtn_id": VTN,
        "profiles": (Profile(profile_name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP,)),),
        "requested_poll_freq": Duration(10),
    }
    return CreatedPartyRegistration(**(values | changes))  # type: ignore[arg-type]  # fields by name


REGISTER = CreatePartyRegistration(request_id="c", http_pull_model=True)
AGAIN = replace(REGISTER, registration_id="reg-1", ven_id=VEN)
CANCEL = CancelPartyRegistration(request_id="x", registration_id="reg-1", ven_id=VEN)
CANCELED = CanceledPartyRegistration(response=EiResponse.ok("x"), registration_id="reg-1", ven_id=VEN)
POLL: Exchange = (Poll(VEN), OK)


def events(*listed: Event, request_id: str = "d", now: datetime = NOW) -> DistributeEvent:
    fresh = tuple(replace(e, descriptor=replace(e.descriptor, created_date_time=now)) for e in listed)
    return DistributeEvent(response=EiResponse.ok("e"), request_id=request_id, vtn_id=VTN, events=fresh)


def ask(limit: int | None = None) -> RequestEvent:
    return RequestEvent(request_id="e", ven_id=VEN, reply_limit=limit)


def event(name: str = "e1", start_min: int = 60, status: EventStatus = EventStatus.FAR, **more: int) -> Event:
    made = make_event(name, NOW + timedelta(minutes=start_min))
    return replace(made, descriptor=replace(made.descriptor, event_status=status, **more))  # type: ignore[arg-type]  # numbers by name


def answer(name: str = "e1", version: int = 0, request_id: str = "d", code: str = "200") -> CreatedEvent:
    given = EventResponse(
        code=code,
        request_id=request_id,
        event_id=name,
        modification_number=version,
        opt_type=OptType.OPT_IN,
    )
    return CreatedEvent(response=EiResponse.ok(), event_responses=(given,), ven_id=VEN)


OFFER = Report(
    duration=Duration(3600),
    report_descriptions=(
        ReportDescription(r_id="load", report_type="usage", reading_type="Direct Read"),
        ReportDescription(r_id="pv", report_type="usage", reading_type="Direct Read"),
    ),
    report_specifier_id="usage",
    report_name="METADATA_TELEMETRY_USAGE",
    created_date_time=NOW,
)
METADATA = RegisterReport(request_id="m", reports=(OFFER,), ven_id=VEN)


def wanted(request_id: str = "r1", specifier: str = "usage", *r_ids: str, back_s: int = 60) -> ReportRequest:
    points = tuple(SpecifierPayload(r_id=r_id) for r_id in r_ids or ("load",))
    period = ActivePeriod(dtstart=NOW, duration=Duration(0))
    return ReportRequest(
        report_request_id=request_id,
        report_specifier=ReportSpecifier(
            report_specifier_id=specifier,
            granularity=Duration(60),
            report_back_duration=Duration(back_s),
            report_interval=period,
            specifier_payloads=points,
        ),
    )


def registered_report(*requests: ReportRequest) -> RegisteredReport:
    return RegisteredReport(response=EiResponse.ok("m"), report_requests=requests, ven_id=VEN)


def pending(*request_ids: str) -> CreatedReport:
    return CreatedReport(response=EiResponse.ok("p"), pending_reports=request_ids, ven_id=VEN)


def data(request_id: str = "r1", *r_ids: str, specifier: str = "usage") -> UpdateReport:
    payloads = tuple(ReportPayload(r_id=r_id, payload_float=1.0) for r_id in r_ids or ("load",))
    report = Report(
        dtstart=NOW,
        intervals=(ReportInterval(dtstart=NOW, duration=Duration(60), payloads=payloads),),
        report_request_id=request_id,
        report_specifier_id=specifier,
        report_name="TELEMETRY_USAGE",
        created_date_time=NOW,
    )
    return UpdateReport(request_id="u", reports=(report,), ven_id=VEN)


TAKEN = UpdatedReport(response=EiResponse.ok("u"), ven_id=VEN)
OFFERED: Exchange = (METADATA, registered_report(wanted()))
PROMISED: Exchange = (pending("r1"), OK)
STOP = CancelReport(request_id="s", report_request_ids=("r1",), report_to_follow=False, ven_id=VEN)
STOPPED = (CanceledReport(response=EiResponse.ok("s"), pending_reports=(), ven_id=VEN), OK)
ASK_METADATA = CreateReport(request_id="a", report_requests=(wanted("r0", "METADATA", "0", back_s=0),))
OPT = CreateOpt(
    opt_id="o1",
    opt_type=OptType.OPT_OUT,
    opt_reason="economic",
    ven_id=VEN,
    created_date_time=NOW,
    request_id="o",
    event_id="e1",
    modification_number=0,
    target=Target(ven_id=(VEN,)),
)
OPTED = CreatedOpt(response=EiResponse.ok("o"), opt_id="o1")


def a_good_life() -> Iterator[Exchange]:
    """Registration, metadata both ways, an event with a change and its end, a report, a cancel."""
    yield (
        QueryRegistration(request_id="q"),
        created(response=EiResponse.ok("q"), registration_id=None, ven_id=None),
    )
    yield REGISTER, created()
    yield ask(), events()
    yield METADATA, registered_report(wanted())
    yield PROMISED
    yield Poll(VEN), RegisterReport(request_id="v", ven_id=VEN)
    yield registered_report(), OK
    yield Poll(VEN), events(event())
    yield answer(), OK
    yield Poll(VEN), events(event(modification_number=1, priority=1), request_id="d2")
    yield answer(version=1, request_id="d2"), OK
    yield data(), TAKEN
    active = event(status=EventStatus.ACTIVE, modification_number=1, priority=1)
    yield Poll(VEN), events(active, request_id="d3", now=NOW + timedelta(hours=1))
    yield answer(version=1, request_id="d3"), OK
    yield Poll(VEN), STOP
    yield STOPPED
    yield Poll(VEN), RequestReregistration(ven_id=VEN)
    yield AGAIN, created()
    yield POLL
    yield CANCEL, CANCELED


def test_of_a_good_conversation_there_is_nothing_to_be_said() -> None:
    assert said(*a_good_life()) == []


BAD: dict[str, tuple[list[Exchange], list[tuple[str, str]]]] = {
    "a reply of another kind": ([(ask(), OK)], [("VTN", "EVT-14"), ("VTN", "GEN-14")]),
    "a poll answered by an answer": ([(Poll(VEN), OPTED)], [("VTN", "POLL-02")]),
    "an error in a general response": (
        [(CANCEL, Response(response=EiResponse("452", None, "x")))],
        [("VTN", "ERR-03")],
    ),
    "an unreadable reply": ([(METADATA, None)], [("VTN", "ERR-03")]),
    "a VTN's message": ([(events(), OK)], [("VEN", "REG-25"), ("VEN", "GEN-09"), ("VTN", "GEN-14")]),
    "no venID": ([(replace(METADATA, ven_id=None), registered_report())], [("VEN", "GEN-09")]),
    "another venID": (
        [(AGAIN, created()), (Poll("ven-2"), OK)],
        [("VEN", "GEN-11"), ("VTN", "SEC-13")],
    ),
    "another vtnID": (
        [(ask(), events()), (ask(), replace(events(), vtn_id="vtn-2"))],
        [("VTN", "EVT-08")],
    ),
    "another requestID": (
        [(METADATA, replace(registered_report(), response=EiResponse.ok("z")))],
        [("VTN", "GEN-14")],
    ),
    "no ids": ([(REGISTER, created(ven_id=None))], [("VTN", "REG-08")]),
    "no poll frequency": ([(REGISTER, created(requested_poll_freq=None))], [("VTN", "REG-08")]),
    "other ids at re-registration": ([(AGAIN, created(registration_id="reg-2"))], [("VTN", "REG-14")]),
    "nothing after registration": (
        [(REGISTER, created()), POLL],
        [("VEN", "REG-11"), ("VEN", "RPT-01"), ("VTN", "REG-12")],
    ),
    "data before events": ([(REGISTER, created()), (OPT, OPTED)], [("VEN", "REG-11")]),
    "metadata of the VTN ignored": (
        [(Poll(VEN), RegisterReport(request_id="v")), POLL, POLL],
        [("VEN", "REG-13")],
    ),
    "a re-registration ignored": (
        [(Poll(VEN), RequestReregistration(ven_id=VEN)), POLL, POLL],
        [("VEN", "REG-16")],
    ),
    "a cancel ignored": ([(Poll(VEN), CANCEL), POLL, POLL], [("VEN", "REG-18")]),
    "a cancelled report ignored": ([(Poll(VEN), STOP), POLL, POLL], [("VEN", "POLL-04")]),
    "traffic after a cancel": (
        [(AGAIN, created()), (CANCEL, CANCELED), POLL],
        [("VEN", "REG-19"), ("VTN", "SEC-12")],
    ),
    "a wrong cancel is accepted": (
        [(AGAIN, created()), (replace(CANCEL, registration_id="reg-9"), CANCELED)],
        [("VTN", "REG-20")],
    ),
    "a cancel without id": ([(CANCEL, replace(CANCELED, registration_id=None))], [("VTN", "REG-18")]),
    "another optID": ([(OPT, replace(OPTED, opt_id="o2"))], [("VTN", "OPT-06")]),
    "an event's opt cancelled": (
        [(OPT, OPTED), (CancelOpt(request_id="o", opt_id="o1", ven_id=VEN), OPTED)],
        [("VTN", "ERR-03"), ("VEN", "OPT-14"), ("VTN", "OPT-14")],
    ),
    "no outcome": ([(ask(), replace(events(), response=None))], [("VTN", "EVT-07")]),
    "more than asked for": ([(ask(1), events(event("a"), event("b")))], [("VTN", "EVT-15")]),
    "pending before active": (
        [(ask(), events(event("a"), event("b", -5, EventStatus.ACTIVE)))],
        [("VTN", "EVT-16")],
    ),
    "no priority before priority": (
        [(ask(), events(event("a", -5, EventStatus.ACTIVE), event("b", -4, EventStatus.ACTIVE, priority=3)))],
        [("VTN", "EVT-16")],
    ),
    "a new event of version 3": (
        [(ask(), events()), (Poll(VEN), events(event(modification_number=3)))],
        [("VTN", "EVT-01")],
    ),
    "a silent change": (
        [(ask(), events(event())), (ask(), events(event(start_min=70)))],
        [("VTN", "EVT-02")],
    ),
    "an older version": (
        [(ask(), events(event(modification_number=2))), (ask(), events(event(modification_number=1)))],
        [("VTN", "EVT-02")],
    ),
    "a jump of versions": (
        [(ask(), events(event())), (ask(), events(event(modification_number=2)))],
        [("VTN", "EVT-02")],
    ),
    "a silent cancel": (
        [(ask(), events(event())), (ask(), events(event(status=EventStatus.CANCELLED)))],
        [("VTN", "EVT-11")],
    ),
    "back in time": (
        [(ask(), events(event(status=EventStatus.NEAR))), (ask(), events(event()))],
        [("VTN", "EVT-09")],
    ),
    "active too early": ([(ask(), events(event(status=EventStatus.ACTIVE)))], [("VTN", "EVT-09")]),
    "far too long": ([(ask(), events(event(start_min=-1)))], [("VTN", "EVT-10")]),
    "an event left out": (
        [(ask(), events(event("a"), event("b"))), (ask(), events(event("a")))],
        [("VTN", "EVT-13")],
    ),
    "no answer": ([(Poll(VEN), events(event())), POLL], [("VEN", "VEX-01")]),
    "an answer to never": (
        [(ask(), events(replace(event(), response_required=ResponseRequired.NEVER))), (answer(), OK)],
        [("VEN", "VEX-01")],
    ),
    "an answer with another requestID": (
        [(ask(), events(event())), (answer(request_id="z"), OK)],
        [("VEN", "VEX-02")],
    ),
    "an answer to a version to come": (
        [(ask(), events(event())), (answer(version=1), OK)],
        [("VEN", "VEX-04"), ("VTN", "EVT-38")],
    ),
    "an answer to an unknown event": (
        [(ask(), events()), (answer("e9"), OK)],
        [("VEN", "VEX-04"), ("VTN", "EVT-38")],
    ),
    "piggy-back ignored": ([OFFERED, POLL], [("VEN", "RPT-09")]),
    "a METADATA request ignored": (
        [(Poll(VEN), ASK_METADATA), (pending(), OK), POLL],
        [("VEN", "RPT-01")],
    ),
    "metadata for nobody's request": (
        [(replace(METADATA, report_request_id="r7"), registered_report())],
        [("VEN", "RPT-04")],
    ),
    "the same request twice": (
        [OFFERED, PROMISED, (Poll(VEN), CreateReport(request_id="a", report_requests=(wanted(),))), PROMISED],
        [("VTN", "RPT-12")],
    ),
    "a report that is not offered": (
        [(METADATA, registered_report(wanted("r1", "pv")))],
        [("VTN", "RPT-13")],
    ),
    "a point that is not offered": (
        [(METADATA, registered_report(wanted("r1", "usage", "heat")))],
        [("VTN", "RPT-13")],
    ),
    "a pending report left out": ([OFFERED, (pending(), OK)], [("VEN", "RPT-22")]),
    "data that nobody asked for": (
        [OFFERED, PROMISED, (data("r9"), TAKEN)],
        [("VEN", "RPT-44"), ("VTN", "RPT-36")],
    ),
    "another specifier": ([OFFERED, PROMISED, (data(specifier="pv"), TAKEN)], [("VEN", "RPT-44")]),
    "a point that is missing": (
        [(METADATA, registered_report(wanted("r1", "usage", "load", "pv"))), PROMISED, (data(), TAKEN)],
        [("VEN", "RPT-28")],
    ),
    "a point too many": ([OFFERED, PROMISED, (data("r1", "load", "pv"), TAKEN)], [("VEN", "RPT-44")]),
    "data after the cancel": (
        [OFFERED, PROMISED, (Poll(VEN), STOP), STOPPED, (data(), TAKEN)],
        [("VEN", "RPT-40")],
    ),
    "two last reports": (
        [
            OFFERED,
            PROMISED,
            (Poll(VEN), replace(STOP, report_to_follow=True)),
            (data(), TAKEN),
            STOPPED,
            (data(), TAKEN),
        ],
        [("VEN", "RPT-40")],
    ),
    "a cancel of a report that was not there": (
        [
            OFFERED,
            PROMISED,
            (data(), replace(TAKEN, cancel_report=replace(STOP, report_request_ids=("r9",)))),
        ],
        [("VTN", "RPT-41")],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_broken_rule_is_named_with_the_party_that_broke_it(name: str) -> None:
    exchanges, expected = BAD[name]
    assert said(*exchanges) == expected


def test_a_conversation_that_begins_in_the_middle_is_held_against_nobody() -> None:
    assert said((answer("e9", 4), OK), (data("r9"), TAKEN), POLL) == []


def test_a_list_that_replyLimit_cut_cancels_nothing() -> None:  # noqa: N802 - the standard's word
    both, first = events(event("a"), event("b", 70)), events(event("a"))
    assert said((ask(), both), (ask(1), first), (answer("b"), OK)) == []
