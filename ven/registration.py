"""Registration of a VEN: the messages it sends and what it keeps of the VTN's answer. Pure."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from openadr import CreatedPartyRegistration, CreatePartyRegistration
from openadr.enums import ProfileName, TransportName
from ven.settings import VenSettings

log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RAREST_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Registration:
    """The ids that VTN and VEN know each other by, and the poll rhythm that the VTN asked for.

    A rhythm of None leaves it to the VEN.
    """

    ven_id: str
    registration_id: str
    vtn_id: str
    poll_period_s: float | None = None
    xml_signature: bool = False
    """Whether we said that we sign."""


def create(settings: VenSettings, request_id: str, current: Registration | None) -> CreatePartyRegistration:
    """A new registration, or a renewal of `current` (REG-05, REG-14)."""
    return CreatePartyRegistration(
        request_id=request_id,
        registration_id=current.registration_id if current else None,
        ven_id=current.ven_id if current else settings.ven_id,
        profile_name=ProfileName.B,
        transport_name=TransportName.SIMPLE_HTTP,
        report_only=settings.report_only,
        xml_signature=settings.xml_signature,
        ven_name=settings.ven_name,
        http_pull_model=True,
    )


def accepted(
    answer: CreatedPartyRegistration, asked: CreatePartyRegistration, current: Registration | None = None
) -> Registration | None:
    """What the VTN granted; None where it refused, gave no ids (REG-08) or other ones (REG-21)."""
    if not answer.response.is_success or not answer.ven_id or not answer.registration_id:
        return None
    renewed = current if asked.registration_id is not None else None
    kept = (asked.ven_id, asked.registration_id, renewed.vtn_id if renewed else None)
    given = (answer.ven_id, answer.registration_id, answer.vtn_id)
    if any(mine is not None and mine != theirs for mine, theirs in zip(kept, given, strict=True)):
        return None
    return Registration(
        ven_id=answer.ven_id,
        registration_id=answer.registration_id,
        vtn_id=answer.vtn_id,
        poll_period_s=poll_period_s(answer),
        xml_signature=asked.xml_signature,
    )


def poll_period_s(answer: CreatedPartyRegistration) -> float | None:
    """The rhythm that the VTN asks for in seconds, a day at most; None where it asks for none.

    A VTN reaches a VEN by its polls alone: after a slip of years it could not even take that back.
    """
    period = answer.requested_poll_freq
    seconds = (period.after(_EPOCH) - _EPOCH).total_seconds() if period else 0
    if seconds > _RAREST_S:
        log.warning("the VTN asks for a poll each %s: it is polled at least once a day", period)
    return min(seconds, _RAREST_S) if seconds > 0 else None


def speaks_our_profile(answer: CreatedPartyRegistration) -> bool:
    """Whether the VTN offers 2.0b over simple HTTP."""
    return any(
        profile.profile_name is ProfileName.B and TransportName.SIMPLE_HTTP in profile.transports
        for profile in answer.profiles
    )
