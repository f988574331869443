"""Statements in the database: made when a call's readings are complete or its deadline has passed, and
again when late data change what it says.

Rules: a statement is a function of the call, the agreement it was made under, the readings and the opts,
never of when something arrived, so it can be made again after any crash with the same result. A revision is
written once: whoever writes it looks again, as the only writer, whether it still follows the last one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import store
from aggregator.baseline import Baseline, Question, adjustment_window, baseline
from aggregator.errors import BaselineError
from aggregator.performance import Performance, home_weights, measure, unmeasured
from aggregator.profile import QUARTER, Calendar, LoadProfile, Period
from aggregator.readings import LOAD, METERED, metered
from aggregator.request import event_of
from aggregator.settings import ProgrammeSettings
from aggregator.settlement import Statement, settle, shares
from vtn import journal
from vtn import opt as vtn_opt
from vtn.store import Database

LOOK_BACK = timedelta(days=45)


@dataclass(frozen=True, slots=True)
class Draft:
    """A statement that could be written."""

    call: store.StoredCall
    statement: Statement
    detail: dict[str, Any]


async def settle_due(
    db: Database, programme: ProgrammeSettings, reports: Sequence[journal.Fact], now: datetime
) -> list[Statement]:
    """Write every first statement that is due at ``now``, and new revisions where ``reports`` ask for one."""
    deadline = timedelta(seconds=programme.settlement_deadline_s)
    made: list[Statement] = []
    async with db.read() as conn:
        due = [
            call
            for call in await store.calls(conn, open_until=now)
            if now >= call.period.end + deadline or await _is_complete(conn, programme.calendar(), call)
        ]
        drafts = [await drafted(conn, programme, call) for call in [*due, *await _touched(conn, reports)]]
    for draft in drafts:
        made += await _write(db, draft, now)
    return made


async def _is_complete(conn: AsyncConnection, calendar: Calendar, call: store.StoredCall) -> bool:
    """Whether a reading, good or bad, came for each quarter hour of event and adjustment window."""
    window = adjustment_window(call.period, call.notified_at, calendar)
    needed = {*call.period.slots(), *(window.slots() if window else ())}
    if not needed:
        return False
    readings = await metered(conn, [call.ven_id], [LOAD], Period(min(needed), call.period.end))
    return needed <= readings.arrived.get((call.ven_id, LOAD), set())


async def drafted(conn: AsyncConnection, programme: ProgrammeSettings, call: store.StoredCall) -> Draft:
    """The statement of a call as the database stands."""
    calendar = programme.calendar()
    others = [
        other.period
        for other in await store.calls(conn, ven_id=call.ven_id)
        if other.event_id != call.event_id and other.cancelled_at is None
    ]
    period = Period(calendar.shifted(call.period.start, -LOOK_BACK.days), call.period.end)
    readings = await metered(conn, [call.ven_id], [LOAD], period)
    load = readings.profile(call.ven_id, LOAD, period)
    question = Question(load, call.period, call.notified_at, calendar, others)
    said = _said([e for e in await vtn_opt.opts(conn, call.event_id) if e.ven_id == call.ven_id], call)
    expected, performance = _measured(programme, question, call, _opted_out_at(said))
    performance = replace(performance, reached=bool(said))
    agreement = await store.agreement(conn, call.agreement_id)
    statement = settle(event_of(call, programme.market_context), performance, agreement)
    homes = await _shares(conn, calendar, call, expected, statement.amount_minor)
    return Draft(call, statement, _detail(performance, expected, homes))


def _measured(
    programme: ProgrammeSettings, question: Question, call: store.StoredCall, opted_out_at: datetime | None
) -> tuple[Baseline | None, Performance]:
    try:
        expected = baseline(programme.baseline, question, programme.adjustment_cap)
    except BaselineError:
        return None, unmeasured(call.event_id, call.ven_id, opted_out_at)
    return expected, measure(call.event_id, call.ven_id, expected, question.load, opted_out_at)


def _said(entries: Iterable[vtn_opt.OptEntry], call: store.StoredCall) -> list[vtn_opt.OptEntry]:
    """What the node said to the event before it was over; none if the event never reached it in time.

    Answers to the cancellation say nothing, and words after the end change nothing that was done by then.
    """
    return [entry for entry in entries if not entry.modification_number and entry.at < call.period.end]


def _opted_out_at(said: Sequence[vtn_opt.OptEntry]) -> datetime | None:
    """When the node said that it stays out; None if its last word is that it takes part.

    An opt of its own (CreateOpt) outweighs its answers to the event; one that is about some of its resources
    only does not speak for the node.
    """
    whole = [entry for entry in said if entry.whole]
    own = [entry for entry in whole if entry.source == vtn_opt.CREATE_OPT]
    out_since = None
    for entry in own or whole:
        if entry.opt_type != "optOut":
            out_since = None
        elif out_since is None:
            out_since = entry.at
    return out_since


async def _shares(
    conn: AsyncConnection,
    calendar: Calendar,
    call: store.StoredCall,
    expected: Baseline | None,
    amount_minor: int,
) -> dict[str, int]:
    """The homes' shares by what each used less than on the node's baseline days, at the same times of day."""
    days = expected.days if expected is not None else ()
    now_used = await metered(conn, [call.ven_id], None, call.period)
    names = sorted(r_id for _, r_id in now_used.profiles if r_id != LOAD)
    if not names:
        return {}
    earlier = [await _on_day(conn, calendar, call, day, names) for day in days]
    usual = {name: _mean([profiles[name] for profiles in earlier], call.period) for name in names}
    used = {name: now_used.profile(call.ven_id, name, call.period) for name in names}
    return shares(amount_minor, home_weights(usual, used, call.period))


async def _on_day(
    conn: AsyncConnection, calendar: Calendar, call: store.StoredCall, day: date, names: Sequence[str]
) -> dict[str, LoadProfile]:
    """What the homes used on ``day`` at the event's times of day."""
    back = (day - calendar.day_of(call.period.start)).days
    then = Period(calendar.shifted(call.period.start, back), calendar.shifted(call.period.end, back))
    found = await metered(conn, [call.ven_id], names, then)
    return {name: found.profile(call.ven_id, name, then) for name in names}


