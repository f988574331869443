"""Operations for what the settlement, the ledger and the audit trail show: sums of statements, one statement
with its revisions, records, checkpoints, and the trail.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from aggregator import record_list, statement_list, statement_view, trail_list
from aggregator.access.permission import Permission
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.dashboard.statements import sums_of
from aggregator.dashboard.typed_number import number_of
from aggregator.record_list import LARGEST, OF_NODES, RecordChoice
from aggregator.statement_list import By, Choice
from aggregator.trail_list import TrailChoice
from ledger import store as ledger_store
from vtn.api_route import Answer, At, Query, Route
from vtn.problem import Problem

MOST = 500


class SumsQuery(Query, Choice):
    """Which statements are summed, and by what."""

    model_config = ConfigDict(extra="forbid")

    by: By = Field(default=By.EVENT, description="`event`, `node`, `month`, or `statement`: all in one.")
    page: int = Field(default=1, ge=1, le=statement_list.MOST_PAGES)


class SumView(Answer):
    """What statements of one currency come to; `of` is the event's id, the node's id or the month."""

    of: str
    label: str
    currency: str
    statements: int
    requested_wh: int
    delivered_wh: int
    incentive_minor: int
    penalty_minor: int
    amount_minor: int
    start: At = Field(description="Begin of the first event.")
    end: At = Field(description="End of the last event.")


class SumsView(Answer):
    """A page of sums, the newest first; `count` lines in all."""

    sums: list[SumView]
    count: int
    next: int | None = Field(description="`page` of the next page.")


class RevisionView(Answer):
    """One revision of a statement, and what changed from the one before."""

    number: int
    revision: int
    outcome: str
    requested_wh: int
    delivered_wh: int
    incentive_minor: int
    penalty_minor: int
    amount_minor: int
    made_at: At
    readings_changed: int
    baselines_changed: int
    days_changed: bool


class StatementFullView(Answer):
    """One statement with its revisions, its record in the log and its booking on the chain."""

    number: int
    event_id: str
    ven_id: str
    ven_name: str
    currency: str
    baseline_method: str
    baseline_days: list[str]
    adjustment_w: int
    revisions: list[RevisionView]
    record: int | None = Field(description="Index of its record in the log.")
    anchored: bool
    agreement_id: str | None = Field(description="The agreement on the chain under which it is booked.")
    booking: str | None = Field(description="Where the booking stands.")


class RecordsQuery(Query, RecordChoice):
    """Which records are listed, the newest first."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, ge=1, le=MOST)


class RecordRowView(Answer):
    """One leaf of the log; an erased one has neither kind nor time."""

    index: int
    key: str
    kind: str | None
    node: str
    at: At | None
    anchored: bool


class RecordsView(Answer):
    """A page of records; `next` is `before` of the next page."""

    records: list[RecordRowView]
    next: int | None


class CheckpointsQuery(Query):
    """Which checkpoints are listed, the largest first."""

    limit: int = Field(default=100, ge=1, le=MOST)
    before: int = Field(default=LARGEST, ge=0, le=LARGEST, description="Only those of fewer records.")


class CheckpointView(Answer):
    """A signed head of the log, and the block that holds it."""

    size: int
    root: str
    published_at: At
    witnesses: list[str]
    block: int | None
    block_at: At | None


class CheckpointsView(Answer):
    """A page of checkpoints; `next` is `before` of the next page."""

    checkpoints: list[CheckpointView]
    next: int | None


