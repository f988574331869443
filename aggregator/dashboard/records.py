"""The ledger: records with their receipts, verified in the page by the server and by the browser itself;
checkpoints with cosignatures and anchors.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from aiohttp import hdrs, web

from aggregator import record_list
from aggregator.access.permission import Permission
from aggregator.dashboard.account import text
from aggregator.dashboard.filter import chosen
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.typed_number import number_of
from aggregator.record_list import KINDS, LARGEST, RecordChoice
from aggregator.statement_export import visible
from ledger import store
from ledger.errors import LedgerError, UnknownLeafError, VerificationError
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.trust import Trust
from ledger.verify import Status, Step, verification_steps
from vtn.errors import UnknownObject

SCREEN = "ledger/screen.html"
ROWS = "ledger/rows.html"
MOST_TRUST = 64 * 1024


LABELS: Mapping[str, str] = {
    "registration": _("registration"),
    "signal": _("signal"),
    "opt": _("answer of a node"),
    "report": _("report"),
    "override": _("home that stays out"),
    "statement": _("statement"),
    "action": _("action of a person"),
    "checkpoint": _("checkpoint"),
    "anchor": _("anchor"),
    "cosignature": _("cosignature"),
    "erasure": _("erasure"),
    "erased": _("erased"),
}
STEPS: Mapping[str, str] = {
    "record": _("The record's own hash"),
    "inclusion": _("The path from the record to the log's root"),
    "checkpoint": _("The log's signature under that root"),
    "witness": _("Cosignatures of witnesses"),
    "contract": _("The contract on the chain"),
    "seals": _("The seals of the chain's validators"),
    "header": _("The block"),
    "account": _("The contract's account in that block"),
    "storage": _("The checkpoint in the contract's storage"),
    "validity": _("The time at which the key counts"),
    "trust": _("The trust file"),
}
"""What each step of a verification looks at."""


async def screen(visit: Visit) -> web.StreamResponse:
    """Records, the newest first; the rows alone where a filter or a change asks for them."""
    choice, typed, errors = chosen(visit, RecordChoice)
    async with visit.desk.db.read() as conn:
        rows, following = await record_list.records(conn, choice, visit.desk.portfolio.calendar)
        anchored = await store.anchored_size(conn)
    return visit.page(
        ROWS if visit.by_script else SCREEN,
        422 if errors else 200,
        choice=choice,
        values={**choice.model_dump(), **typed},
        errors=errors,
        rows=[] if errors else rows,
        older=address(choice, before=following) if following is not None else "",
        here=address(choice, before=choice.before),
        query=address(choice).partition("?")[2],
        anchored=anchored,
        labels=LABELS,
        kinds=KINDS,
        counts=await _counts(visit),
    )


def address(choice: RecordChoice, **changes: Any) -> str:
    """The address of the list with this choice."""
    values = {**choice.model_dump(), "before": LARGEST, **changes}
    usual = RecordChoice().model_dump()
    query = urlencode({name: value for name, value in values.items() if value != usual[name]})
    return f"/ledger?{query}" if query else "/ledger"


async def _counts(visit: Visit) -> dict[str, int]:
    async with visit.desk.db.read() as conn:
        return {
            "leaves": await store.log_size(conn),
            "anchored": await store.anchored_size(conn),
            "checkpoints": await store.checkpoint_count(conn),
        }


async def record(visit: Visit) -> web.StreamResponse:
    """One record: what it says, its hash, and how to verify it."""
    return await _record_page(visit, {})


async def _record_page(visit: Visit, more: Mapping[str, Any], status: int = 200) -> web.Response:
    index = index_of(visit)
    async with visit.desk.db.read() as conn:
        leaf = await store.leaf(conn, index)
        if leaf is None:
            raise UnknownObject(f"the log has no record {index}")
        digest = await record_list.leaf_hash_at(conn, index)
        anchored = await store.anchored_size(conn) > index
    found = None
    if leaf.canonical is not None and leaf.salt is not None:
        found = Record.from_canonical(leaf.canonical, leaf.salt)
    return visit.page(
        "ledger/record.html",
        status,
        **{
            "index": index,
            "record": found,
            "fields": [] if found is None else [(name, shown(value)) for name, value in found.body.items()],
            "digest": digest.hex(),
            "anchored": anchored,
            "labels": LABELS,
            "steps": None,
            "trust_text": "",
            **more,
        },
    )


def shown(value: object) -> str:
    """A value of a record's body for people; nothing in it is hidden or turns the line."""
    return visible(value) if isinstance(value, str) else visible(json.dumps(value, ensure_ascii=False))


def index_of(visit: Visit) -> int:
    """The leaf that the address names."""
    typed = visit.request.match_info["index"]
    index = number_of(typed, LARGEST)
    if index is None:
        raise UnknownObject(f"the log has no record {typed[:40]!r}")
    return index


