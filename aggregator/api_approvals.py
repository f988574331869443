"""Operations for what keeps an event from doing harm: its effect before it is sent, the second person, the
breaker.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from aggregator import approval, budget, preview
from aggregator.access.permission import Permission
from aggregator.api_requests import EXAMPLE, ReductionBody, SentView
from aggregator.approval import Proposal
from aggregator.clearance import Sender
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.reach import Reach
from aggregator.request import Asked
from vtn.api_route import Answer, At, Route

PROPOSAL = {"approval_id": "Id of the proposal."}
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class ProposalBody(ReductionBody):
    """A reduction that two people decide about."""

    previewed: Digest | None = Field(
        default=None, description="`digest` of the effect that was looked at: 409 where it would be another."
    )


class OverlapView(Answer):
    """Another event in the same time."""

    event_id: str
    start: At
    end: At
    power_kw: float
    nodes: int
    test_event: bool


class ExcessView(Answer):
    """A part of the budget that would be exceeded."""

    limit: str = Field(description="`power` and `ramp` in W, `events` of the day.")
    wanted: int
    allowed: int


class EffectView(Answer):
    """What an event would do; nothing is sent."""

    digest: str = Field(description="SHA-256 of exactly this event.")
    asked_kw: float
    shortfall_kw: float
    p10_kw: float
    p50_kw: float
    p90_kw: float
    nodes: int
    fresh: int = Field(description="Nodes in contact that poll before the start.")
    late: list[str] = Field(description="Names of nodes that have missed polls.")
    too_slow: list[str] = Field(description="Names of nodes whose next poll comes after the start.")
    silent: list[str] = Field(description="Names of nodes that count as nothing.")
    leaving: list[str] = Field(default=[], description="Names of nodes that the change would take out.")
    clauses: dict[str, int] = Field(description="How many nodes each clause keeps out.")
    overlaps: list[OverlapView]
    excesses: list[ExcessView]
    breaker_open: bool
    needs_second_person: bool


class ProposalView(Answer):
    """An event that waits, or has waited, for a second person."""

    approval_id: str
    state: str = Field(description="`waiting`, `sent`, `refused`, `void` or `expired`.")
    start: At
    end: At
    power_kw: float
    nodes: int
    digest: str
    proposed_by: str
    proposed_at: At
    expires_at: At
    decided_by: str | None
    decided_at: At | None
    event_id: str | None
    changes: str | None = Field(default=None, description="The event that would change; none: a new one.")


class ProposalsView(Answer):
    """The newest first."""

    approvals: list[ProposalView]


class BreakerView(Answer):
    """The breaker of the budget."""

    open: bool
    reason: str | None = None
    opened_at: At | None = None
    opened_by: str | None = None


async def _effect(call: DeskCall) -> Answer:
    return await effect_of(call, call.body.asked(call.now))


async def effect_of(call: DeskCall, asked: Asked) -> Answer:
    """What a request would do, whether new or a change."""
    desk = call.desk
    found = await preview.preview(
        call.conn,
        desk.portfolio,
        asked,
        call.now,
        heard=desk.office.contacts(),
        poll_period_s=desk.settings.vtn.poll_period_s,
    )

    def names(reach: Reach) -> list[str]:
        return [node.ven_name for node in found.reaching(reach)]

    return EffectView(
        digest=found.digest,
        asked_kw=found.dispatch.power_w / 1000,
        shortfall_kw=found.dispatch.shortfall_w / 1000,
        p10_kw=found.effect.p10_w / 1000,
        p50_kw=found.effect.p50_w / 1000,
        p90_kw=found.effect.p90_w / 1000,
        nodes=len(found.nodes),
        fresh=len(found.reaching(Reach.FRESH)),
        late=names(Reach.LATE),
        too_slow=names(Reach.TOO_SLOW),
        silent=names(Reach.SILENT),
        leaving=[node.ven_name for node in found.leaving],
        clauses={str(clause): count for clause, count in found.clause_counts.items()},
        overlaps=[
            OverlapView(
                event_id=one.event_id,
                start=one.period.start,
                end=one.period.end,
                power_kw=one.power_w / 1000,
                nodes=one.nodes,
                test_event=one.test_event,
            )
            for one in found.overlaps
        ],
        excesses=[
            ExcessView(limit=str(one.limit), wanted=one.wanted, allowed=one.allowed) for one in found.excesses
        ],
        breaker_open=found.breaker is not None,
        needs_second_person=found.needs_second,
    )


async def _propose(call: DeskCall) -> Answer:
    body: ProposalBody = call.body
    sender = Sender(call.principal.user_id or "")
    made = await approval.propose(
        call.conn,
        call.desk.portfolio,
        body.asked(call.now),
        call.now,
        sender=sender,
        previewed=body.previewed,
    )
    call.visit.about(f"proposal={made.approval_id}")
    return proposal_view(made, call)


async def _list(call: DeskCall) -> Answer:
    return ProposalsView(approvals=[proposal_view(one, call) for one in await approval.proposals(call.conn)])


async def _show(call: DeskCall) -> Answer:
    return proposal_view(await approval.find(call.conn, call.path["approval_id"]), call)


async def _approve(call: DeskCall) -> Answer:
    desk = call.desk
    context, who = desk.settings.programme.market_context, call.principal.user_id or ""
    answer = await approval.approve(
        call.conn, desk.portfolio, context, call.path["approval_id"], call.now, who=who
    )
    call.visit.about(f"event={answer['event_id']}")
    return SentView.model_validate(answer)


async def _refuse(call: DeskCall) -> Answer:
    approval_id = call.path["approval_id"]
    await approval.refuse(call.conn, approval_id, call.principal.user_id or "", call.now)
    return proposal_view(await approval.find(call.conn, approval_id), call)


async def _breaker(call: DeskCall) -> Answer:
    opened = await budget.breaker(call.conn)
    if opened is None:
        return BreakerView(open=False)
    return BreakerView(
        open=True, reason=opened.reason, opened_at=opened.opened_at, opened_by=opened.opened_by
    )


async def _close(call: DeskCall) -> Answer:
    await budget.close_breaker(call.conn, call.principal.user_id or "", call.now)
    return BreakerView(open=False)


def proposal_view(one: Proposal, call: DeskCall) -> ProposalView:
    """A proposal as it stands now."""
    period = one.asked.reduction.period
    return ProposalView(
        approval_id=one.approval_id,
        state=one.state_at(call.now),
        start=period.start,
        end=period.end,
        power_kw=one.power_w / 1000,
        nodes=one.nodes,
        digest=one.digest,
        proposed_by=one.proposed_by,
        proposed_at=one.proposed_at,
        expires_at=one.expires_at,
        decided_by=one.decided_by,
        decided_at=one.decided_at,
        event_id=one.event_id,
        changes=one.asked.change.event_id if one.asked.change else None,
    )


OPERATIONS = (
    Operation(
        route=Route(
            method="POST",
            path="/requests/effect",
            name="requestEffect",
            summary="What to expect of a request, whom it reaches, what stands in its way; nothing is sent.",
            handle=_effect,
            answer=EffectView,
            body=ReductionBody,
            example=EXAMPLE,
            refusals=(404, 409),
        ),
        permission=Permission.FLEET_READ,
        reads=True,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/approvals",
            name="proposeRequest",
            summary="Put a request before a second person.",
            handle=_propose,
            answer=ProposalView,
            body=ProposalBody,
            status=201,
            example=EXAMPLE,
            refusals=(404, 409),
        ),
        permission=Permission.EVENT_WRITE,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/approvals",
            name="listApprovals",
            summary="The newest hundred requests that were put before a second person.",
            handle=_list,
            answer=ProposalsView,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/approvals/{approval_id}",
            name="showApproval",
            summary="One of them.",
            handle=_show,
            answer=ProposalView,
            parameters=PROPOSAL,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/approvals/{approval_id}/approve",
            name="approveRequest",
            summary="Send it as the second person; a fresh second factor is needed.",
            handle=_approve,
            answer=SentView,
            parameters=PROPOSAL,
            refusals=(409,),
        ),
        permission=Permission.EVENT_APPROVE,
        fresh=True,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/approvals/{approval_id}/refuse",
            name="refuseRequest",
            summary="Decide against it, or take one's own back.",
            handle=_refuse,
            answer=ProposalView,
            parameters=PROPOSAL,
            refusals=(409,),
        ),
        permission=Permission.EVENT_APPROVE,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/breaker",
            name="showBreaker",
            summary="Whether the budget's breaker is open, and why.",
            handle=_breaker,
            answer=BreakerView,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/breaker/close",
            name="closeBreaker",
            summary="Close the breaker; a fresh second factor is needed.",
            handle=_close,
            answer=BreakerView,
        ),
        permission=Permission.SETTINGS_WRITE,
        fresh=True,
    ),
)
