"""Reports: what a VEN can report, what it was asked for, and asking for more or less."""

from __future__ import annotations

import secrets
from datetime import datetime

from pydantic import Field
from pydantic.config import JsonDict

from openadr import ActivePeriod, Duration, ReportRequest, ReportSpecifier, SpecifierPayload
from openadr.report_request import METADATA, asks_metadata
from vtn import report_request
from vtn.api_route import Answer, At, Body, Call, DurationText, Id, Instant, Query, Route
from vtn.api_vens import find
from vtn.catalogue import Offered
from vtn.errors import DuplicateRequest, NotOffered, UnknownObject
from vtn.problem import CONFLICT, INVALID, FieldProblem, Problem

FIELDS = {
    "reportSpecifierID": "specifier_id",
    "granularity": "granularity",
    "reportBackDuration": "report_back",
    "reportInterval": "start",
    "rID": "r_ids",
}
"""The words of a refusal, in the order in which they are looked for, and the fields that they stand for."""
NONE: JsonDict = {"default": "PT0S"}


class PointView(Answer):
    """One data point that a VEN can report."""

    r_id: str
    report_type: str
    reading_type: str
    unit: str | None = Field(description="Kind of its unit, such as `powerReal`.")
    scale: str | None
    min_period: DurationText | None
    max_period: DurationText | None
    on_change: bool | None


class OfferedView(Answer):
    """A report that a VEN can make."""

    specifier_id: str
    report_name: str
    registered_at: At
    duration: DurationText | None = Field(description="How far back it reaches.")
    points: list[PointView]


class Catalogue(Answer):
    """Everything that a VEN said it can report."""

    reports: list[OfferedView]


class RequestView(Answer):
    """A report that a VEN was asked for."""

    report_request_id: str
    specifier_id: str
    report_name: str
    state: str = Field(description="`asked`, `running`, `cancelling` or `ended`.")
    outcome: str | None = Field(description="Why it ended.")
    by_operator: bool
    r_ids: list[str]
    granularity: DurationText | None
    report_back: DurationText | None = Field(description="How often it comes; `PT0S`: once.")
    start: Instant | None
    duration: DurationText | None
    requested_at: At
    accepted_at: At | None
    cancelled_at: At | None
    ended_at: At | None
    last_report_at: At | None


class RequestList(Answer):
    """Everything that a VEN was asked for, oldest first."""

    requests: list[RequestView]


class RequestsQuery(Query):
    """Which requests are listed."""

    running: bool = Field(default=False, description="Only those that have not ended.")


class AskBody(Body):
    """A report to ask for. Without `report_back` it comes once; a history needs `start` and `duration`."""

    report_request_id: Id | None = Field(
        default=None, description="Given, the request may be repeated safely; made here where it is left out."
    )
    specifier_id: Id = Field(description="From the catalogue, or `METADATA`.")
    r_ids: list[Id] | None = Field(
        default=None, min_length=1, description="All of the report's where it is left out."
    )
    granularity: DurationText = Field(
        default=Duration(0), description="Of the values; `PT0S`: on change.", json_schema_extra=NONE
    )
    report_back: DurationText = Field(
        default=Duration(0), description="How often it comes.", json_schema_extra=NONE
    )
    start: Instant | None = Field(default=None, description="Of what comes periodically: now.")
    duration: DurationText | None = Field(
        default=None, description="`PT0S`: without an end, as where start and duration are left out."
    )


class StopBody(Body):
    """How a report ends."""

    report_to_follow: bool = Field(default=False, description="With one more report.")


async def _catalogue(call: Call) -> Answer:
    ven = await find(call.conn, call.path["ven"])
    return Catalogue(
        reports=[_offered(each) for each in await report_request.catalogue(call.conn, ven.ven_id)]
    )


def _offered(offered: Offered) -> OfferedView:
    report = offered.report
    return OfferedView(
        specifier_id=offered.specifier_id,
        report_name=offered.report_name,
        registered_at=offered.registered_at,
        duration=report.duration if report else None,
        points=[
            PointView(
                r_id=point.r_id,
                report_type=point.report_type,
                reading_type=point.reading_type,
                unit=point.item_base.kind if point.item_base else None,
                scale=point.item_base.si_scale_code if point.item_base else None,
                min_period=point.sampling_rate.min_period if point.sampling_rate else None,
                max_period=point.sampling_rate.max_period if point.sampling_rate else None,
                on_change=point.sampling_rate.on_change if point.sampling_rate else None,
            )
            for point in (report.report_descriptions if report else ())
        ],
    )


async def _requests(call: Call) -> Answer:
    query: RequestsQuery = call.query
    ven = await find(call.conn, call.path["ven"])
    found = await report_request.requests(call.conn, ven.ven_id)
    views = [_view(each, call.now) for each in found]
    return RequestList(requests=[each for each in views if not (query.running and each.state == "ended")])


def _is_over(requested: report_request.Requested, now: datetime) -> bool:
    """Whether nothing more is to come: a single report has come, or the time of a periodic one has passed."""
    if requested.request is None or asks_metadata(requested.request) or requested.last_report_at is None:
        return False
    specifier = requested.request.report_specifier
    if requested.report_name.startswith("HISTORY_"):
        return False  # it comes in parts, and none says that it is the last
    if not specifier.report_back_duration:
        return requested.last_report_at >= requested.requested_at  # an older one answered an earlier request
    period = specifier.report_interval
    end = period.end if period else None
    return end is not None and specifier.report_back_duration.after(end) < now


