"""Opts that a VEN sends by itself: a change of mind about an event, and schedules of availability. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from openadr import ActivePeriod, CancelOpt, CreatedEvent, CreateOpt, EiResponse, Event, Message, Target
from openadr.enums import OptReason, OptType, ResponseRequired
from ven.event import HeldEvent

Decide = Callable[[Event, datetime], OptType]


def change(known: HeldEvent, ven_id: str) -> CreatedEvent | None:
    """The unsolicited answer after `known.opt_type` has changed; None where the VTN wants none (VEX-26).

    A refused event stays refused (VEX-12), a cancelled one is answered only where it is sent again (VEX-08).
    """
    event = known.event
    if event.response_required is not ResponseRequired.ALWAYS or event.is_cancelled or known.code != "200":
        return None
    return CreatedEvent(response=EiResponse.ok(), event_responses=(known.answer,), ven_id=ven_id)


def qualify(
    known: HeldEvent,
    ven_id: str,
    ids: tuple[str, str],
    now: datetime,
    resources: Sequence[str] = (),
    *,
    opt_type: OptType | None = None,
) -> CreateOpt:
    """Says for single resources (none: all) whether they take part in an event (OPT-11).

    `ids`: of the opt, of the request. `opt_type` None: as the VEN has answered.
    """
    if known.event.response_required is not ResponseRequired.ALWAYS:
        raise ValueError("an event that wants no response cannot be qualified (OPT-12)")
    opt_type = opt_type or known.opt_type
    return CreateOpt(
        opt_id=ids[0],
        opt_type=opt_type,
        opt_reason=OptReason.PARTICIPATING if opt_type is OptType.OPT_IN else OptReason.NOT_PARTICIPATING,
        ven_id=ven_id,
        created_date_time=now,
        request_id=ids[1],
        event_id=known.event.event_id,
        modification_number=known.event.modification_number,
        target=Target(ven_id=(ven_id,), resource_id=tuple(resources)),
    )


def schedule(
    opt_type: OptType,
    reason: str,
    availability: Sequence[ActivePeriod],
    *,
    ven_id: str,
    ids: tuple[str, str],
    now: datetime,
    resources: Sequence[str] = (),
    market_context: str | None = None,
    device_classes: Sequence[str] = (),
) -> CreateOpt:
    """When the VEN takes part, or does not (OPT-02, OPT-03); `ids`: of the opt, of the request.

    `resources`, `market_context` and `device_classes` limit it to a part of the VEN, joined by AND (OPT-09).
    A period of duration 0 has no end (OPT-10).
    """
    if not availability:
        raise ValueError("a schedule needs at least one period (OPT-02)")
    return CreateOpt(
        opt_id=ids[0],
        opt_type=opt_type,
        opt_reason=reason,
        market_context=market_context,
        ven_id=ven_id,
        availability=tuple(
            ActivePeriod(dtstart=part.dtstart, duration=part.duration) for part in availability
        ),
        created_date_time=now,
        request_id=ids[1],
        target=Target(ven_id=(ven_id,), resource_id=tuple(resources)),
        device_class=Target(end_device_asset=tuple(device_classes)) if device_classes else None,
    )


def cancel(opt_id: str, ven_id: str, request_id: str) -> CancelOpt:
    """Takes back the schedules of that id (OPT-15); never a qualification (OPT-14)."""
    return CancelOpt(request_id=request_id, opt_id=opt_id, ven_id=ven_id)


def qualified(opts: Iterable[CreateOpt], event_id: str) -> OptType | None:
    """What was said of a whole event by CreateOpt, None where nothing was."""
    found = None
    for each in opts:
        if each.event_id == event_id and not each.target.resource_id:
            found = each.opt_type
    return found


def supersedes(newer: CreateOpt, older: CreateOpt) -> bool:
    """Whether the newer takes the place of the older at the VTN (OPT-07, OPT-13)."""
    about = (newer.event_id, newer.target, newer.market_context, newer.device_class)
    if about != (older.event_id, older.target, older.market_context, older.device_class):
        return False
    return newer.event_id is not None or newer.opt_type is older.opt_type


def superseded(taken: CreateOpt, opts: Sequence[CreateOpt]) -> tuple[CreateOpt, ...]:
    """The opts that still hold once the VTN has taken one of them."""
    before = opts[: opts.index(taken)] if taken in opts else ()
    return tuple(each for each in opts if each not in before or not supersedes(taken, each))


def readdressed(message: Message, ven_id: str) -> Message:
    """The same word from a VEN whose venID has changed."""
    if isinstance(message, CancelOpt):
        return replace(message, ven_id=ven_id)
    return renamed(message, ven_id) if isinstance(message, CreateOpt) else message


def renamed(message: CreateOpt, ven_id: str) -> CreateOpt:
    """The same opt of a VEN whose venID has changed."""
    return replace(message, ven_id=ven_id, target=replace(message.target, ven_id=(ven_id,)))


def unless_qualified(opts: Sequence[CreateOpt], decide: Decide) -> Decide:
    """`decide`, but what was said of an event by CreateOpt outlives its modifications (OPT-13)."""

    def decided(event: Event, now: datetime) -> OptType:
        said = qualified(opts, event.event_id)
        return decide(event, now) if said is None else said

    return decided


def said_first(opts: Sequence[CreateOpt], decide: Decide) -> Decide:
    """`decide`, but what the site has said already goes first: of this event, then of its time."""
    return unless_qualified(opts, unless_away(opts, decide))


def unless_away(opts: Sequence[CreateOpt], decide: Decide) -> Decide:
    """`decide`, but a site that has said that it stays out then takes part in no event of that time."""

    def decided(event: Event, now: datetime) -> OptType:
        away = any(_is_away(each, event) for each in opts)
        return OptType.OPT_OUT if away else decide(event, now)

    return decided


def _is_away(each: CreateOpt, event: Event) -> bool:
    """Whether the whole site stays out, in this programme, at some instant of the event."""
    part = each.event_id is not None or each.target.resource_id or each.device_class is not None
    other = each.market_context not in {None, event.descriptor.market_context}
    if part or other or each.opt_type is not OptType.OPT_OUT:
        return False
    return any(
        (period.end is None or event.dtstart < period.end)
        and (event.end is None or period.dtstart < event.end)
        for period in each.availability
    )


def kept(opts: Iterable[CreateOpt], events: Mapping[str, HeldEvent], now: datetime) -> tuple[CreateOpt, ...]:
    """The opts that still mean something: schedules that are not over, and events that are held."""

    def means_something(each: CreateOpt) -> bool:
        if each.event_id is not None:
            return each.event_id in events
        return any(period.end is None or now < period.end for period in each.availability)

    return tuple(each for each in opts if means_something(each))
