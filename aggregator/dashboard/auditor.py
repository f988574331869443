"""Where an auditor begins: what there is to check and what to take along; and receipts of a selection as an
archive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import hdrs, web
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import record_list
from aggregator.access.permission import Permission
from aggregator.dashboard import records
from aggregator.dashboard.operation import FileAnswer
from aggregator.dashboard.page import Page, Visit
from aggregator.evidence_zip import MOST_ORIGINAL_MB, Evidence, as_zip
from aggregator.record_list import RecordChoice
from ledger import store
from ledger.errors import UnknownLeafError
from ledger.receipt import Receipt
from ledger.record import Record
from vtn import original
from vtn.errors import UnknownObject

MOST = 1000
"""Receipts of one archive: a few kB each."""
A_STEP = 50  # that are made in one go, while others get their turn


async def start(visit: Visit) -> web.StreamResponse:
    """What to check, with links, and the downloads."""
    async with visit.desk.db.read() as conn:
        newest = await store.newest_checkpoint(conn)
        counts = await visit.desk.overview.counts(conn)
    key = visit.desk.log.verifier
    return visit.page(
        "ledger/auditor.html",
        counts=counts,
        newest=newest,
        key=str(key),
        origin=visit.desk.log.origin,
        chain=visit.desk.chain_state(),
        most=MOST,
    )


async def archive(visit: Visit) -> web.StreamResponse:
    """Records and receipts of what the list shows, the newest first."""
    try:
        choice = RecordChoice.model_validate(
            {name: value[:1000] for name, value in visit.request.query.items()}
        )
    except ValidationError:
        return await records.screen(visit)
    return await (await archived(visit, choice)).send(visit.request)


async def archived(visit: Visit, choice: RecordChoice) -> FileAnswer:
    """The chosen records with their receipts as an archive."""
    content = await asyncio.to_thread(as_zip, await _gathered(visit, choice))
    name = f"receipts-{visit.now:%Y-%m-%d}.zip"
    return FileAnswer(media_type="application/zip", name=name, content=content)


async def _gathered(visit: Visit, choice: RecordChoice) -> Evidence:
    log, found, left_out = visit.desk.log, [], 0
    async with visit.desk.db.read() as conn:
        newest = await store.newest_checkpoint(conn)
        if newest is None:
            raise UnknownObject("nothing has been signed yet, so there are no receipts")
        trust = await log.trust(conn)
        under = await log.anchored(conn)
        rows, _ = await record_list.records(conn, choice, visit.desk.portfolio.calendar, MOST)
        for number, row in enumerate(rows):
            try:
                found.append(await log.receipt(conn, row.index, under))
            except UnknownLeafError:
                left_out += 1
            if number % A_STEP == 0:
                await asyncio.sleep(0)
        originals, without = await _originals(conn, found)
    checkpoint = newest.text().encode()
    return Evidence(log.origin, visit.now, found, left_out, trust, checkpoint, originals, without)


async def _originals(
    conn: AsyncConnection, found: Sequence[tuple[Record, Receipt]]
) -> tuple[dict[int, bytes], int]:
    """The signed messages that these records rest on; of how many they are gone, or do not fit in."""
    originals: dict[int, bytes] = {}
    room, without = MOST_ORIGINAL_MB << 20, 0
    for record, receipt in found:
        raw_sha256 = record.body.get("raw_sha256")
        if not isinstance(raw_sha256, str):
            continue
        raw = await original.find(conn, raw_sha256) if room > 0 else None
        room -= len(raw or b"")
        if raw is not None and room >= 0:
            originals[receipt.index] = raw
        elif "source" in record.body:
            without += 1
    return originals, without


PAGES = (
    Page(
        method=hdrs.METH_GET,
        path="/auditor",
        name="auditor's start",
        permission=Permission.AUDIT_READ,
        handle=start,
    ),
    Page(
        method=hdrs.METH_GET,
        path="/ledger/receipts.zip",
        name="receipts of a selection",
        permission=Permission.LEDGER_READ,
        handle=archive,
    ),
)
