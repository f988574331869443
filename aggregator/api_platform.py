"""Operations for how the platform stands: status, nodes, curves, forecasts."""

from __future__ import annotations

from datetime import date, timedelta

from pydantic import AwareDatetime, Field

from aggregator.access.permission import Permission
from aggregator.api import FARTHEST, LONGEST_PROFILE_DAYS
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.overview import described
from aggregator.profile import Period
from vtn import registration
from vtn.api_route import Answer, At, Query, Route
from vtn.problem import Problem


class ChainView(Answer):
    """How anchoring stands."""

    ok: bool
    status: str
    text: str
    last_anchor_at: At | None
    head: int = Field(description="How many leaves the newest anchor covers.")
    behind_since: At | None
    alarm: bool


class CountsView(Answer):
    """Everything that is counted."""

    vens: int
    events: int
    delivered: int = Field(description="Nodes that fetched their event.")
    opted_in: int
    reports: int = Field(description="Without history.")
    readings: int
    history_reports: int
    history_days: float
    statements: int
    leaves: int
    checkpoints: int
    anchored: int


class CurvesView(Answer):
    """The portfolio over a period, quarter hour by quarter hour; null: not known."""

    times: list[At]
    metered_kw: list[float | None]
    baseline_kw: list[float | None]
    forecast_kw: list[float | None]


class StatusView(Answer):
    """How things stand now; the nodes one by one: `listNodes`."""

    now: At
    counts: CountsView
    portfolio: CurvesView
    incentive_total: str
    chain: ChainView


class SummaryView(CountsView):
    """What it all came to."""

    requested_kwh: float
    delivered_kwh: float
    incentive_total: str


class TermsView(Answer):
    """What is agreed with a node."""

    capacity_kw: str
    price_minor_per_kwh: str
    penalty_minor_per_kwh: str
    threshold: str
    max_calls_per_day: int
    notice_min: float
    currency: str


class NodeView(Answer):
    """A node with the agreement in force."""

    ven_id: str
    ven_name: str
    agreement: TermsView


class NodePage(Answer):
    """Nodes by name; `next` is `after` of the next page."""

    nodes: list[NodeView]
    next: str | None


class NodeQuery(Query):
    """Which nodes are listed."""

    limit: int = Field(default=100, ge=1, le=1000)
    after: str | None = Field(default=None, max_length=128, description="Name of the last node before.")


class PeriodQuery(Query):
    """A period of at most two months."""

    start: AwareDatetime
    end: AwareDatetime


class DayQuery(Query):
    """A local day."""

    day: date | None = Field(default=None, description="Today where it is left out.")


class NodeForecastView(Answer):
    """What was forecast for a node."""

    ven_id: str
    ven_name: str
    issued_at: At | None
    load_forecast_kw: list[float | None]
    offer_kw: list[float | None]
    load_naive_kw: list[float | None]
    offer_naive_kw: list[float | None]
    metered_kw: list[float | None]


class PortfolioForecastView(Answer):
    """What was forecast for all together."""

    issued_at: At | None
    forecast_kw: list[float | None]
    naive_kw: list[float | None]
    metered_kw: list[float | None]


class ForecastView(Answer):
    """The forecasts for a local day, beside weekly naive and what was metered."""

    day: date
    times: list[At]
    nodes: list[NodeForecastView]
    portfolio: PortfolioForecastView


async def _status(call: DeskCall) -> Answer:
    desk, calendar = call.desk, call.desk.portfolio.calendar
    ven_ids = [ven.ven_id for ven in await registration.vens(call.conn)]
    curves = await desk.maker.curves(call.conn, ven_ids, calendar.day(calendar.day_of(call.now)), {})
    summary = await desk.overview.summary(call.conn)
    return StatusView(
        now=call.now,
        counts=CountsView.model_validate(summary),
        portfolio=CurvesView.model_validate(described(curves)),
        incentive_total=summary["incentive_total"],
        chain=ChainView.model_validate(desk.chain_state()),
    )


async def _summary(call: DeskCall) -> Answer:
    return SummaryView.model_validate(await call.desk.overview.summary(call.conn))


async def _nodes(call: DeskCall) -> Answer:
    query: NodeQuery = call.query
    found = sorted(await call.desk.portfolio.nodes(call.conn), key=lambda node: node.ven_name)
    rest = [node for node in found if query.after is None or node.ven_name > query.after]
    shown = [
        NodeView(
            ven_id=node.ven_id,
            ven_name=node.ven_name,
            agreement=TermsView(
                capacity_kw=str(node.agreement.capacity_kw),
                price_minor_per_kwh=str(node.agreement.price_minor_per_kwh),
                penalty_minor_per_kwh=str(node.agreement.penalty_minor_per_kwh),
                threshold=str(node.agreement.threshold),
                max_calls_per_day=node.agreement.max_calls_per_day,
                notice_min=node.agreement.notice.total_seconds() / 60,
                currency=node.agreement.currency,
            ),
        )
        for node in rest[: query.limit]
    ]
    return NodePage(nodes=shown, next=shown[-1].ven_name if len(rest) > query.limit else None)


async def _profiles(call: DeskCall) -> Answer:
    query: PeriodQuery = call.query
    for name, instant in (("start", query.start), ("end", query.end)):
        if abs(instant - call.now) > FARTHEST:
            raise Problem.field(name, instant.isoformat(), "it lies more than five years from now")
    if not timedelta(0) < query.end - query.start <= timedelta(days=LONGEST_PROFILE_DAYS):
        text = f"it lies after start, by {LONGEST_PROFILE_DAYS} days at most"
        raise Problem.field("end", query.end.isoformat(), text)
    period = Period(query.start, query.end)
    if not any(True for _ in period.slots()):
        raise Problem.field("end", query.end.isoformat(), "start and end hold no whole quarter hour")
    ven_ids = [node.ven_id for node in await call.desk.portfolio.nodes(call.conn)]
    return CurvesView.model_validate(described(await call.desk.maker.curves(call.conn, ven_ids, period, {})))


async def _forecasts(call: DeskCall) -> Answer:
    today = call.desk.portfolio.calendar.day_of(call.now)
    day = call.query.day or today
    if abs(day - today) > FARTHEST:
        raise Problem.field("day", day.isoformat(), "it lies more than five years from today")
    return ForecastView.model_validate(await call.desk.overview.forecasts(call.conn, day))


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/status",
            name="showStatus",
            summary="How things stand now.",
            handle=_status,
            answer=StatusView,
            passing=("now",),
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/summary",
            name="showSummary",
            summary="What all events came to.",
            handle=_summary,
            answer=SummaryView,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/nodes",
            name="listNodes",
            summary="The nodes and the agreements in force.",
            handle=_nodes,
            answer=NodePage,
            query=NodeQuery,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/profiles",
            name="showProfiles",
            summary="The portfolio's load, baseline and forecast over a period.",
            handle=_profiles,
            answer=CurvesView,
            query=PeriodQuery,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/forecasts",
            name="showForecasts",
            summary="What was forecast for a day.",
            handle=_forecasts,
            answer=ForecastView,
            query=DayQuery,
        ),
        permission=Permission.FLEET_READ,
    ),
)
