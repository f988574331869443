"""Operations for a prosumer: his home, its events, money, readings and receipts, and no other home's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from zoneinfo import ZoneInfo

from pydantic import Field

from aggregator import home as homes
from aggregator import home_proof, override
from aggregator.access.permission import Permission
from aggregator.curve import numbers
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.errors import OverrideError, UnknownObjectError
from aggregator.home import Part, Share, home_of
from aggregator.profile import QUARTER
from aggregator.settlement import Outcome
from vtn import reading
from vtn.api_route import Answer, At, Instant, Query, Route
from vtn.problem import CONFLICT, UNKNOWN, Problem

LONGEST = timedelta(days=31)
MOST_SKIPPED = 10**6


class PartView(Answer):
    """The home's part in one event."""

    event_id: str
    ven_id: str
    start: At
    end: At
    test_event: bool
    cancelled_at: At | None
    answer: str | None = Field(description="What its node said: `optIn`, `optOut` or null.")
    outcome: Outcome | None = Field(description="Null while there is no statement.")
    amount_minor: int | None = Field(description="The home's share in minor units, negative where it owes.")
    currency: str
    number: int | None = Field(description="Number of the newest statement.")
    out_since: At | None = Field(description="Since when the home stays out of it; null where it takes part.")


class CurveView(Answer):
    """Mean power of each step; null where nothing is known."""

    start: At
    step_s: int
    kw: list[float | None]


class HomeView(Answer):
    """What the account is for, the event that runs or comes, and today's load."""

    ven_ids: list[str]
    home: str | None = Field(description="Null where the account is for these nodes as a whole.")
    next: PartView | None
    today: CurveView


class PartPage(Answer):
    """The home's events, the newest first; `next` is `after` of the next page."""

    events: list[PartView]
    next: int | None


class PartQuery(Query):
    """Which events are listed."""

    limit: int = Field(default=100, ge=1, le=1000)
    after: int = Field(default=0, ge=0, le=MOST_SKIPPED, description="How many of the newest are left out.")


class ShareView(Answer):
    """The home's share of one revision of a statement."""

    number: int
    revision: int
    made_at: At
    outcome: Outcome
    amount_minor: int | None
    currency: str


class EventView(PartView):
    """One event with what the home did, in Wh, and its share of each revision, the newest first."""

    used_wh: int | None
    usual_wh: int | None
    shares: list[ShareView]


class MonthView(Answer):
    """What a month's events came to in one currency; `month` is its first day in the programme's zone."""

    month: str
    currency: str
    amount_minor: int
    events: int


class MoneyView(Answer):
    """All months, the newest first."""

    months: list[MonthView]


class ReadingsQuery(Query):
    """Which readings: at most 31 days."""

    start: Instant
    end: Instant


class ReadingView(Answer):
    """One value of the home's meter, as it was reported."""

    ven_id: str
    r_id: str
    start: At
    duration_s: float
    value: float
    quality: str
    report_name: str


class ReadingsView(Answer):
    """Values by time."""

    readings: list[ReadingView]


class EvidenceView(Answer):
    """The files by which anybody can check a share, by name, and whether every check held just now."""

    holds: bool
    failed: str
    files: dict[str, str]


async def _home(call: DeskCall) -> Answer:
    home, calendar = home_of(call.principal), call.desk.portfolio.calendar
    day = calendar.day(calendar.day_of(call.now))
    coming = await homes.next_part(call.conn, home, call.now)
    today = await homes.load(call.conn, home, day)
    return HomeView(
        ven_ids=list(home.ven_ids),
        home=home.name,
        next=None if coming is None else _part(coming),
        today=CurveView(start=today.start, step_s=int(QUARTER.total_seconds()), kw=numbers(today)),
    )


async def _events(call: DeskCall) -> Answer:
    query: PartQuery = call.query
    found = await homes.parts(call.conn, home_of(call.principal), query.limit + 1, query.after)
    more = len(found) > query.limit
    return PartPage(
        events=[_part(one) for one in found[: query.limit]],
        next=query.after + query.limit if more else None,
    )


async def _event(call: DeskCall) -> Answer:
    home = home_of(call.principal)
    one = await homes.part(call.conn, home, call.path["event_id"], call.path["ven"])
    use = await homes.use(call.conn, home, one, call.desk.portfolio.calendar)
    shares = await homes.shares(call.conn, home, one)
    return EventView(
        **_part(one).model_dump(),
        used_wh=use.used_wh,
        usual_wh=use.usual_wh,
        shares=[_share(share) for share in shares],
    )


