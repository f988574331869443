"""Operations for evidence: a record verified step by step, an auditor's archive, and what a node has on the
chain.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from aggregator.access.permission import Permission
from aggregator.dashboard import agreements, auditor, records
from aggregator.dashboard.operation import Errand, FileAnswer, Operation
from aggregator.record_list import RecordChoice
from ledger.verify import Status
from vtn.api_route import Answer, Body, Query, Route
from vtn.problem import STORE, Problem


class TokensView(Answer):
    """What a node's account has of the token, as the chain says now."""

    account: str
    minor: int = Field(description="Minor units of the currency.")
    currency: str = Field(
        description="ISO 4217; its code of no currency where the settings do not name the node."
    )


class VerifyBody(Body):
    """By which trust file."""

    trust: str = Field(default="", description="The text of a trust file; left out: the server's own.")


class StepView(Answer):
    """One step that did not fail."""

    name: str
    status: Status
    text: str


class FailureView(Answer):
    """The step that failed, with both values where there are two."""

    step: str
    text: str
    expected: str
    got: str


class VerifiedView(Answer):
    """What came of a verification: the steps until one failed."""

    verified: bool
    own_trust: bool = Field(
        description="By the server's own trust file: compare its key with another source."
    )
    steps: list[StepView]
    failure: FailureView | None


class ArchiveQuery(Query, RecordChoice):
    """Which records are in the archive, the newest first."""

    model_config = ConfigDict(extra="forbid")


async def _tokens(errand: Errand) -> Answer:
    found = await agreements.tokens_of(errand.visit)
    if found.minor is None:
        raise Problem(STORE, "the chain does not answer now, try again")
    return TokensView(account=found.account, minor=found.minor, currency=found.currency)


async def _verify(errand: Errand) -> Answer:
    typed = errand.body.trust
    if len(typed) > records.MOST_TRUST:
        raise Problem.field("trust", typed, f"a trust file has at most {records.MOST_TRUST} characters")
    steps, failure = await records.verified(errand.visit, typed)
    return VerifiedView(
        verified=failure is None,
        own_trust=not typed.strip(),
        steps=[StepView(name=step.name, status=step.status, text=step.text) for step in steps],
        failure=None
        if failure is None
        else FailureView(step=failure.step, text=failure.text, expected=failure.expected, got=failure.got),
    )


async def _archive(errand: Errand) -> Answer:
    return await auditor.archived(errand.visit, errand.query)


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/agreements/{agreement_id}/tokens",
            name="showTokens",
            summary="The token balance of an agreement's node, as the chain says now.",
            handle=_tokens,
            answer=TokensView,
            parameters={"agreement_id": "Id of the agreement, 64 hex digits."},
        ),
        permission=Permission.LEDGER_READ,
        errand=True,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/records/{index}/verify",
            name="verifyRecord",
            summary="The server verifies a record's receipt, step by step.",
            handle=_verify,
            answer=VerifiedView,
            body=VerifyBody,
            example={"trust": ""},
            parameters={"index": "Number of the leaf, from 0."},
        ),
        permission=Permission.LEDGER_READ,
        errand=True,
        reads=True,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/records/receipts.zip",
            name="exportReceipts",
            summary=f"Records with their receipts, {auditor.MOST} at the most, and all that verifies them.",
            handle=_archive,
            answer=FileAnswer,
            query=ArchiveQuery,
            refusals=(404,),
            files=("application/zip",),
        ),
        permission=Permission.LEDGER_READ,
        errand=True,
    ),
)
