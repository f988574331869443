"""What the operator asks a VEN to report, and how that ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from openadr import (
    ActivePeriod,
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    Duration,
    EiResponse,
    Message,
    RegisteredReport,
    ReportRequest,
    ReportSpecifier,
    Response,
    SpecifierPayload,
    UpdatedReport,
)
from openadr.rules import check
from tests.vtn.desk import NOW, QUARTER, USAGE, Desk, metadata, usage
from vtn import registration
from vtn.errors import DuplicateRequest, NotOffered, UnknownObject
from vtn.report import readings
from vtn.report_request import Requested, RequestState, cancel_report, catalogue, request_report, requests

ASK = "ask-TELEMETRY_USAGE"
MINUTE = timedelta(minutes=1)


def wanted(
    request_id: str = "op-1",
    *,
    specifier: str = "spec-TELEMETRY_USAGE",
    r_ids: Sequence[str] = ("load",),
    back_s: int = 900,
    step_s: int = 900,
    start: datetime | None = NOW,
    length_s: int = 0,
) -> ReportRequest:
    interval = None if start is None else ActivePeriod(dtstart=start, duration=Duration(length_s))
    return ReportRequest(
        report_request_id=request_id,
        report_specifier=ReportSpecifier(
            report_specifier_id=specifier,
            granularity=Duration(step_s),
            report_back_duration=Duration(back_s),
            report_interval=interval,
            specifier_payloads=tuple(SpecifierPayload(r_id=r_id) for r_id in r_ids),
        ),
    )


async def ready(desk: Desk) -> str:
    """A VEN whose metadata have arrived, and which serves what came along."""
    ven_id = await desk.settle_in()
    reply = await desk.say(metadata(ven_id))
    assert isinstance(reply, RegisteredReport)
    ids = tuple(request.report_request_id for request in reply.report_requests)
    await desk.say(CreatedReport(response=EiResponse.ok("m1"), pending_reports=ids, ven_id=ven_id))
    return ven_id


async def ask(desk: Desk, ven_id: str, request: ReportRequest) -> None:
    async with desk.db.write() as conn:
        await request_report(conn, ven_id, request, desk.now)


async def stop(desk: Desk, ven_id: str, *ids: str, follow: bool = False) -> None:
    async with desk.db.write() as conn:
        await cancel_report(conn, ven_id, ids, follow, desk.now)


async def states(desk: Desk, ven_id: str) -> dict[str, Requested]:
    async with desk.db.read() as conn:
        return {each.report_request_id: each for each in await requests(conn, ven_id)}


async def code(desk: Desk, message: Message) -> str:
    reply = await desk.say(message)
    response = getattr(reply, "response", None)
    assert isinstance(response, EiResponse)
    return response.code


def data(ven_id: str, created: datetime = NOW, request_id: str = ASK) -> Message:
    message = usage(ven_id, [(NOW, 1.0)], created=created)
    return replace(message, reports=(replace(message.reports[0], report_request_id=request_id),))


async def test_rpt_12_a_request_waits_for_the_poll_until_it_is_answered(desk: Desk) -> None:
    ven_id = await ready(desk)
    for _ in range(2):
        await ask(desk, ven_id, wanted())
        told = await desk.poll()
        assert isinstance(told, CreateReport)
        assert (told.report_requests, told.ven_id) == ((wanted(),), ven_id)
        assert check(told) == []
    assert (await states(desk, ven_id))["op-1"].state is RequestState.ASKED
    unknown = CreatedReport(response=EiResponse.ok(told.request_id), pending_reports=("x",), ven_id=ven_id)
    assert await code(desk, unknown) == "452"  # RPT-44
    assert isinstance(await desk.poll(), CreateReport)
    assert await code(desk, replace(unknown, pending_reports=(ASK, "op-1"))) == "200"
    assert isinstance(await desk.poll(), Response)
    kept = (await states(desk, ven_id))["op-1"]
    assert (kept.state, kept.request, kept.by_operator) == (RequestState.RUNNING, wanted(), True)


async def test_rpt_21_of_several_requests_those_refused_end_with_the_code(desk: Desk) -> None:
    ven_id = await ready(desk)
    await ask(desk, ven_id, wanted())
    told = await desk.poll()
    assert isinstance(told, CreateReport)
    refused = CreatedReport(response=EiResponse("461", "no", told.request_id), ven_id=ven_id)
    assert await code(desk, refused) == "200"
    assert isinstance(await desk.poll(), Response)
    kept = await states(desk, ven_id)
    assert (kept["op-1"].state, kept["op-1"].outcome) == (RequestState.ENDED, "461")
    assert kept[ASK].state is RequestState.RUNNING


async def test_a_refusal_of_what_came_along_with_the_metadatas_answer_spares_later_requests(
    desk: Desk,
) -> None:
    ven_id = await desk.settle_in()
    await desk.say(metadata(ven_id))
    await ask(desk, ven_id, wanted())
    refused = CreatedReport(response=EiResponse("454", "no", "m1"), pending_reports=(ASK,), ven_id=ven_id)
    await desk.say(refused)
    outcomes = {key: kept.outcome for key, kept in (await states(desk, ven_id)).items()}
    assert outcomes == {
        ASK: None,
        "ask-HISTORY_USAGE": "454",
        "ask-x-FLEXIBILITY_OFFER": "454",
        "op-1": None,
    }


REFUSED = {
    "RPT-13 unknown specifier": (wanted(specifier="other"), "452"),
    "RPT-13 report of the standard that is not offered": (wanted(specifier="HISTORY_GREENBUTTON"), "461"),
    "RPT-13 unknown rID": (wanted(r_ids=("other",)), "452"),
    "RPT-15 longer steps than the rhythm": (wanted(step_s=1800), "454"),
    "RPT-16 periodic history": (wanted(specifier="spec-HISTORY_USAGE"), "454"),
    "RPT-17 periodic without an interval": (wanted(start=None), "454"),
    "RPT-20 longer history than offered": (
        wanted(specifier="spec-HISTORY_USAGE", back_s=0, step_s=0, length_s=29 * 86_400),
        "454",
    ),
}


@pytest.mark.parametrize(("request_", "expected"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.criterion("RPT-13", "RPT-15", "RPT-16", "RPT-17", "RPT-20", who="vtn")
async def test_what_a_ven_does_not_offer_is_not_asked_for(
    desk: Desk, request_: ReportRequest, expected: str
) -> None:
    ven_id = await ready(desk)
    with pytest.raises(NotOffered) as refusal:
        await ask(desk, ven_id, request_)
    assert refusal.value.code == expected
    assert isinstance(await desk.poll(), Response)


async def test_rpt_14_a_request_with_a_reading_type_of_its_own_is_not_sent(desk: Desk) -> None:
    ven_id = await ready(desk)
    made = wanted()
    typed = replace(made.report_specifier.specifier_payloads[0], reading_type="Direct Read")
    specifier = replace(made.report_specifier, specifier_payloads=(typed,))
    with pytest.raises(NotOffered, match="RPT-14"):
        await ask(desk, ven_id, replace(made, report_specifier=specifier))


async def test_rpt_12_an_id_in_use_is_not_given_to_another_request(desk: Desk) -> None:
    ven_id = await ready(desk)
    with pytest.raises(DuplicateRequest, match=ASK):
        await ask(desk, ven_id, wanted(ASK, r_ids=("home-01",)))


async def test_nothing_is_asked_of_or_cancelled_at_a_ven_that_is_not_registered(desk: Desk) -> None:
    ven_id = await desk.enrol()
    with pytest.raises(UnknownObject):
        await ask(desk, ven_id, wanted())
    with pytest.raises(UnknownObject, match="op-1"):
        await stop(desk, ven_id, "op-1")
    with pytest.raises(UnknownObject, match="none named"):
        await stop(desk, ven_id)


async def test_rpt_39_a_cancellation_waits_for_the_poll_and_is_confirmed(desk: Desk) -> None:
    ven_id = await ready(desk)
    with pytest.raises(UnknownObject, match="other"):
        await stop(desk, ven_id, ASK, "other")
    await stop(desk, ven_id, ASK, "ask-x-FLEXIBILITY_OFFER")
    assert (await states(desk, ven_id))[ASK].state is RequestState.CANCELLING
    told = await desk.poll()
    assert isinstance(told, CancelReport)
    assert (told.report_to_follow, told.ven_id) == (False, ven_id)
    assert told.report_request_ids == (ASK, "ask-x-FLEXIBILITY_OFFER")
    partly = CanceledReport(
        response=EiResponse("452", "one is unknown", told.request_id),
        pending_reports=("ask-x-FLEXIBILITY_OFFER",),
        ven_id=ven_id,
    )
    for _ in range(2):
        assert await code(desk, partly) == "200"
    kept = await states(desk, ven_id)
    assert (kept[ASK].state, kept[ASK].outcome) == (RequestState.ENDED, "cancelled")
    assert kept["ask-x-FLEXIBILITY_OFFER"].state is RequestState.RUNNING
    assert isinstance(await desk.poll(), Response)


@pytest.mark.criterion("RPT-40", "RPT-41")
async def test_rpt_41_a_cancellation_rides_in_the_answer_to_a_report_that_comes_first(desk: Desk) -> None:
    ven_id = await ready(desk)
    await stop(desk, ven_id, ASK, follow=True)
    reply = await desk.say(data(ven_id))
    assert isinstance(reply, UpdatedReport)
    assert reply.cancel_report is not None
    assert reply.cancel_report.report_request_ids == (ASK,)
    assert (reply.response.code, reply.cancel_report.report_to_follow) == ("200", True)
    assert isinstance(await desk.poll(), Response)
    async with desk.db.read() as conn:
        assert len(await readings(conn)) == 1
    desk.now += MINUTE
    for _ in range(2):  # RPT-40: the one to follow, once more after a lost answer
        reply = await desk.say(data(ven_id, desk.now))
        assert isinstance(reply, UpdatedReport)
        assert reply.cancel_report is None
        assert isinstance(await desk.poll(), Response)
    assert await code(desk, data(ven_id, desk.now + MINUTE)) == "200"
    again = await desk.poll()
    assert isinstance(again, CancelReport)
    assert again.report_request_ids == (ASK,)


async def test_a_cancellation_that_names_others_too_still_waits_after_one_has_gone_along(desk: Desk) -> None:
    ven_id = await ready(desk)
    await stop(desk, ven_id, ASK, "ask-x-FLEXIBILITY_OFFER")
    reply = await desk.say(data(ven_id))
    assert isinstance(reply, UpdatedReport)
    assert reply.cancel_report is not None
    assert reply.cancel_report.report_request_ids == (ASK,)
    assert isinstance(await desk.poll(), CancelReport)


async def test_rpt_34_data_made_before_the_end_are_taken_in_silence(desk: Desk) -> None:
    ven_id = await ready(desk)
    desk.now += MINUTE
    await stop(desk, ven_id, ASK)
    told = await desk.poll()
    assert isinstance(told, CancelReport)
    await desk.say(CanceledReport(response=EiResponse.ok(told.request_id), ven_id=ven_id))
    assert await code(desk, data(ven_id)) == "200"
    assert isinstance(await desk.poll(), Response)
    async with desk.db.read() as conn:
        assert len(await readings(conn)) == 1


async def test_rpt_07_new_metadata_end_reports_and_those_of_the_operator_are_asked_anew(desk: Desk) -> None:
    ven_id = await ready(desk)
    await ask(desk, ven_id, wanted("goes-on"))
    await ask(desk, ven_id, wanted("over", length_s=60))
    await ask(desk, ven_id, wanted("gone", specifier="spec-HISTORY_USAGE", back_s=0, step_s=0, length_s=900))
    for _ in range(3):
        told = await desk.poll()
        assert isinstance(told, CreateReport)
        ids = (ASK, told.report_requests[0].report_request_id)
        await desk.say(
            CreatedReport(response=EiResponse.ok(told.request_id), pending_reports=ids, ven_id=ven_id)
        )
    await ask(desk, ven_id, wanted("waits"))
    desk.now += QUARTER
    newer = metadata(ven_id, "m2")
    reply = await desk.say(replace(newer, reports=newer.reports[:1]))
    assert isinstance(reply, RegisteredReport)
    assert [each.report_request_id for each in reply.report_requests] == [ASK, "goes-on"]
    kept = await states(desk, ven_id)
    ended = {key for key, each in kept.items() if each.outcome == "replaced"}
    assert ended == {"over", "gone", "ask-HISTORY_USAGE", "ask-x-FLEXIBILITY_OFFER"}
    told = await desk.poll()
    assert isinstance(told, CreateReport)
    assert told.report_requests[0].report_request_id == "waits"


async def test_rpt_07_a_request_that_starts_anew_goes_on_where_it_was(desk: Desk) -> None:
    """Else the periods between the last report and the new metadata would never be reported."""
    ven_id = await ready(desk)
    desk.now += 5 * QUARTER
    reply = await desk.say(metadata(ven_id, "m2"))
    assert isinstance(reply, RegisteredReport)
    intervals = {
        each.report_request_id: each.report_specifier.report_interval for each in reply.report_requests
    }
    assert getattr(intervals[ASK], "dtstart", None) == NOW
    assert getattr(intervals["ask-HISTORY_USAGE"], "dtstart", None) == desk.now - timedelta(days=28)


async def test_the_same_metadata_after_a_change_of_what_is_asked_for_get_no_stale_answer(desk: Desk) -> None:
    ven_id = await ready(desk)
    await ask(desk, ven_id, wanted())
    told = await desk.poll()
    assert isinstance(told, CreateReport)
    await desk.say(
        CreatedReport(response=EiResponse.ok(told.request_id), pending_reports=("op-1",), ven_id=ven_id)
    )
    reply = await desk.say(metadata(ven_id))
    assert isinstance(reply, RegisteredReport)
    assert "op-1" in [each.report_request_id for each in reply.report_requests]


@pytest.mark.criterion("RPT-11", "RPT-04", "RPT-44", "RPT-42", who="vtn")
async def test_metadata_are_asked_for_once_or_regularly_and_name_their_request(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    once = wanted("once", specifier="METADATA", r_ids=("0",), back_s=0, step_s=0, start=None)
    daily = wanted("daily", specifier="METADATA", r_ids=("0",), back_s=86_400, step_s=0)
    for request in (once, daily):  # before the VEN has offered anything
        await ask(desk, ven_id, request)
        told = await desk.poll()
        assert isinstance(told, CreateReport)
        listed = ("daily",) if request is daily else ()
        await desk.say(
            CreatedReport(response=EiResponse.ok(told.request_id), pending_reports=listed, ven_id=ven_id)
        )
    for request_id, expected in (("other", "452"), ("once", "200"), ("daily", "200"), ("daily", "200")):
        message = replace(metadata(ven_id, f"m-{desk.now}"), report_request_id=request_id)
        assert await code(desk, message) == expected
        desk.now += timedelta(days=1)
    kept = await states(desk, ven_id)
    assert (kept["once"].state, kept["once"].outcome) == (RequestState.ENDED, "finished")
    assert kept["daily"].state is RequestState.RUNNING
    await stop(desk, ven_id, "daily")
    assert (await states(desk, ven_id))["daily"].state is RequestState.CANCELLING


async def test_the_catalogue_gives_the_metadata_as_they_came(desk: Desk) -> None:
    ven_id = await ready(desk)
    async with desk.db.read() as conn:
        found = {each.specifier_id: each for each in await catalogue(conn, ven_id)}
    assert found["spec-TELEMETRY_USAGE"].report == metadata(ven_id).reports[0]
    assert (found["spec-TELEMETRY_USAGE"].report_name, len(found)) == (USAGE, 3)


async def test_the_operator_sees_when_a_request_was_last_reported(desk: Desk) -> None:
    ven_id = await ready(desk)
    assert (await states(desk, ven_id))[ASK].last_report_at is None
    for minutes in (0, 1):
        await desk.say(data(ven_id, NOW + minutes * MINUTE))
        desk.now += QUARTER
    assert (await states(desk, ven_id))[ASK].last_report_at == NOW + QUARTER


async def test_rpt_36_after_a_restart_of_the_server_requests_are_known(desk: Desk) -> None:
    ven_id = await ready(desk)
    await stop(desk, ven_id, "ask-x-FLEXIBILITY_OFFER")
    before = await states(desk, ven_id)
    await desk.restart()
    assert await states(desk, ven_id) == before
    assert await code(desk, data(ven_id)) == "200"
    assert isinstance(await desk.poll(), CancelReport)


async def test_rpt_43_the_end_of_the_registration_is_the_end_of_all_requests(desk: Desk) -> None:
    ven_id = await ready(desk)
    await ask(desk, ven_id, wanted())
    async with desk.db.write() as conn:
        await registration.cancel(conn, ven_id, desk.now)
    await desk.register()
    assert await states(desk, ven_id) == {}
    assert await code(desk, data(ven_id)) == "452"


@pytest.mark.criterion("RPT-03", who="vtn")
@pytest.mark.parametrize(
    "fault",
    [{"report_request_id": "7"}, {"report_name": USAGE}, {"duration": None}, {"dtstart": NOW}],
    ids=["a request's id", "the name of data", "no duration", "a start"],
)
async def test_metadata_that_are_none_are_refused(desk: Desk, fault: dict[str, object]) -> None:
    ven_id = await desk.settle_in()
    message = metadata(ven_id)
    wrong = replace(message.reports[0], **fault)  # type: ignore[arg-type] - fields by name
    assert await code(desk, replace(message, reports=(wrong,))) == "454"
    async with desk.db.write() as conn:
        assert await catalogue(conn, ven_id) == []
        await registration.set_lenient(conn, ven_id, lenient=True)
    assert await code(desk, replace(message, reports=(wrong,))) == "200"
    assert await code(desk, replace(message, reports=(wrong, wrong))) == "459"
