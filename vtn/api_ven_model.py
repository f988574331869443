"""What is said of VENs over the operator's API: what may be asked, and how it is answered."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vtn import api_signature
from vtn.api_route import Answer, At, Body, Query
from vtn.certificate import OVERLAP
from vtn.visible import Name

FINGERPRINT = Field(
    description="SHA-256 of the certificate, 64 hex digits, or its last 10 bytes as `5E:71:...`."
)


class CertificateView(Answer):
    """One certificate of a VEN; without `fingerprint` it is awaited by its short form."""

    short: str
    fingerprint: str | None
    since: At
    valid_until: At | None
    expires_at: At | None


class VenView(api_signature.SignatureView):
    """A VEN that may register."""

    ven_id: str
    ven_name: str
    state: str = Field(description="`enrolled`, `registered` or `suspended`.")
    enrolled_at: At
    registered_at: At | None
    suspended_at: At | None
    last_contact: At | None
    clock_skew_s: float | None = Field(
        description="How far its clock is ahead of ours, by its last message that told; null: none did."
    )
    report_only: bool
    lenient: bool
    poll_period_s: int | None


class VenDetail(VenView):
    """A VEN with its certificates and what waits for it."""

    certificates: list[CertificateView]
    waiting: dict[str, int] = Field(description="How much of each kind waits for its polls.")
    traced_since: At | None


class VenList(Answer):
    """VENs by name; `next` is `after` of the next page."""

    vens: list[VenView]
    next: str | None = None


class VenQuery(Query):
    """Which VENs are listed."""

    limit: int | None = Field(default=None, ge=1, le=10_000, description="At most so many; all if left out.")
    after: str | None = Field(default=None, max_length=128, description="Name of the last VEN before.")


class StrangerView(Answer):
    """A client of our authority that asked to register and that nobody enrolled."""

    fingerprint: str
    short: str
    ven_name: str = Field(description="As it names itself; nobody vouches for it.")
    last_seen: At


class StrangerList(Answer):
    """Who waits for approval, the newest first."""

    pending: list[StrangerView]


class EnrolBody(Body):
    """A certificate that may register under a name; a name that is known gets a second certificate."""

    ven_name: Name = Field(description="Name of the VEN, unique.")
    fingerprint: str = FINGERPRINT
    ven_id: Name | None = Field(default=None, description="Made where it is left out.")
    profile: Literal["2.0a", "2.0b"] = Field(
        default="2.0b", description="What the VEN speaks; a short fingerprint of 2.0a is SHA-1's."
    )
    overlap_days: int = Field(
        default=OVERLAP.days,
        ge=0,
        le=3650,
        description="How long its other certificates are taken.",
    )


class ApproveBody(Body):
    """Under which name a stranger is enrolled."""

    ven_name: Name | None = Field(default=None, description="Its own where it is left out.")


class ChangeBody(api_signature.SignatureBody):
    """What the operator may set; what is left out stays."""

    lenient: bool | None = Field(default=None, description="Forgive the known deviations of some products.")
    poll_period_s: int | None = Field(
        default=None, ge=0, le=86_400, description="How often it is asked to poll; 0: as all others."
    )
