"""Operations for agreements on the chain: offered, watched, suspended, closed, contested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from aggregator.access.permission import Permission
from aggregator.api_agreements import NOT_CONFIGURED, DisputeBody, OfferBody, SuspendBody
from aggregator.dashboard.operation import Errand, Operation
from aggregator.errors import RequestRefusedError
from vtn.api_route import Answer, At, Route

if TYPE_CHECKING:
    from aggregator.chain_book import ChainBook

AGREEMENT = {"agreement_id": "Id of the agreement, hex digits."}
ACCOUNT_EXAMPLE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OFFER_EXAMPLE = {
    "ven_name": "node-1",
    "account": ACCOUNT_EXAMPLE,
    "arbiter": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    "starts_at": "2026-02-01T00:00:00Z",
    "expires_at": "2027-02-01T00:00:00Z",
}


class AgreementRow(Answer):
    """An agreement as the chain showed it last; times of the contract in seconds since 1970."""

    id: str
    ven_id: str
    ven_name: str
    state: str
    why: str
    seen_at: At
    starts_at: int
    expires_at: int


class SettledView(Answer):
    """A settlement on the chain."""

    status: str
    outcome: str
    revision: int
    requested_wh: int
    delivered_wh: int
    incentive_minor: int
    penalty_minor: int
    penalty_waived: bool
    amount_minor: int
    final_at: int


class BookedView(Answer):
    """An event that is booked under an agreement."""

    event_id: str
    event_key: str
    signal_hash: str
    response_hash: str
    measurement_hash: str
    state: str
    text: str
    settled: SettledView | None


class DisputeView(Answer):
    """A settlement that was contested, and why."""

    event_id: str
    reason: str
    reason_salt: str
    reason_hash: str
    state: str
    text: str


class AgreementView(AgreementRow):
    """An agreement with its events."""

    events: list[BookedView]
    disputes: list[DisputeView]


class AgreementList(Answer):
    """All agreements, and how settling stands."""

    status: str
    text: str
    agreements: list[AgreementRow] = Field(description="Without their events.")


def _book(errand: Errand) -> ChainBook:
    if errand.desk.book is None:
        raise RequestRefusedError(NOT_CONFIGURED)
    return errand.desk.book


async def _list(errand: Errand) -> Answer:
    book = _book(errand)
    rows = await book.agreements(errand.desk.db)
    return AgreementList.model_validate({**book.state(), "agreements": rows})


async def _look(errand: Errand) -> Answer:
    await _book(errand).look(errand.desk.db)
    return await _list(errand)


async def _show(errand: Errand) -> Answer:
    found = await _book(errand).agreement(errand.desk.db, errand.path["agreement_id"])
    return AgreementView.model_validate(found)


async def _propose(errand: Errand) -> Answer:
    body: OfferBody = errand.body
    return AgreementView.model_validate(
        await _book(errand).propose(errand.desk.db, body.offer(), errand.order)
    )


async def _suspend(errand: Errand) -> Answer:
    body: SuspendBody = errand.body
    return await _ordered(errand, "suspend", str(body.reason))


async def _lift(errand: Errand) -> Answer:
    return await _ordered(errand, "lift", "")


async def _close(errand: Errand) -> Answer:
    return await _ordered(errand, "close", "")


async def _ordered(errand: Errand, kind: str, argument: str) -> Answer:
    agreement_id = errand.path["agreement_id"]
    await _book(errand).order(errand.desk.db, agreement_id, kind, argument, unit=errand.order)
    return await _show(errand)


async def _dispute(errand: Errand) -> Answer:
    body: DisputeBody = errand.body
    agreement_id = errand.path["agreement_id"]
    await _book(errand).dispute(errand.desk.db, agreement_id, body.event_id, body.reason, errand.order)
    return await _show(errand)


OPERATIONS = tuple(
    Operation(route=route, permission=permission, errand=True)
    for route, permission in (
        (
            Route(
                method="GET",
                path="/agreements",
                name="listAgreements",
                summary="All agreements on the chain.",
                handle=_list,
                answer=AgreementList,
                refusals=(422,),
            ),
            Permission.LEDGER_READ,
        ),
        (
            Route(
                method="POST",
                path="/agreements",
                name="offerAgreement",
                summary="Offer a node an agreement with the limits and prices that are configured.",
                handle=_propose,
                answer=AgreementView,
                body=OfferBody,
                status=201,
                example=OFFER_EXAMPLE,
                refusals=(404, 409),
            ),
            Permission.SETTINGS_WRITE,
        ),
        (
            Route(
                method="POST",
                path="/agreements/look",
                name="lookAtAgreements",
                summary="Look at the chain now.",
                handle=_look,
                answer=AgreementList,
            ),
            Permission.LEDGER_READ,
        ),
        (
            Route(
                method="GET",
                path="/agreements/{agreement_id}",
                name="showAgreement",
                summary="One agreement with its events.",
                handle=_show,
                answer=AgreementView,
                parameters=AGREEMENT,
            ),
            Permission.LEDGER_READ,
        ),
        *(
            (
                Route(
                    method="POST",
                    path="/agreements/{agreement_id}/" + verb,
                    name=verb + "Agreement",
                    summary=summary,
                    handle=handle,
                    answer=AgreementView,
                    body=body,
                    parameters=AGREEMENT,
                    example=example,
                    refusals=(409,),
                ),
                Permission.SETTINGS_WRITE,
            )
            for verb, summary, handle, body, example in (
                ("suspend", "Stop calls from now on.", _suspend, SuspendBody, {"reason": 1}),
                ("lift", "Allow calls again.", _lift, None, None),
                ("close", "End an agreement after its notice period.", _close, None, None),
                (
                    "dispute",
                    "Contest a settlement.",
                    _dispute,
                    DisputeBody,
                    {"event_id": "event-1", "reason": "the meter was changed"},
                ),
            )
        ),
    )
)
