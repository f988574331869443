"""Statements in the database: made when a call's readings are complete or its deadline has passed, and
again when late data change what it says.

Rules: a statement is a function of the call, the agreement it was made under, the readings and the opts,
never of when something arrived, so it can be made again after any crash with the same result. A revision is
written once: whoever writes it looks again, as the only writer, whether it still follows the last one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import override_book, share, statement_contract, store
from aggregator.baseline import Baseline, Question, adjustment_window, baseline
from aggregator.errors import BaselineError
from aggregator.performance import Performance, home_weights, measure, unmeasured
from aggregator.profile import Calendar, Period
from aggregator.readings import LOAD, METERED, metered
from aggregator.sent_event import event_of
from aggregator.settings import ProgrammeSettings
from aggregator.settlement import Statement, settle, shares
from aggregator.usual import Called, home_use
from ledger import agreement_store
from ledger.agreement_store import Account
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
        made += await _written(db, programme, draft, now)
    return made


async def follow_contract(db: Database, programme: ProgrammeSettings, now: datetime) -> list[Statement]:
    """Write new revisions where the contract has waived a penalty since, or waives it no more."""
    made: list[Statement] = []
    async with db.read() as conn:
        seen = await agreement_store.unread(conn)
        calls = [await _lagging(conn, account) for account in seen]
        drafts = [await drafted(conn, programme, call) for call in calls if call is not None]
    for draft in drafts:
        made += await _written(db, programme, draft, now)
    if seen:
        async with db.write() as conn:
            await agreement_store.mark_read(conn, seen)
    return made


async def _lagging(conn: AsyncConnection, account: Account) -> store.StoredCall | None:
    """The call of an account whose statement has to follow; None where it says what the contract says."""
    if not await statement_contract.lags_behind(conn, account):
        return None
    calls = await store.calls(conn, ven_id=account.subject, event_id=account.event_id)
    return next(iter(calls), None)


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
        Period(other.period.start, min(other.period.end, other.cancelled_at or other.period.end))
        for other in await store.calls(conn, ven_id=call.ven_id)
        if other.event_id != call.event_id
        and (other.cancelled_at is None or other.cancelled_at > other.period.start)
    ]
    period = Period(calendar.shifted(call.period.start, -LOOK_BACK.days), call.period.end)
    readings = await metered(conn, [call.ven_id], [LOAD], period)
    load = readings.profile(call.ven_id, LOAD, period)
    question = Question(load, call.period, call.notified_at, calendar, others)
    of_node = [e for e in await vtn_opt.opts(conn, call.event_id) if e.ven_id == call.ven_id]
    versions = await override_book.versions(conn, call.ven_id, call.event_id, call.modification_number)
    said = _said(of_node, call, versions)
    expected, performance = _measured(programme, question, call, _opted_out_at(said))
    performance = replace(performance, reached=any(_shows_it(entry, call, versions) for entry in said))
    agreement = await store.agreement(conn, call.agreement_id)
    statement = settle(event_of(call, programme.market_context), performance, agreement)
    waived: dict[str, int] = {}
    if await statement_contract.is_waived(conn, call.ven_id, call.event_id):
        statement, waived = statement_contract.without_penalty(statement)
    out = (await override_book.standing(conn, call.event_id, call.ven_id)).get(call.ven_id, [])
    taking_part = await _weights(conn, Called(call.ven_id, call.period, calendar), expected, out)
    homes = shares(statement.amount_minor, taking_part)
    return Draft(call, statement, {**_detail(performance, expected, homes), **_stayed_out(out), **waived})


def _measured(
    programme: ProgrammeSettings, question: Question, call: store.StoredCall, opted_out_at: datetime | None
) -> tuple[Baseline | None, Performance]:
    try:
        expected = baseline(programme.baseline, question, programme.adjustment_cap)
    except BaselineError:
        return None, unmeasured(call.event_id, call.ven_id, opted_out_at)
    return expected, measure(call.event_id, call.ven_id, expected, question.load, opted_out_at)


def _said(
    entries: Iterable[vtn_opt.OptEntry], call: store.StoredCall, versions: Collection[int]
) -> list[vtn_opt.OptEntry]:
    """What the node said to the event, as it was changed last, before it was over.

    Answers to earlier versions and to the cancellation say nothing, but a CreateOpt outlives changes
    (OPT-13); words after the end change nothing that was done by then. `versions` are those that count as
    the last: they differ in the homes alone.
    """
    number = call.modification_number
    return [
        entry
        for entry in entries
        if entry.at < call.period.end
        and (
            entry.modification_number in (None, *versions)
            or (entry.source == vtn_opt.CREATE_OPT and (entry.modification_number or 0) < number)
        )
    ]


def _shows_it(entry: vtn_opt.OptEntry, call: store.StoredCall, versions: Collection[int]) -> bool:
    """Whether a word shows that the node has the newest version, not only one before."""
    if entry.modification_number is None:
        return not min(versions) or entry.at >= call.notified_at
    return entry.modification_number in versions


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


async def _weights(
    conn: AsyncConnection, called: Called, expected: Baseline | None, out: Sequence[override_book.Standing]
) -> dict[str, int]:
    """What each home used less than on the node's baseline days, at the same times of day; those that stayed
    out have no share.
    """
    days = expected.days if expected is not None else ()
    now_used = await metered(conn, [called.ven_id], None, called.period)
    without = {LOAD, *(one.r_id for one in out)}
    names = sorted(r_id for _, r_id in now_used.profiles if r_id not in without)
    if not names:
        return {}
    use = await home_use(conn, called, days, names)
    return home_weights(use.usual, use.used, called.period)


def _stayed_out(out: Sequence[override_book.Standing]) -> dict[str, list[str]]:
    """The homes that had no part, as the journal names them; nothing where all had."""
    return {"overrides": sorted(one.commitment for one in out)} if out else {}


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


async def _written(
    db: Database, programme: ProgrammeSettings, draft: Draft, now: datetime
) -> list[Statement]:
    """The statement as the next revision, unless it says nothing new; made again where the call has changed
    meanwhile, or got another one.
    """
    while (made := await _write(db, draft, now)) is None:
        async with db.read() as conn:
            (call,) = await store.calls(conn, ven_id=draft.call.ven_id, event_id=draft.call.event_id)
            draft = await drafted(conn, programme, call)
    return made


async def _write(db: Database, draft: Draft, now: datetime) -> list[Statement] | None:
    """What was written; None if the call is not what the draft was made of."""
    call = draft.call
    async with db.write() as conn:
        (current,) = await store.calls(conn, event_id=call.event_id, ven_id=call.ven_id)
        if current != call:
            return None
        last = await store.statements(conn, event_id=call.event_id, ven_id=call.ven_id)
        if last and _same(last[-1], draft):
            return []
        return [await store.add_statement(conn, draft.statement, share.salted(draft.detail), now)]


def _same(stored: store.StoredStatement, draft: Draft) -> bool:
    old, new = stored.statement.body(), draft.statement.body()
    return {**old, "revision": 0} == {**new, "revision": 0} and share.same(stored.detail, draft.detail)


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
