"""Opts that a VEN sends by itself: a change of mind about an event, and schedules of availability. Pure."""

from collections.abc import Sequence
from datetime import datetime

from openadr import ActivePeriod, CancelOpt, CreatedEvent, CreateOpt, EiResponse, Target
from openadr.enums import OptReason, OptType, ResponseRequired
from ven.event import HeldEvent


def change(known: HeldEvent, ven_id: str) -> CreatedEvent | None:
    """The unsolicited answer after `known.opt_type` has changed; None where the VTN wants none (VEX-26)."""
    if known.event.response_required is not ResponseRequired.ALWAYS:
        return None
    return CreatedEvent(response=EiResponse.ok(), event_responses=(known.answer,), ven_id=ven_id)


def qualify(
    known: HeldEvent, ven_id: str, ids: tuple[str, str], now: datetime, resources: Sequence[str] = ()
) -> CreateOpt:
    """Says for single resources (none: all) whether they take part in an event (OPT-11).

    `ids`: of the opt, of the request.
    """
    if known.event.response_required is not ResponseRequired.ALWAYS:
        raise ValueError("an event that wants no response cannot be qualified (OPT-12)")
    return CreateOpt(
        opt_id=ids[0],
        opt_type=known.opt_type,
        opt_reason=OptReason.PARTICIPATING
        if known.opt_type is OptType.OPT_IN
        else OptReason.NOT_PARTICIPATING,
        ven_id=ven_id,
        created_date_time=now,
        request_id=ids[1],
        event_id=known.event.event_id,
        modification_number=known.event.modification_number,
        target=Target(ven_id=(ven_id,), resource_id=tuple(resources)),
    )


def schedule(
    opt_type: OptType,
    reason: OptReason,
    availability: Sequence[ActivePeriod],
    *,
    ven_id: str,
    ids: tuple[str, str],
    now: datetime,
) -> CreateOpt:
    """When the whole VEN takes part, or does not (OPT-02, OPT-03); `ids`: of the opt, of the request."""
    if not availability:
        raise ValueError("a schedule needs at least one period (OPT-02)")
    return CreateOpt(
        opt_id=ids[0],
        opt_type=opt_type,
        opt_reason=reason,
        ven_id=ven_id,
        availability=tuple(
            ActivePeriod(dtstart=part.dtstart, duration=part.duration) for part in availability
        ),
        created_date_time=now,
        request_id=ids[1],
        target=Target(ven_id=(ven_id,)),
    )


def cancel(opt_id: str, ven_id: str, request_id: str) -> CancelOpt:
    """Takes back the schedules of that id (OPT-15); never a qualification (OPT-14)."""
    return CancelOpt(request_id=request_id, opt_id=opt_id, ven_id=ven_id)