async def record_file(visit: Visit) -> web.StreamResponse:
    """The record as the file that a verifier reads."""
    found, _ = await _files(visit)
    return as_file(found.to_file(), f"record-{index_of(visit)}.json", "application/json")


async def receipt_file(visit: Visit) -> web.StreamResponse:
    """Its receipt."""
    _, found = await _files(visit)
    return as_file(found.to_file(), f"record-{index_of(visit)}.receipt", "text/plain")


async def trust_file(visit: Visit) -> web.StreamResponse:
    """The trust file that fits the receipts given now."""
    async with visit.desk.db.read() as conn:
        trust = await visit.desk.log.trust(conn)
    return as_file(trust.to_file(), "trust.toml", "text/plain")


async def checkpoint_file(visit: Visit) -> web.StreamResponse:
    """The newest checkpoint, as others compare it."""
    async with visit.desk.db.read() as conn:
        newest = await store.newest_checkpoint(conn)
    if newest is None:
        raise UnknownObject("nothing has been signed yet")
    return as_file(newest.text().encode(), "checkpoint.txt", "text/plain")


def as_file(content: bytes, name: str, kind: str) -> web.Response:
    """An answer that browsers save."""
    headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"'}
    return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)


async def _files(visit: Visit) -> tuple[Record, Receipt]:
    try:
        async with visit.desk.db.read() as conn:
            return await visit.desk.log.receipt(conn, index_of(visit))
    except UnknownLeafError as error:
        raise UnknownObject(str(error)) from error


async def verify(visit: Visit) -> web.StreamResponse:
    """The server verifies the record's receipt, step by step, with the trust file that was given, else with
    its own.
    """
    sent = await visit.request.post()
    typed = text(sent, "trust").replace("\r\n", "\n")
    more: dict[str, Any] = {"trust_text": typed[:MOST_TRUST], "own_trust": not typed.strip()}
    steps, failure = await verified(visit, typed)
    more |= {
        "steps": [(step, step.status is Status.CHECKED) for step in steps],
        "failure": failure,
        "step_names": STEPS,
    }
    status = 422 if failure is not None else 200
    if visit.by_script:
        return visit.page("ledger/steps.html", status, **more)
    return await _record_page(visit, more, status)


async def verified(visit: Visit, trust_text: str) -> tuple[list[Step], VerificationError | None]:
    """The steps of a verification of the record that the address names, and the one that failed; without a
    trust file by the server's own.
    """
    try:
        found, receipt = await _files(visit)
        async with visit.desk.db.read() as conn:
            own = not trust_text.strip()
            trust = await visit.desk.log.trust(conn) if own else Trust.from_file(trust_text.encode())
    except VerificationError as error:
        return [], error
    except LedgerError as error:
        return [], VerificationError("trust", str(error))
    return await asyncio.to_thread(_taken, found, receipt, trust)


def _taken(found: Record, receipt: Receipt, trust: Trust) -> tuple[list[Step], VerificationError | None]:
    steps: list[Step] = []
    try:
        steps.extend(verification_steps(found, receipt, trust))
    except VerificationError as error:
        return steps, error
    return steps, None


async def checkpoints(visit: Visit) -> web.StreamResponse:
    """Checkpoints, who cosigned them, and the blocks that hold them."""
    typed = visit.request.query.get("before", "")
    before = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < len(str(LARGEST)) else LARGEST
    async with visit.desk.db.read() as conn:
        rows, following = await record_list.checkpoints(conn, before)
    return visit.page(
        "ledger/checkpoint_rows.html" if visit.by_script else "ledger/checkpoints.html",
        rows=rows,
        older=following,
        here=f"/ledger/checkpoints?before={before}" if typed else "/ledger/checkpoints",
        chain=visit.desk.chain_state(),
        counts=await _counts(visit),
    )


def _get(path: str, name: str, handle: Callable[[Visit], Awaitable[web.StreamResponse]]) -> Page:
    return Page(method=hdrs.METH_GET, path=path, name=name, permission=Permission.LEDGER_READ, handle=handle)


PAGES = (
    _get("/ledger", "ledger", screen),
    _get("/ledger/checkpoints", "checkpoints", checkpoints),
    _get("/ledger/trust.toml", "trust file", trust_file),
    _get("/ledger/checkpoint.txt", "newest checkpoint", checkpoint_file),
    _get("/ledger/{index}", "record", record),
    _get("/ledger/{index}/record.json", "record file", record_file),
    _get("/ledger/{index}/receipt", "receipt file", receipt_file),
    Page(
        method=hdrs.METH_POST,
        path="/ledger/{index}/verify",
        name="verify record",
        permission=Permission.LEDGER_READ,
        handle=verify,
    ),
)
