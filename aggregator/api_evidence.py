"""Operations for money and evidence: statements, receipts, the trust file, and sealing now."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from pydantic import Field

from aggregator import share, store
from aggregator.access.permission import Permission
from aggregator.api_platform import CountsView
from aggregator.dashboard.operation import DeskCall, Errand, Operation
from aggregator.dashboard.typed_number import number_of
from vtn import original, registration
from vtn.api_route import Answer, At, Body, Query, Route
from vtn.problem import Problem

LARGEST_INDEX = 10**15


class StatementView(Answer):
    """One revision of a statement: its ledger record's fields, and how it came about."""

    number: int
    event_id: str
    ven_id: str
    ven_name: str
    outcome: str
    requested_wh: int
    delivered_wh: int
    baseline_method: str
    incentive_minor: int
    penalty_minor: int
    amount_minor: int
    currency: str
    revision: int
    made_at: At
    detail: dict[str, Any] = Field(description="Intervals, days of the baseline, adjustment, homes' shares.")


class StatementPage(Answer):
    """Statements as they were made; `next` is `after` of the next page."""

    statements: list[StatementView]
    next: int | None


class StatementQuery(Query):
    """Which statements are listed."""

    event_id: str | None = Field(default=None, max_length=128, description="Of this event only.")
    limit: int = Field(default=100, ge=1, le=1000)
    after: int = Field(default=0, ge=0, le=LARGEST_INDEX, description="Number of the last one before.")


class ReceiptView(Answer):
    """A leaf's record and receipt, as the files that a verifier reads."""

    record: str
    receipt: str
    original: str | None = Field(
        description="In base64 the message that its sender signed, while it is kept."
    )


class TrustView(Answer):
    """The trust file that fits the receipts given now."""

    trust: str


class SealBody(Body):
    """How long to wait for the chain."""

    timeout_s: int = Field(default=60, ge=1, le=600, description="Seconds.")


class SealView(CountsView):
    """What is sealed; `complete`: the chain has all of it."""

    complete: bool


async def _statements(call: DeskCall) -> Answer:
    query: StatementQuery = call.query
    found = await store.statements(
        call.conn, event_id=query.event_id, after=query.after, limit=query.limit + 1
    )
    names = {ven.ven_id: ven.ven_name for ven in await registration.vens(call.conn)}
    page = [
        StatementView.model_validate(
            {
                **stored.statement.body(),
                "number": stored.seq,
                "ven_name": names.get(stored.statement.ven_id, ""),
                "made_at": stored.made_at,
                "detail": share.shown(stored.detail),
            }
        )
        for stored in found[: query.limit]
    ]
    return StatementPage(statements=page, next=page[-1].number if len(found) > query.limit else None)


async def _receipt(call: DeskCall) -> Answer:
    text = call.path["index"]
    index = number_of(text, LARGEST_INDEX)
    if index is None:
        raise Problem.field("index", text[:40], "a leaf's index is a number")
    record, receipt = await call.desk.log.receipt(call.conn, index)
    raw_sha256 = record.body.get("raw_sha256")
    raw = await original.find(call.conn, raw_sha256) if isinstance(raw_sha256, str) else None
    return ReceiptView(
        record=record.to_file().decode(),
        receipt=receipt.to_file().decode(),
        original=None if raw is None else b64encode(raw).decode(),
    )


async def _trust(call: DeskCall) -> Answer:
    return TrustView(trust=(await call.desk.log.trust(call.conn)).text())


async def _seal(errand: Errand) -> Answer:
    complete = await errand.desk.seal(errand.body.timeout_s)
    async with errand.desk.db.read() as conn:
        counts = await errand.desk.overview.counts(conn)
    return SealView.model_validate({"complete": complete, **counts})


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/statements",
            name="listStatements",
            summary="Statements in the order in which they were made, each revision.",
            handle=_statements,
            answer=StatementPage,
            query=StatementQuery,
        ),
        permission=Permission.SETTLEMENT_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/receipts/{index}",
            name="showReceipt",
            summary="A leaf's record and receipt.",
            handle=_receipt,
            answer=ReceiptView,
            parameters={"index": "Number of the leaf, from 0."},
            refusals=(422,),
        ),
        permission=Permission.LEDGER_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/trust",
            name="showTrust",
            summary="The trust file that fits the receipts given now.",
            handle=_trust,
            answer=TrustView,
        ),
        permission=Permission.LEDGER_READ,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/seal",
            name="sealAll",
            summary="Seal, sign and anchor all there is.",
            handle=_seal,
            answer=SealView,
            body=SealBody,
            example={"timeout_s": 60},
        ),
        permission=Permission.SETTINGS_WRITE,
        errand=True,
    ),
)
