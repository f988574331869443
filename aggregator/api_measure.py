"""Operations for what nodes measure: readings, baselines, performance in events."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, StringConstraints

from aggregator import event_review
from aggregator.access.permission import Permission
from aggregator.accuracy import Accuracy
from aggregator.curve import numbers
from aggregator.dashboard.baselines import compared_for
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.profile import Period
from aggregator.reading_series import Reader, Selection
from vtn.api_route import Answer, At, Query, Route
from vtn.api_vens import find
from vtn.problem import Problem

LONGEST = timedelta(days=400)
Shown = Annotated[str, StringConstraints(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]


class ReadingsQuery(Query):
    """Which values of a node are listed."""

    start: AwareDatetime
    end: AwareDatetime
    r_id: Shown = Field(default="", description="The data point; every one where it is left out.")
    report: Shown = Field(default="", description="The report; every one where it is left out.")
    limit: int = Field(default=500, ge=1, le=5000)
    after: str | None = Field(
        default=None, max_length=400, description="Of the page before: `next` of its answer."
    )


class ReadingView(Answer):
    """One value."""

    start: At
    duration_s: float
    report_name: str
    r_id: str
    value: float
    unit: str
    mean_power_kw: float | None
    quality: str
    reported_at: At


class Readings(Answer):
    """Values by time."""

    readings: list[ReadingView]
    next: str | None


class BaselineQuery(Query):
    """The times of an event, real or not."""

    start: AwareDatetime
    end: AwareDatetime


class AccuracyView(Answer):
    """How one method did on events of the past that were none; shares of what was metered."""

    method: str
    adjusted: bool = Field(description="Whether the same day corrects it.")
    is_rule: bool = Field(description="Whether statements use it.")
    days: int = Field(description="How many days were tested.")
    rrmse: float | None
    cvrmse: float | None
    bias: float | None
    baseline_kw: list[float | None] | None = Field(description="Of the quarter hours of the times asked for.")


class ComparisonView(Answer):
    """All methods on one node's own history."""

    ven_id: str
    methods: list[AccuracyView]


class IntervalView(Answer):
    """One quarter hour of an event."""

    start: At
    baseline_wh: int | None
    metered_wh: int | None
    reduction_wh: int | None
    requested_wh: int
    reading: str = Field(description="`there`, `late`, `unusable`, `missing` or `ahead`.")


class PerformanceView(Answer):
    """One node's part in an event."""

    event_id: str
    ven_id: str
    method: str
    baseline_days: list[str]
    adjustment_kw: float | None
    requested_wh: int
    delivered_wh: int
    revision: int | None = Field(description="Of the newest statement.")
    intervals: list[IntervalView]


def _period(query: Any) -> Period:
    """The period of a query; refused where it is none, or too long to look at."""
    if query.end <= query.start:
        raise Problem.field("end", query.end.isoformat(), "it must lie after start")
    if query.end - query.start > LONGEST:
        raise Problem.field("end", query.end.isoformat(), f"at most {LONGEST.days} days are looked at")
    return Period(query.start, query.end)


async def _readings(call: DeskCall) -> Answer:
    query: ReadingsQuery = call.query
    ven = await find(call.conn, call.path["ven"])
    selection = Selection(
        ven_ids=[ven.ven_id],
        r_ids=[query.r_id] if query.r_id else (),
        report_name=query.report,
        period=_period(query),
    )
    reader = Reader(None, selection, _foot(query.after))
    rows = await reader.piece(call.conn, query.limit)
    views = [
        ReadingView(
            start=row.start,
            duration_s=row.duration_s,
            report_name=row.report_name,
            r_id=row.r_id,
            value=row.value,
            unit=row.unit.name,
            mean_power_kw=row.unit.kw(row.value, row.duration_s),
            quality=row.quality,
            reported_at=row.created_at,
        )
        for row in rows
    ]
    full = len(rows) == query.limit
    last = rows[-1] if rows else None
    next_ = f"{last.start.isoformat()}|{last.report_name}|{last.r_id}" if last and full else None
    return Readings(readings=views, next=next_)


def _foot(after: str | None) -> tuple[datetime, str, str] | None:
    """Where the page before ended."""
    if after is None:
        return None
    start, _, rest = after.partition("|")
    report_name, _, r_id = rest.partition("|")
    try:
        at = datetime.fromisoformat(start)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or not r_id:
        raise Problem.field("after", after, "it is not what a page before has named")
    return at, r_id, report_name


async def _compare(call: DeskCall) -> Answer:
    query: BaselineQuery = call.query
    ven = await find(call.conn, call.path["ven"])
    period = _period(query)
    if abs(period.start - call.now) > LONGEST:  # before its slots, which the first and last days have not
        raise Problem.field("start", query.start.isoformat(), "it lies too far from now")
    if period.end - period.start > timedelta(days=1) or not any(True for _ in period.slots()):
        raise Problem.field(
            "end", query.end.isoformat(), "an event has a quarter hour at least and a day at most"
        )
    compared = await compared_for(call.visit, call.conn, ven.ven_id, period)
    rule = call.desk.settings.programme.baseline

    def view(one: Accuracy) -> AccuracyView:
        chosen = compared.chosen.get(one.variant)
        return AccuracyView(
            method=one.variant.method,
            adjusted=one.variant.adjusted,
            is_rule=one.variant.adjusted and one.variant.method == rule,
            days=len(one.placebos),
            rrmse=one.rrmse,
            cvrmse=one.cvrmse,
            bias=one.bias,
            baseline_kw=numbers(chosen.profile) if chosen else None,
        )

    return ComparisonView(ven_id=ven.ven_id, methods=[view(one) for one in compared.accuracies])


async def _performance(call: DeskCall) -> Answer:
    ven = await find(call.conn, call.path["ven"])
    programme = call.desk.settings.programme
    found = await event_review.review(call.conn, programme, call.path["event_id"], ven.ven_id, call.now)
    return PerformanceView(
        event_id=found.call.event_id,
        ven_id=ven.ven_id,
        method=programme.baseline if found.expected else "none",
        baseline_days=[day.isoformat() for day in found.expected.days] if found.expected else [],
        adjustment_kw=found.expected.adjustment_kw if found.expected else None,
        requested_wh=found.requested_wh,
        delivered_wh=found.delivered_wh,
        revision=found.statement.revision if found.statement else None,
        intervals=[IntervalView.model_validate(one, from_attributes=True) for one in found.intervals],
    )


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/vens/{ven}/readings",
            name="listReadings",
            summary="What a VEN has reported.",
            handle=_readings,
            answer=Readings,
            query=ReadingsQuery,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/vens/{ven}/baselines",
            name="compareBaselines",
            summary="How each method met a VEN's own past.",
            handle=_compare,
            answer=ComparisonView,
            query=BaselineQuery,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/events/{event_id}/performance/{ven}",
            name="showPerformance",
            summary="One VEN's part in an event, interval by interval.",
            handle=_performance,
            answer=PerformanceView,
        ),
        permission=Permission.FLEET_READ,
    ),
)
