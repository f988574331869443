"""Agreements on the chain as it showed them last: state, clauses, calls, bookings, debts, the next payment,
and the node's tokens, which the chain is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import hdrs, web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.permission import Permission
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.page import Page, Visit
from aggregator.statement_list import PAGE, pages_of
from ledger import agreement_store
from ledger.agreement import State
from ledger.agreement_store import Held
from vtn.errors import UnknownObject
from vtn.schema import ven_table

ID_HEX = 64
LONGEST_PAGE = 8
_HEX = re.compile("[0-9a-f]{64}")
NO_CURRENCY = "X" * 3  # as ISO 4217 has it: of a node that the settings do not name any more


STATES = {
    None: ("wait", _("not on the chain")),
    State.NONE: ("wait", _("not on the chain")),
    State.PROPOSED: ("wait", _("proposed")),
    State.ACTIVE: ("ok", _("active")),
    State.SUSPENDED: ("bad", _("suspended")),
    State.EXPIRED: ("idle", _("expired")),
    State.CLOSED: ("idle", _("closed")),
}


async def screen(visit: Visit) -> web.StreamResponse:
    """A page of agreements, those made last first."""
    typed = visit.request.query.get("page", "1")
    page = max(1, int(typed)) if typed.isascii() and typed.isdigit() and len(typed) < LONGEST_PAGE else 1
    async with visit.desk.db.read() as conn:
        held, count = await agreement_store.newest(conn, PAGE, (page - 1) * PAGE)
        names = await _names(conn, [one.subject for one in held])
    book = visit.desk.book
    return visit.page(
        "ledger/agreement_rows.html" if visit.by_script else "ledger/agreements.html",
        agreements=[(one, state_of(one, visit.now), names.get(one.subject, one.subject)) for one in held],
        states=STATES,
        configured=book is not None,
        book_state=book.state() if book is not None else None,
        currency=_currencies(visit, names),
        unsaid=NO_CURRENCY,
        moment_of=moment_of,
        page=page,
        pages=pages_of(count),
        count=count,
    )


async def _names(conn: AsyncConnection, ven_ids: Sequence[str]) -> dict[str, str]:
    """The names of these nodes by their ids."""
    t = ven_table.c
    known = select(t.ven_id, t.ven_name).where(t.ven_id.in_(ven_ids))
    return {row.ven_id: row.ven_name for row in await conn.execute(known)}


async def one(visit: Visit) -> web.StreamResponse:
    """One agreement with the events that are booked under it."""
    held = await _held(visit)
    async with visit.desk.db.read() as conn:
        accounts = await agreement_store.accounts(conn, held.agreement_id)
        names = await _names(conn, [held.subject])
    return visit.page(
        "ledger/agreement.html",
        held=held,
        state=state_of(held, visit.now),
        why=held.standing.why_suspended(int(visit.now.timestamp())) if held.standing else "",
        name=names.get(held.subject, held.subject),
        accounts=accounts,
        states=STATES,
        currency=_currencies(visit, names).get(held.subject, NO_CURRENCY),
        moment_of=moment_of,
    )


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a node's account has; `minor` is None where the chain does not answer."""

    account: str
    minor: int | None
    currency: str


async def tokens(visit: Visit) -> web.StreamResponse:
    """The node's tokens, as the chain says now."""
    found = await tokens_of(visit)
    return visit.page("ledger/tokens.html", **{name: getattr(found, name) for name in found.__slots__})


async def tokens_of(visit: Visit) -> Tokens:
    """The tokens of the node whose agreement the address names."""
    held, book = await _held(visit), visit.desk.book
    minor = await book.token_balance(held.terms.node) if book is not None else None
    async with visit.desk.db.read() as conn:
        names = await _names(conn, [held.subject])
    currency = _currencies(visit, names).get(held.subject, NO_CURRENCY)
    return Tokens(f"0x{held.terms.node.hex()}", minor, currency)


def state_of(held: Held, now: datetime) -> State | None:
    """Where an agreement stands; None while the chain does not have it."""
    return held.standing.state_at(int(now.timestamp())) if held.standing else None


def moment_of(seconds: int) -> datetime | None:
    """The contract's time; None for its 0, and for one after the year 9999."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None


def _currencies(visit: Visit, names: dict[str, str]) -> dict[str, str]:
    """The currency of each node's agreement; the contract knows none."""
    configured = {node.ven_name: node.agreement.currency for node in visit.desk.settings.nodes}
    return {ven_id: configured[name] for ven_id, name in names.items() if name in configured}


async def _held(visit: Visit) -> Held:
    typed = visit.request.match_info["agreement_id"]
    async with visit.desk.db.read() as conn:
        found = await agreement_store.find(conn, bytes.fromhex(typed)) if _HEX.fullmatch(typed) else None
    if found is None:
        raise UnknownObject(f"there is no agreement {typed[:ID_HEX]!r}")
    return found


PAGES = tuple(
    Page(method=hdrs.METH_GET, path=path, name=name, permission=Permission.LEDGER_READ, handle=handle)
    for path, name, handle in (
        ("/ledger/agreements", "agreements", screen),
        ("/ledger/agreements/{agreement_id}", "agreement", one),
        ("/ledger/agreements/{agreement_id}/tokens", "tokens of an agreement's node", tokens),
    )
)
