"""Opts: what VENs answered to events, and when they announced that they take part."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from vtn import opt_list
from vtn.api_event_body import TargetBody, target_body
from vtn.api_route import Answer, At, Call, DurationText, Instant, Query, Route
from vtn.api_vens import find

LARGEST = 10**15


class PeriodView(Answer):
    """When an availability holds; duration `PT0S`: from then on."""

    start: Instant
    duration: DurationText


class OptView(Answer):
    """One opt."""

    number: int
    ven_id: str
    at: At
    source: str = Field(description="`created_event`: an answer; `create_opt`: qualified, or announced.")
    opt_type: str
    event_id: str | None
    modification_number: int | None
    response_code: str | None
    opt_id: str | None
    reason: str | None
    market_context: str | None
    availability: list[PeriodView]
    target: TargetBody | None = Field(description="Only what it names; the whole VEN where it is empty.")
    device_classes: list[str]
    cancelled_at: At | None = Field(description="Taken back, or replaced by a newer one.")


class OptPage(Answer):
    """Opts, the newest first; `next` is `before` of the next page."""

    opts: list[OptView]
    next: int | None


class OptQuery(Query):
    """Which opts are listed."""

    ven: str | None = Field(default=None, description="Id or name of a VEN.")
    event_id: str | None = Field(default=None, description="Of this event only.")
    limit: int = Field(default=100, ge=1, le=1000)
    before: int | None = Field(
        default=None, ge=0, le=LARGEST, description="Number of the last opt of the page before."
    )


async def _list(call: Call) -> Answer:
    query: OptQuery = call.query
    ven_id = None if query.ven is None else (await find(call.conn, query.ven)).ven_id
    found = await opt_list.newest(
        call.conn, limit=query.limit + 1, before=query.before, ven_id=ven_id, event_id=query.event_id
    )
    page = [_view(kept) for kept in found[: query.limit]]
    return OptPage(opts=page, next=page[-1].number if len(found) > query.limit else None)


def _view(kept: opt_list.Kept) -> OptView:
    message = kept.message
    return OptView(
        number=kept.seq,
        ven_id=kept.ven_id,
        at=kept.at,
        source=kept.source,
        opt_type=kept.opt_type,
        event_id=kept.event_id,
        modification_number=kept.modification_number,
        response_code=kept.response_code,
        opt_id=kept.opt_id,
        reason=message.opt_reason if message else None,
        market_context=message.market_context if message else None,
        availability=[
            PeriodView(start=period.dtstart, duration=period.duration)
            for period in (message.availability if message else ())
        ],
        target=target_body(replace(message.target, ven_id=())) if message else None,
        device_classes=list(message.device_class.end_device_asset)
        if message and message.device_class
        else [],
        cancelled_at=kept.cancelled_at,
    )


ROUTES = (
    Route(
        method="GET",
        path="/opts",
        name="listOpts",
        summary="What VENs answered to events and announced, the newest first.",
        handle=_list,
        answer=OptPage,
        query=OptQuery,
        refusals=(404,),
    ),
)