class ActionsQuery(Query, TrailChoice):
    """Which actions are listed, the newest first."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, ge=1, le=MOST)


class ActionView(Answer):
    """One line of the audit trail; `record` is its index in the log."""

    number: int
    at: At
    who: str
    name: str
    role: str
    by: str
    what: str
    objects: list[str]
    outcome: str
    detail: str
    form_sha256: str
    record: int | None


class ActionsView(Answer):
    """A page of the trail; `next` is `before` of the next page."""

    actions: list[ActionView]
    next: int | None


async def _sums(call: DeskCall) -> Answer:
    query: SumsQuery = call.query
    sums = sums_of(call.desk)
    if query.by is By.STATEMENT:
        totals = await sums.totals(call.conn, query)
        count = len(totals)
    else:
        totals, count = await sums.grouped(call.conn, query, query.by, query.page)
    more = count > query.page * statement_list.PAGE
    return SumsView(
        sums=[
            SumView.model_validate({**{name: getattr(one, name) for name in one.__slots__}, "of": one.link})
            for one in totals
        ],
        count=count,
        next=query.page + 1 if more else None,
    )


async def _statement(call: DeskCall) -> Answer:
    text = call.path["number"]
    number = number_of(text, LARGEST)
    if number is None:
        raise Problem.field("number", text[:40], "a statement's number is a number")
    found = await statement_view.view(call.conn, number)
    row, account = found.row, found.account
    return StatementFullView(
        number=row.number,
        event_id=row.event_id,
        ven_id=row.ven_id,
        ven_name=row.ven_name,
        currency=row.currency,
        baseline_method=row.baseline_method,
        baseline_days=[day.isoformat() for day in found.revision.days],
        adjustment_w=found.revision.adjustment_w,
        revisions=[_revision(one) for one in found.revisions],
        record=found.leaf,
        anchored=found.anchored,
        agreement_id=account.agreement_id.hex() if account else None,
        booking=(account.settled.status.name.lower() if account.settled else account.state)
        if account
        else None,
    )


def _revision(one: statement_view.Revision) -> RevisionView:
    change = one.change or statement_view.Change()
    return RevisionView.model_validate(
        {
            **{name: getattr(one.row, name) for name in one.row.__slots__},
            "readings_changed": change.readings,
            "baselines_changed": change.baselines,
            "days_changed": change.days_before != change.days_now,
        }
    )


async def _records(call: DeskCall) -> Answer:
    query: RecordsQuery = call.query
    rows, following = await record_list.records(call.conn, query, call.desk.portfolio.calendar, query.limit)
    anchored = await ledger_store.anchored_size(call.conn)
    return RecordsView(
        records=[
            RecordRowView(
                index=row.index,
                key=row.key,
                kind=row.kind,
                node=row.node,
                at=row.at,
                anchored=row.index < anchored,
            )
            for row in rows
        ],
        next=following,
    )


async def _checkpoints(call: DeskCall) -> Answer:
    rows, following = await record_list.checkpoints(call.conn, call.query.before, call.query.limit)
    return CheckpointsView(
        checkpoints=[
            CheckpointView(
                size=row.size,
                root=row.root.hex(),
                published_at=row.published_at,
                witnesses=list(row.witnesses),
                block=row.block,
                block_at=row.block_at,
            )
            for row in rows
        ],
        next=following,
    )


async def _actions(call: DeskCall) -> Answer:
    query: ActionsQuery = call.query
    lines, following = await trail_list.lines(call.conn, query, call.desk.portfolio.calendar, query.limit)
    return ActionsView(
        actions=[
            ActionView.model_validate(
                {**{name: getattr(one, name) for name in one.__slots__}, "objects": list(one.objects)}
                | {"record": one.leaf}
            )
            for one in lines
        ],
        next=following,
    )


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/statements/sums",
            name="sumStatements",
            summary="What statements come to, by event, node or month, one line for each currency.",
            handle=_sums,
            answer=SumsView,
            query=SumsQuery,
        ),
        permission=Permission.SETTLEMENT_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/statements/{number}",
            name="showStatement",
            summary="One statement with its revisions, its record and its booking.",
            handle=_statement,
            answer=StatementFullView,
            parameters={"number": "Number of the statement."},
            refusals=(422,),
        ),
        permission=Permission.SETTLEMENT_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/records",
            name="listRecords",
            summary=f"Records of the log by kind, node ({', '.join(OF_NODES)}) and day.",
            handle=_records,
            answer=RecordsView,
            query=RecordsQuery,
        ),
        permission=Permission.LEDGER_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/checkpoints",
            name="listCheckpoints",
            summary="Signed heads of the log, who cosigned them, and the blocks that hold them.",
            handle=_checkpoints,
            answer=CheckpointsView,
            query=CheckpointsQuery,
        ),
        permission=Permission.LEDGER_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/actions",
            name="listActions",
            summary="The audit trail: who did what, and where the log has it.",
            handle=_actions,
            answer=ActionsView,
            query=ActionsQuery,
        ),
        permission=Permission.AUDIT_READ,
    ),
)
