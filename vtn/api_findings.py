"""Which rules a VEN and this server broke towards each other: counted as messages came, and by the trace."""

from __future__ import annotations

import asyncio

from pydantic import Field

from openadr.conversation import Conversation
from openadr.remark import Party, Remark
from openadr.trace import Exchange, judge_exchange
from vtn import finding, trace
from vtn.api_route import Answer, At, Call, Query, Route
from vtn.api_vens import find


class FindingView(Answer):
    """A rule that was broken, by whom, how often, and what was said the last time."""

    party: Party
    rule: str
    warning: bool = Field(description="Tolerated on receive.")
    text: str
    times: int
    first_at: At
    last_at: At


class FindingsView(Answer):
    """The findings of a VEN. Those of its conversation need the trace: it is judged as far as it is kept."""

    ven_id: str
    ven_name: str
    traced_since: At | None = Field(description="Nothing: it is not traced now.")
    judged_exchanges: int
    counted: list[FindingView] = Field(
        description="Tolerated deviations of its messages since it registered."
    )
    judged: list[FindingView] = Field(description="What the checker says of the kept trace.")


class FindingsQuery(Query):
    """How much of the trace is judged."""

    last: int = Field(default=200, ge=1, le=trace.COUNT)


async def _show(call: Call) -> Answer:
    query: FindingsQuery = call.query
    ven = await find(call.conn, call.path["ven"])
    kept = [each for _, each in await trace.newest(call.conn, ven.ven_id, query.last, call.now)]
    return FindingsView(
        ven_id=ven.ven_id,
        ven_name=ven.ven_name,
        traced_since=await trace.traced_since(call.conn, ven.ven_id),
        judged_exchanges=len(kept),
        counted=[_counted(found) for found in await finding.findings_of(call.conn, ven.ven_id)],
        judged=await asyncio.to_thread(judged, kept),  # seconds, where the messages are large
    )


def _counted(found: finding.Found) -> FindingView:
    return FindingView(
        party=Party.VEN,
        rule=found.rule,
        warning=True,
        text=f"{found.message}: {found.text}",
        times=found.count,
        first_at=found.first_at,
        last_at=found.last_at,
    )


def judged(kept: list[trace.Exchange]) -> list[FindingView]:
    """What the checker says of kept exchanges, one row for each party and rule, as they appeared."""
    conversation = Conversation()
    rows: dict[tuple[Party, str], FindingView] = {}
    for each in kept:
        if each.direction != trace.IN:
            continue
        body = each.response if each.http_status == 200 else b""
        for remark in judge_exchange(conversation, Exchange(str(each.at), each.request, body)):
            _count(rows, remark, each)
    return list(rows.values())


def _count(rows: dict[tuple[Party, str], FindingView], remark: Remark, exchange: trace.Exchange) -> None:
    key = (remark.party, remark.finding.rule)
    if key not in rows:
        rows[key] = FindingView(
            party=remark.party,
            rule=remark.finding.rule,
            warning=remark.finding.warning,
            text=remark.finding.text,
            times=0,
            first_at=exchange.at,
            last_at=exchange.at,
        )
    row = rows[key]
    row.times, row.last_at, row.text = row.times + 1, exchange.at, remark.finding.text


ROUTES = (
    Route(
        method="GET",
        path="/vens/{ven}/findings",
        name="showFindings",
        summary="Which rules were broken in the conversation with the VEN.",
        handle=_show,
        answer=FindingsView,
        query=FindingsQuery,
    ),
)