async def _stay_out(call: DeskCall) -> Answer:
    return await _said(call, override.say)


async def _come_back(call: DeskCall) -> Answer:
    return await _said(call, partial(override.take_back, portfolio=call.desk.portfolio))


async def _said(call: DeskCall, word: Callable[..., Awaitable[None]]) -> Answer:
    """The part after the home's word; Problem names the event where that cannot be."""
    home, event_id, ven_id = home_of(call.principal), call.path["event_id"], call.path["ven"]
    try:
        await word(call.conn, home, event_id, ven_id, call.now)
    except OverrideError as error:
        raise Problem.field("event_id", event_id, str(error), CONFLICT) from error
    except UnknownObjectError as error:
        raise Problem.field("event_id", event_id, str(error), UNKNOWN) from error
    return _part(await homes.part(call.conn, home, event_id, ven_id))


async def _money(call: DeskCall) -> Answer:
    zone = ZoneInfo(call.desk.settings.programme.zone)
    found = await homes.months(call.conn, home_of(call.principal), zone)
    return MoneyView(
        months=[
            MonthView(
                month=one.month.isoformat(),
                currency=one.currency,
                amount_minor=one.amount_minor,
                events=one.events,
            )
            for one in found
        ]
    )


async def _readings(call: DeskCall) -> Answer:
    query, home = call.query, home_of(call.principal)
    if not timedelta(0) < query.end - query.start <= LONGEST:
        raise Problem.field("end", query.end, "the end comes after the start, by 31 days at most")
    rows = await reading.readings(
        call.conn,
        ven_ids=home.ven_ids,
        r_ids=home.r_ids,
        start=query.start,
        end=query.end,
    )
    return ReadingsView(readings=[ReadingView.model_validate(row, from_attributes=True) for row in rows])


async def _receipt(call: DeskCall) -> Answer:
    share = await homes.share_of(call.conn, home_of(call.principal), call.path["number"])
    proof = await home_proof.proof(call.conn, call.desk.log, share)
    return EvidenceView(holds=proof.holds, failed=proof.failed, files=proof.files())


def _part(one: Part) -> PartView:
    return PartView.model_validate(one, from_attributes=True)


def _share(one: Share) -> ShareView:
    return ShareView.model_validate(one, from_attributes=True)


_NUMBER = {"number": "Number of a statement, from the home's events."}
_ROUTES = (
    Route(
        method="GET",
        path="/home",
        name="showHome",
        summary="One's own home: the event that runs or comes, and today's load.",
        handle=_home,
        answer=HomeView,
    ),
    Route(
        method="GET",
        path="/home/events",
        name="listHomeEvents",
        summary="The events of one's own home.",
        handle=_events,
        answer=PartPage,
        query=PartQuery,
    ),
    Route(
        method="GET",
        path="/home/events/{event_id}/{ven}",
        name="showHomeEvent",
        summary="One event: what the home did and got.",
        handle=_event,
        answer=EventView,
    ),
    Route(
        method="POST",
        path="/home/events/{event_id}/{ven}/override",
        name="stayOutOfHomeEvent",
        summary="Not this time: one's own home stays out of an event, and gets no share of it.",
        handle=_stay_out,
        answer=PartView,
        refusals=(404, 409),
    ),
    Route(
        method="DELETE",
        path="/home/events/{event_id}/{ven}/override",
        name="takePartInHomeEvent",
        summary="One's own home takes part after all; before the event starts.",
        handle=_come_back,
        answer=PartView,
        refusals=(404, 409),
    ),
    Route(
        method="GET",
        path="/home/money",
        name="showHomeMoney",
        summary="What the events of each month came to for one's own home.",
        handle=_money,
        answer=MoneyView,
    ),
    Route(
        method="GET",
        path="/home/readings",
        name="listHomeReadings",
        summary="The readings of one's own home.",
        handle=_readings,
        answer=ReadingsView,
        query=ReadingsQuery,
        refusals=(422,),
    ),
    Route(
        method="GET",
        path="/home/statements/{number}/receipt",
        name="showHomeReceipt",
        summary="The evidence for one's own share of a statement.",
        handle=_receipt,
        answer=EvidenceView,
        parameters=_NUMBER,
    ),
)
OPERATIONS = tuple(Operation(route=route, permission=Permission.HOME_OWN) for route in _ROUTES)