def _mean(profiles: Sequence[LoadProfile], period: Period) -> LoadProfile:
    """Slot by slot over what is known, laid over ``period``; NaN where nothing is."""
    kw = []
    for index, _ in enumerate(period.slots()):
        known = [p.kw[index] for p in profiles if index < len(p.kw) and not math.isnan(p.kw[index])]
        kw.append(math.fsum(known) / len(known) if known else math.nan)
    return LoadProfile(next(period.slots(), period.start), QUARTER, tuple(kw))


def _detail(performance: Performance, expected: Baseline | None, homes: dict[str, int]) -> dict[str, Any]:
    return {
        "intervals": [
            {
                "start": interval.start.isoformat(),
                "baseline_wh": interval.baseline_wh,
                "metered_wh": interval.metered_wh,
                "reduction_wh": interval.reduction_wh,
            }
            for interval in performance.intervals
        ],
        "baseline_days": [day.isoformat() for day in expected.days] if expected else [],
        "adjustment_w": round(expected.adjustment_kw * 1000) if expected else 0,
        "shares_minor": homes,
    }


async def _write(db: Database, draft: Draft, now: datetime) -> list[Statement]:
    """The statement as the next revision, unless another one was written meanwhile or it says nothing new."""
    call = draft.call
    async with db.write() as conn:
        (current,) = [c for c in await store.calls(conn, event_id=call.event_id) if c.ven_id == call.ven_id]
        if current != call:
            return []
        last = [
            s
            for s in await store.statements(conn, event_id=call.event_id)
            if s.statement.ven_id == call.ven_id
        ]
        if last and _same(last[-1], draft):
            return []
        return [await store.add_statement(conn, draft.statement, draft.detail, now)]


def _same(stored: store.StoredStatement, draft: Draft) -> bool:
    old, new = stored.statement.body(), draft.statement.body()
    return {**old, "revision": 0} == {**new, "revision": 0} and stored.detail == draft.detail


async def _touched(conn: AsyncConnection, reports: Sequence[journal.Fact]) -> list[store.StoredCall]:
    """Settled calls whose event, adjustment window or like days one of these reports reaches into."""
    spans: dict[str, list[Period]] = {}
    for fact in reports:
        for span in _metered_spans(fact):
            spans.setdefault(fact.ven_id, []).append(span)
    touched = []
    for ven_id, reported in spans.items():
        for call in await store.calls(conn, ven_id=ven_id):
            reach = Period(call.period.start - LOOK_BACK, call.period.end)
            if call.settled_revision and any(span.overlaps(reach) for span in reported):
                touched.append(call)
    return touched


def _metered_spans(fact: journal.Fact) -> list[Period]:
    """What a report fact says to have metered, as at most one period."""
    body = fact.body
    if fact.kind != "report" or body["report_name"] not in METERED or not (body["start"] and body["end"]):
        return []
    start, end = datetime.fromisoformat(body["start"]), datetime.fromisoformat(body["end"])
    return [Period(start, end)] if start < end else []