def _view(requested: report_request.Requested, now: datetime) -> RequestView:
    over = requested.ended_at is None and requested.cancelled_at is None and _is_over(requested, now)
    specifier = requested.request.report_specifier if requested.request else None
    period = specifier.report_interval if specifier else None
    return RequestView(
        report_request_id=requested.report_request_id,
        specifier_id=requested.specifier_id,
        report_name=requested.report_name,
        state=report_request.RequestState.ENDED if over else requested.state,
        outcome=report_request.FINISHED if over else requested.outcome,
        by_operator=requested.by_operator,
        r_ids=[point.r_id for point in specifier.specifier_payloads] if specifier else [],
        granularity=specifier.granularity if specifier else None,
        report_back=specifier.report_back_duration if specifier else None,
        start=period.dtstart if period else None,
        duration=period.duration if period else None,
        requested_at=requested.requested_at,
        accepted_at=requested.accepted_at,
        cancelled_at=requested.cancelled_at,
        ended_at=requested.ended_at,
        last_report_at=requested.last_report_at,
    )


async def _ask(call: Call) -> Answer:
    body: AskBody = call.body
    ven = await find(call.conn, call.path["ven"])
    request_id = body.report_request_id or f"request-{secrets.token_hex(8)}"
    request = ReportRequest(report_request_id=request_id, report_specifier=await _specifier(call, ven.ven_id))
    try:
        await report_request.request_report(call.conn, ven.ven_id, request, call.now)
    except NotOffered as error:
        fault = FieldProblem(field=_field_of(str(error)), detail=str(error))
        raise Problem(INVALID, f"{error.code}: {error}", [fault]) from error
    except DuplicateRequest as error:
        raise Problem.field("report_request_id", request_id, str(error), CONFLICT) from error
    except UnknownObject as error:
        raise Problem(CONFLICT, str(error)) from error
    return await _one(call, ven.ven_id, request_id)


def _field_of(fault: str) -> str:
    """The field that a refusal is about: its text names what OpenADR calls it."""
    for word, field in FIELDS.items():
        if word in fault:
            return field
    return "specifier_id"


async def _specifier(call: Call, ven_id: str) -> ReportSpecifier:
    body: AskBody = call.body
    return ReportSpecifier(
        report_specifier_id=body.specifier_id,
        granularity=body.granularity,
        report_back_duration=body.report_back,
        report_interval=await _interval(call, ven_id),
        specifier_payloads=await _points(call, ven_id),
    )


async def _interval(call: Call, ven_id: str) -> ActivePeriod | None:
    """RPT-17: what comes periodically has a beginning; of a request that is repeated it stays what it was."""
    body: AskBody = call.body
    if body.start is None and body.duration is None:
        if not body.report_back or body.specifier_id == METADATA:
            return None
        for asked in await report_request.requests(call.conn, ven_id):
            if asked.report_request_id == body.report_request_id and asked.request is not None:
                return asked.request.report_specifier.report_interval
        return ActivePeriod(dtstart=call.now.replace(microsecond=0), duration=Duration(0))
    if body.start is None or body.duration is None:
        missing = "start" if body.start is None else "duration"
        raise Problem.field(missing, None, "start and duration come together")
    return ActivePeriod(dtstart=body.start, duration=body.duration)


async def _points(call: Call, ven_id: str) -> tuple[SpecifierPayload, ...]:
    body: AskBody = call.body
    if body.r_ids is not None:
        return tuple(SpecifierPayload(r_id=each) for each in body.r_ids)
    if body.specifier_id == METADATA:
        return (SpecifierPayload(r_id="0"),)
    for offered in await report_request.catalogue(call.conn, ven_id):
        if offered.specifier_id == body.specifier_id and offered.report is not None:
            return tuple(SpecifierPayload(r_id=point.r_id) for point in offered.report.report_descriptions)
    text = "is not in the VEN's catalogue"
    raise Problem.field("specifier_id", body.specifier_id, text)


async def _cancel(call: Call) -> Answer:
    body: StopBody = call.body
    ven = await find(call.conn, call.path["ven"])
    request_id = call.path["report_request_id"]
    await report_request.cancel_report(call.conn, ven.ven_id, [request_id], body.report_to_follow, call.now)
    return await _one(call, ven.ven_id, request_id)


async def _one(call: Call, ven_id: str, request_id: str) -> Answer:
    found = await report_request.requests(call.conn, ven_id)
    return next(_view(each, call.now) for each in found if each.report_request_id == request_id)


ROUTES = (
    Route(
        method="GET",
        path="/vens/{ven}/reports",
        name="showCatalogue",
        summary="What the VEN can report.",
        handle=_catalogue,
        answer=Catalogue,
    ),
    Route(
        method="GET",
        path="/vens/{ven}/report-requests",
        name="listReportRequests",
        summary="What the VEN was asked to report.",
        handle=_requests,
        answer=RequestList,
        query=RequestsQuery,
    ),
    Route(
        method="POST",
        path="/vens/{ven}/report-requests",
        name="requestReport",
        summary="Ask the VEN for a report: it is told at its next poll.",
        handle=_ask,
        answer=RequestView,
        body=AskBody,
        status=202,
        refusals=(409,),
        example={
            "report_request_id": "load-quarter-hourly",
            "specifier_id": "spec-TELEMETRY_USAGE",
            "granularity": "PT15M",
            "report_back": "PT15M",
            "start": "2026-03-02T13:00:00Z",
            "duration": "PT0S",
        },
    ),
    Route(
        method="POST",
        path="/vens/{ven}/report-requests/{report_request_id}/cancel",
        name="cancelReport",
        summary="End a report: the VEN is told at its next poll, or with its next report.",
        handle=_cancel,
        answer=RequestView,
        body=StopBody,
        status=202,
        example={"report_to_follow": True},
    ),
)
