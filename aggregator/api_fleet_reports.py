"""Operations for the reports of the whole fleet: what can be reported, was asked for, and was set aside."""

from __future__ import annotations

import secrets
from typing import Annotated

from pydantic import Field, StringConstraints

from aggregator import report_asking, report_list
from aggregator.access.permission import Permission
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.report_asking import MOST_NODES, Wish
from aggregator.report_list import Cut, ListQuery, Progress, RequestQuery
from openadr import ActivePeriod, Duration
from vtn.api_route import Answer, At, Body, DurationText, Id, Instant, Query, Route
from vtn.errors import DuplicateRequest, NotOffered
from vtn.problem import CONFLICT, INVALID, FieldProblem, Problem

MOST_ROWS = 10_000_000
FEET = "Of the page before: `next` of its answer."
Shown = Annotated[str, StringConstraints(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]


class FleetQuery(Query):
    """Which rows are listed."""

    text: Shown = Field(default="", description="Part of a node's name or id.")
    report: Shown = Field(default="", description="Name of a report.")
    limit: int = Field(default=100, ge=1, le=500)
    after: int = Field(default=0, ge=0, le=MOST_ROWS, description=FEET)


class FleetRequestQuery(FleetQuery):
    """Which requests are listed."""

    state: Progress | None = None


class QuarantineQuery(Query):
    """Which values are listed."""

    text: Shown = Field(default="", description="Part of a node's name or id.")
    r_id: Shown = Field(default="", description="The data point.")
    limit: int = Field(default=100, ge=1, le=500)
    after: int = Field(default=0, ge=0, le=MOST_ROWS, description=FEET)


class FleetRequestView(Answer):
    """A report that a node was asked for."""

    ven_id: str
    ven_name: str
    report_request_id: str
    specifier_id: str
    report_name: str
    r_ids: list[str]
    state: str
    outcome: str | None
    by_operator: bool
    requested_at: At
    ended_at: At | None
    last_report_at: At | None


class FleetRequests(Answer):
    """Requests, the newest first."""

    requests: list[FleetRequestView]
    found: int = Field(description="How many there are in all.")
    next: int | None


class FleetOfferView(Answer):
    """A report that a node can make; its data points: `showCatalogue`."""

    ven_id: str
    ven_name: str
    specifier_id: str
    report_name: str
    registered_at: At
    r_ids: list[str]


class FleetOffers(Answer):
    """What nodes can report, by name of the node."""

    reports: list[FleetOfferView]
    found: int = Field(description="How many there are in all.")
    next: int | None


class QuarantinedView(Answer):
    """A value that was not kept."""

    ven_id: str
    report_request_id: str
    r_id: str
    start: str = Field(description="As it came; empty where it did not say.")
    value: str
    reason: str
    received_at: At


class Quarantine(Answer):
    """Values that were not kept, the newest first."""

    values: list[QuarantinedView]
    found: int = Field(description="How many there are in all.")
    next: int | None


class AskManyBody(Body):
    """A report to ask several nodes for: all of them or none."""

    report_request_id: Id | None = Field(
        default=None, description="Given, the request may be repeated safely; made here where it is left out."
    )
    report_name: Id
    nodes: list[Id] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_NODES,
        description="Their names; every node that offers the report where it is left out.",
    )
    r_ids: list[Id] | None = Field(
        default=None, min_length=1, description="All of the report's where it is left out."
    )
    granularity: DurationText = Field(default=report_asking.NONE, json_schema_extra={"default": "PT0S"})
    report_back: DurationText = Field(default=report_asking.NONE, json_schema_extra={"default": "PT0S"})
    start: Instant | None = None
    duration: DurationText | None = None


class AskedMany(Answer):
    """Who was asked now; a repetition asks nobody again."""

    report_request_id: str
    nodes: list[str]


