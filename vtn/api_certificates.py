"""Certificates of VENs that soon end and that nobody has replaced yet (SEC-15)."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from openadr.certificate import WARN_DAYS
from vtn import certificate
from vtn.api_route import Answer, At, Call, Query, Route


class EndingView(Answer):
    """One certificate that is taken now and soon no more."""

    ven_id: str
    ven_name: str
    short: str
    fingerprint: str | None = Field(description="None: no certificate with this short form came yet.")
    ends_at: At


class EndingList(Answer):
    """What ends, the soonest first."""

    ending: list[EndingView]


class EndingQuery(Query):
    """How far to look ahead."""

    days: int = Field(default=WARN_DAYS[0], ge=0, le=3650, description="Ending within so many days.")


async def _ending(call: Call) -> Answer:
    within = timedelta(days=call.query.days)
    found = await certificate.ending(call.conn, call.now, within)
    return EndingList(
        ending=[
            EndingView(
                ven_id=one.ven_id,
                ven_name=one.ven_name,
                short=one.short,
                fingerprint=one.fingerprint,
                ends_at=one.ends_at,
            )
            for one in found
        ]
    )


ROUTES = (
    Route(
        method="GET",
        path="/certificates/ending",
        name="listEndingCertificates",
        summary="Certificates that soon end and were not replaced.",
        handle=_ending,
        answer=EndingList,
        query=EndingQuery,
    ),
)
