"""The configured nodes at a start: who may register, and what is agreed with them.

A few statements for all nodes that are as they were, or new; only the others are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import mirror, store
from aggregator.schema import agreement_table
from aggregator.settings import NodeSettings
from ledger import agreement_store
from vtn import enrolment, registration
from vtn.enrolment import Wanted
from vtn.errors import CertificateRefused
from vtn.schema import ven_table

log = structlog.get_logger(__name__)


async def enrol(
    conn: AsyncConnection, nodes: Sequence[NodeSettings], now: datetime, *, on_chain: bool = False
) -> None:
    """Allow the configured certificates to register, and put the agreements in force."""
    wanted = [Wanted(node.ven_name, node.fingerprint, node.ven_id) for node in nodes]
    others = await enrolment.enrol_new(conn, wanted, now)
    known = await _ids(conn) if others else {}
    for one in others:
        await _enrol_again(conn, one, known, now)
    await agree(conn, nodes, now, on_chain=on_chain)


async def agree(
    conn: AsyncConnection, nodes: Sequence[NodeSettings], now: datetime, *, on_chain: bool
) -> None:
    """Put in force for each node what is configured or, with agreements `on_chain`, what it has accepted.

    An unchanged agreement stays the version it is.
    """
    ids = await _ids(conn)
    t = agreement_table
    newest = select(t.c.ven_id, t.c.terms).order_by(t.c.agreement_id)
    in_force = {row.ven_id: row.terms for row in await conn.execute(newest)}
    accepted = await agreement_store.all_in_force(conn) if on_chain else {}
    changed = []
    for node in nodes:
        ven_id, agreed = ids[node.ven_name], node.agreement.agreement()
        held = accepted.get(ven_id)
        if held is not None and held.standing is not None and held.standing.accepted_at:
            agreed = mirror.agreement_of(held.terms, agreed.currency)
        terms = store.terms_text(agreed)
        if in_force.get(ven_id) != terms:
            in_force[ven_id] = terms
            changed.append({"ven_id": ven_id, "terms": terms, "since": now})
    if changed:
        await conn.execute(insert(t), changed)


async def _enrol_again(conn: AsyncConnection, node: Wanted, known: Mapping[str, str], now: datetime) -> None:
    """A certificate that the operator has withdrawn since stays out, and the rest goes on."""
    try:
        await registration.enrol(conn, node.ven_name, node.fingerprint, now, ven_id=node.ven_id)
    except CertificateRefused as error:
        if node.ven_name not in known:
            raise
        log.warning("a node's certificate is not enrolled", node=node.ven_name, error=str(error))


async def _ids(conn: AsyncConnection) -> dict[str, str]:
    rows = await conn.execute(select(ven_table.c.ven_name, ven_table.c.ven_id))
    return {row.ven_name: row.ven_id for row in rows}