async def _requests(call: DeskCall) -> Answer:
    query: FleetRequestQuery = call.query
    asked = RequestQuery(text=query.text, report=query.report, state=query.state)
    cut = Cut(query.after, query.limit)
    listed = await report_list.requests(call.conn, asked, cut)
    views = [FleetRequestView.model_validate(row, from_attributes=True) for row in listed.rows]
    return FleetRequests(requests=views, found=listed.found, next=cut.next(listed.found))


async def _offers(call: DeskCall) -> Answer:
    query: FleetQuery = call.query
    asked = ListQuery(text=query.text, report=query.report)
    cut = Cut(query.after, query.limit)
    listed = await report_list.offers(call.conn, asked, cut)
    views = [
        FleetOfferView(
            ven_id=row.ven_id,
            ven_name=row.ven_name,
            specifier_id=row.offered.specifier_id,
            report_name=row.offered.report_name,
            registered_at=row.offered.registered_at,
            r_ids=[each.r_id for each in row.offered.report.report_descriptions]
            if row.offered.report
            else [],
        )
        for row in listed.rows
    ]
    return FleetOffers(reports=views, found=listed.found, next=cut.next(listed.found))


async def _quarantine(call: DeskCall) -> Answer:
    query: QuarantineQuery = call.query
    asked = ListQuery(text=query.text, report=query.r_id)
    cut = Cut(query.after, query.limit)
    listed = await report_list.quarantined(call.conn, asked, cut)
    views = [QuarantinedView.model_validate(row, from_attributes=True) for row in listed.rows]
    return Quarantine(values=views, found=listed.found, next=cut.next(listed.found))


async def _ask(call: DeskCall) -> Answer:
    body: AskManyBody = call.body
    if (body.start is None) is not (body.duration is None):
        raise Problem.field(
            "duration" if body.duration is None else "start", None, "start and duration come together"
        )
    period = ActivePeriod(dtstart=body.start, duration=body.duration or Duration(0)) if body.start else None
    wish = Wish(
        report_name=body.report_name,
        ven_names=body.nodes,
        r_ids=body.r_ids,
        granularity=body.granularity,
        report_back=body.report_back,
        period=period,
    )
    request_id = body.report_request_id or f"request-{secrets.token_hex(8)}"
    planned = await report_asking.plan(call.conn, wish, request_id, call.now)
    if planned.too_many:
        text = f"{planned.too_many} nodes offer it, and at most {MOST_NODES} are asked at a time"
        raise Problem.field("nodes", None, text)
    if planned.refused:
        faults = [
            FieldProblem(field="nodes", value=name, detail=reason) for name, reason in planned.refused[:50]
        ]
        raise Problem(INVALID, f"{faults[0].value}: {faults[0].detail}", faults)
    try:
        await report_asking.ask(call.conn, planned, call.now)
    except (NotOffered, DuplicateRequest) as error:
        raise Problem(CONFLICT, str(error)) from error
    call.visit.about(f"report_request={request_id}")
    return AskedMany(report_request_id=request_id, nodes=[one.ven_name for one in planned.addressees])


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/report-requests",
            name="listAllReportRequests",
            summary="What all VENs were asked to report.",
            handle=_requests,
            answer=FleetRequests,
            query=FleetRequestQuery,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/reports",
            name="listReports",
            summary="What all VENs can report.",
            handle=_offers,
            answer=FleetOffers,
            query=FleetQuery,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/quarantine",
            name="listQuarantine",
            summary="Values that were not kept, and why.",
            handle=_quarantine,
            answer=Quarantine,
            query=QuarantineQuery,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/report-requests",
            name="requestReports",
            summary="Ask several VENs for a report: all of them or none.",
            handle=_ask,
            answer=AskedMany,
            body=AskManyBody,
            status=202,
            refusals=(409,),
            example={
                "report_request_id": "fleet-load",
                "report_name": "TELEMETRY_USAGE",
                "granularity": "PT15M",
                "report_back": "PT15M",
            },
        ),
        permission=Permission.REPORT_WRITE,
    ),
)
