"""Who may say what, and that every refusal comes in the payload that belongs to the request (ERR-03)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import openadr
from openadr import (
    ActivePeriod,
    CanceledOpt,
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
    Message,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
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
from openadr.enums import OptType
from tests.vtn.desk import ALICE, BOB, NOW, STRANGER, Desk, created_event, make_event, metadata, usage
from vtn.exchange import ROUTES
from vtn.schema import metadata as tables

OK = EiResponse.ok("r")
REQUEST = ReportRequest(
    report_request_id="theirs",
    report_specifier=ReportSpecifier(
        report_specifier_id="s",
        granularity=Duration(0),
        report_back_duration=Duration(0),
        specifier_payloads=(SpecifierPayload(r_id="0"),),
    ),
)


def messages(ven_id: str) -> dict[type[Message], tuple[Message, type[Message]]]:
    """One of every message that a VEN may send, with the class of its reply."""
    opt = CreateOpt(
        opt_id="o1",
        opt_type=OptType.OPT_OUT,
        opt_reason="economic",
        ven_id=ven_id,
        availability=(ActivePeriod(dtstart=NOW, duration=Duration(3600)),),
        created_date_time=NOW,
        request_id="r",
        target=Target(ven_id=(ven_id,)),
    )
    create = CreatePartyRegistration(request_id="r", ven_name="x", ven_id=ven_id, http_pull_model=True)
    cancel = CancelPartyRegistration(request_id="r", registration_id="g", ven_id=ven_id)
    pairs: list[tuple[Message, type[Message]]] = [
        (QueryRegistration(request_id="r"), CreatedPartyRegistration),
        (create, CreatedPartyRegistration),
        (cancel, CanceledPartyRegistration),
        (CanceledPartyRegistration(response=OK, ven_id=ven_id), Response),
        (RequestEvent(request_id="r", ven_id=ven_id), DistributeEvent),
        (created_event(ven_id, make_event()), Response),
        (metadata(ven_id, "r"), RegisteredReport),
        (RegisteredReport(response=OK, ven_id=ven_id), Response),
        (CreateReport(request_id="r", report_requests=(REQUEST,), ven_id=ven_id), CreatedReport),
        (CreatedReport(response=OK, ven_id=ven_id), Response),
        (usage(ven_id, [(NOW, 1.0)], request_id="r"), UpdatedReport),
        (UpdatedReport(response=OK, ven_id=ven_id), Response),
        (CancelReport(request_id="r", report_request_ids=("x",), ven_id=ven_id), CanceledReport),
        (CanceledReport(response=OK, ven_id=ven_id), Response),
        (opt, CreatedOpt),
        (CancelOpt(request_id="r", opt_id="o1", ven_id=ven_id), CanceledOpt),
        (Poll(ven_id=ven_id), Response),
        (Response(response=OK, ven_id=ven_id), Response),
    ]
    return {type(message): (message, reply) for message, reply in pairs}


KINDS = [pytest.param(kind, id=kind.__name__) for kind in ROUTES]
OPEN = (QueryRegistration, CreatePartyRegistration)


def response_of(reply: Message) -> EiResponse:
    response: Any = getattr(reply, "response", None)
    assert isinstance(response, EiResponse)
    return response


async def rows(desk: Desk, *without: str) -> dict[str, int]:
    """How many rows each table has."""
    async with desk.db.read() as conn:
        return {
            table.name: len((await conn.execute(table.select())).all())
            for table in tables.sorted_tables
            if table.name not in without
        }


def test_every_message_that_is_handled_stands_in_the_table_of_these_tests() -> None:
    assert set(messages("x")) == set(ROUTES)


def test_every_message_of_the_standard_is_handled_or_is_the_vtns_own() -> None:
    ours = {DistributeEvent, CreatedPartyRegistration, RequestReregistration, CreatedOpt, CanceledOpt}
    values = [getattr(openadr, name) for name in openadr.__all__]
    every = {value for value in values if isinstance(value, type) and issubclass(value, Message)}
    assert every - set(ROUTES) - {Message} == ours


@pytest.mark.criterion("ERR-03")
@pytest.mark.parametrize("kind", KINDS)
async def test_sec_12_stranger_gets_463_in_the_fitting_payload_and_leaves_nothing(
    desk: Desk, kind: type[Message]
) -> None:
    await desk.settle_in()
    before = await rows(desk, "vtn_pending")
    message, expected = messages(desk.ids[ALICE])[kind]
    reply = await desk.say(message, STRANGER)
    assert type(reply) is expected
    assert response_of(reply).code == ("200" if kind is QueryRegistration else "463")
    assert getattr(reply, "ven_id", None) is None
    assert await rows(desk, "vtn_pending") == before


@pytest.mark.goal(9)
@pytest.mark.parametrize("kind", KINDS)
async def test_ven_that_is_not_registered_gets_the_same_words_as_a_stranger(
    desk: Desk, kind: type[Message]
) -> None:
    ven_id = await desk.enrol()
    message, _ = messages(ven_id)[kind]
    if kind in OPEN:
        assert response_of(await desk.say(message)).code == "200"
    else:
        assert await desk.say(message) == await desk.say(message, STRANGER)


@pytest.mark.goal(5)
@pytest.mark.criterion("GEN-11", "GEN-15", "ERR-03")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", ["{}", " {}", "{} ", "{}x"], ids=["other", "left", "right", "longer"])
async def test_sec_13_another_ven_id_gets_452_and_leaves_nothing(
    desk: Desk, kind: type[Message], shape: str
) -> None:
    mine = await desk.settle_in()
    theirs = await desk.settle_in(BOB, "bob")
    before = await rows(desk)
    message, expected = messages(theirs if shape == "{}" else shape.format(mine))[kind]
    if not hasattr(message, "ven_id"):
        pytest.skip("the message has no venID")
    reply = await desk.say(message)
    assert type(reply) is expected
    assert response_of(reply).code == "452"
    assert await rows(desk) == before


@pytest.mark.parametrize("kind", KINDS)
async def test_missing_ven_id_is_the_certificates_own(desk: Desk, kind: type[Message]) -> None:
    mine = await desk.settle_in()
    with_id = await desk.say(messages(mine)[kind][0])
    message, _ = messages("" if kind not in (CreateOpt,) else mine)[kind]
    if not hasattr(message, "ven_id") or kind is CreateOpt:
        pytest.skip("the message has no venID, or one in its target too")
    without = await desk.say(message)
    assert response_of(without).code == response_of(with_id).code


@pytest.mark.parametrize("kind", KINDS)
async def test_gen_14_request_id_is_echoed_in_replies_and_refusals(desk: Desk, kind: type[Message]) -> None:
    mine = await desk.settle_in()
    message, _ = messages(mine)[kind]
    expected = "" if kind in (Poll, CreatedEvent) else "r"
    assert response_of(await desk.say(message)).request_id == expected
    assert response_of(await desk.say(message, STRANGER)).request_id == expected


@pytest.mark.parametrize("kind", KINDS)
async def test_gen_17_message_at_a_foreign_service_gets_459(desk: Desk, kind: type[Message]) -> None:
    mine = await desk.settle_in()
    wrong = "OadrPoll" if "OadrPoll" not in ROUTES[kind].services else "EiOpt"
    reply = await desk.say(messages(mine)[kind][0], service=wrong)
    assert response_of(reply).code == "459"


async def test_gen_16_message_that_only_a_vtn_sends_gets_459(desk: Desk) -> None:
    mine = await desk.settle_in()
    reply = await desk.say(DistributeEvent(request_id="r", vtn_id="v"), service="EiEvent")
    assert isinstance(reply, Response)
    assert (reply.response.code, reply.ven_id) == ("459", mine)


async def test_err_04_refusals_tell_no_fingerprint_path_or_trace(desk: Desk) -> None:
    mine = await desk.settle_in()
    for message, _ in messages("someone-else").values():
        for who in (ALICE, STRANGER):
            text = str(response_of(await desk.say(message, who)).description)
            assert not any(secret in text for secret in (ALICE, STRANGER, mine, "/", "Traceback", "vtn."))


async def test_ids_of_other_vens_are_answered_like_unknown_ones(desk: Desk) -> None:
    mine = await desk.settle_in()
    theirs = await desk.settle_in(BOB, "bob")
    await desk.say(metadata(theirs), BOB)
    await desk.say(messages(theirs)[CreateOpt][0], BOB)
    pairs = [
        (usage(mine, [(NOW, 1.0)]), "ask-TELEMETRY_USAGE"),
        (CreatedReport(response=OK, pending_reports=("ask-TELEMETRY_USAGE",), ven_id=mine), None),
        (CancelOpt(request_id="r", opt_id="o1", ven_id=mine), None),
    ]
    for message, _ in pairs:
        foreign = await desk.say(message)
        assert response_of(foreign).code == "452"
    unknown = replace(CancelOpt(request_id="r", opt_id="o1", ven_id=mine), opt_id="nobody's")
    assert response_of(await desk.say(unknown)) == response_of(await desk.say(pairs[2][0]))


async def test_own_reports_are_asked_for_in_vain_but_metadata_are_sent(desk: Desk) -> None:
    mine = await desk.settle_in()
    other = await desk.say(CreateReport(request_id="r", report_requests=(REQUEST,), ven_id=mine))
    assert response_of(other).code == "452"
    specifier = replace(REQUEST.report_specifier, report_specifier_id="METADATA")
    asked = replace(REQUEST, report_specifier=specifier)
    reply = await desk.say(CreateReport(request_id="r", report_requests=(asked,), ven_id=mine))
    assert isinstance(reply, CreatedReport)
    assert (reply.response.code, reply.pending_reports) == ("200", ())
    own = await desk.poll()
    assert isinstance(own, RegisterReport)
    assert (own.reports, own.report_request_id) == ((), "theirs")


async def test_rpt_13_requests_in_answer_to_our_empty_metadata_are_unknown(desk: Desk) -> None:
    mine = await desk.register()
    own = await desk.poll()
    assert isinstance(own, RegisterReport)
    answer = RegisteredReport(response=EiResponse.ok(own.request_id), report_requests=(REQUEST,), ven_id=mine)
    reply = await desk.say(answer)
    assert isinstance(reply, CreatedReport)
    assert reply.response.code == "452"
    assert isinstance(await desk.poll(), Response)


async def test_unreadable_value_is_refused_in_the_fitting_payload(desk: Desk) -> None:
    """Schema-valid, but no such instant: the message is named, and cannot be made."""
    mine = await desk.settle_in()
    body = openadr.encode(usage(mine, [(NOW, 1.0)])).replace(b"2026-03-02T12:00:00Z", b"2026-02-30T12:00:00Z")
    status, raw = await desk.post("EiReport", body)
    if status == 200:
        reply = openadr.decode(raw)
        assert isinstance(reply, UpdatedReport)
        assert reply.response.code.startswith("4")
        assert reply.response.request_id == "u1"
    else:
        assert status == 406


@pytest.mark.criterion("GEN-14")
async def test_ids_of_a_message_that_cannot_be_read_come_back(desk: Desk) -> None:
    mine = await desk.settle_in()
    for kind, service in ((CreateOpt, "EiOpt"), (CreateReport, "EiReport")):
        body = (
            openadr.encode(messages(mine)[kind][0]).replace(b">PT1H<", b">P5H<").replace(b">PT0S<", b">P5H<")
        )
        status, raw = await desk.post(service, body)
        assert status == 200
        reply: Any = openadr.decode(raw)
        assert (reply.response.code[0], reply.response.request_id) == ("4", "r")
        assert getattr(reply, "opt_id", "o1") == "o1"


def test_all_update_report_routes_are_named() -> None:
    assert ROUTES[UpdateReport].services == {"EiReport"}
