"""EiEvent: the VTN distributes events, the VEN answers them."""

from dataclasses import dataclass, field
from datetime import datetime

from openadr.enums import EventStatus, OptType, ResponseRequired, SignalName, SignalType
from openadr.interval import ActivePeriod, Duration
from openadr.item_base import ITEM_BASE, ItemBase
from openadr.response import EiResponse, check_code
from openadr.target import Target
from openadr.wire import Message, xml


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEvent(Message):
    """A VEN asks for its events; at most `reply_limit` of them, in the VTN's order (EVT-15)."""

    request_id: str = field(metadata=xml("pyld:eiRequestEvent/pyld:requestID"))
    ven_id: str = field(metadata=xml("pyld:eiRequestEvent/ei:venID"))
    reply_limit: int | None = field(default=None, metadata=xml("pyld:eiRequestEvent/pyld:replyLimit"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDescriptor:
    """Identity and state of an event. `test_event` other than None and `false` is a test (EVT-31)."""

    event_id: str = field(metadata=xml("ei:eventID"))
    modification_number: int = field(default=0, metadata=xml("ei:modificationNumber"))
    modification_date_time: datetime | None = field(default=None, metadata=xml("ei:modificationDateTime"))
    modification_reason: str | None = field(default=None, metadata=xml("ei:modificationReason"))
    priority: int | None = field(default=None, metadata=xml("ei:priority"))
    market_context: str = field(metadata=xml("ei:eiMarketContext/emix:marketContext", collapse=True))
    created_date_time: datetime = field(metadata=xml("ei:createdDateTime"))
    event_status: EventStatus = field(metadata=xml("ei:eventStatus"))
    test_event: str | None = field(default=None, metadata=xml("ei:testEvent"))
    vtn_comment: str | None = field(default=None, metadata=xml("ei:vtnComment"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalInterval:
    """One step of a signal or baseline; `uid` counts 0, 1, 2 (EVT-20), `dtstart` is forbidden (EVT-21)."""

    dtstart: datetime | None = field(default=None, metadata=xml("xcal:dtstart/xcal:date-time"))
    duration: Duration | None = field(default=None, metadata=xml("xcal:duration/xcal:duration"))
    uid: str | None = field(default=None, metadata=xml("xcal:uid/xcal:text"))
    payload_float: float = field(metadata=xml("ei:signalPayload/ei:payloadFloat/ei:value"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What the VEN is asked for, by interval. Unit: `item_base`, None where the signal has none (SGN-04)."""

    intervals: tuple[SignalInterval, ...] = field(metadata=xml("strm:intervals/ei:interval"))
    target: Target | None = field(default=None, metadata=xml("ei:eiTarget"))
    signal_name: str = field(metadata=xml("ei:signalName", extends=SignalName))
    signal_type: SignalType = field(metadata=xml("ei:signalType"))
    signal_id: str = field(metadata=xml("ei:signalID"))
    item_base: ItemBase | None = field(default=None, metadata=xml(*ITEM_BASE))
    current_value: float | None = field(
        default=None, metadata=xml("ei:currentValue/ei:payloadFloat/ei:value")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What the VTN expects without the event, for the aggregate of `resource_id` (EVT-29)."""

    dtstart: datetime = field(metadata=xml("xcal:dtstart/xcal:date-time"))
    duration: Duration = field(metadata=xml("xcal:duration/xcal:duration"))
    intervals: tuple[SignalInterval, ...] = field(metadata=xml("strm:intervals/ei:interval"))
    baseline_id: str = field(metadata=xml("ei:baselineID"))
    resource_id: tuple[str, ...] = field(default=(), metadata=xml("ei:resourceID"))
    baseline_name: str = field(metadata=xml("ei:baselineName"))
    item_base: ItemBase | None = field(default=None, metadata=xml(*ITEM_BASE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One demand-response event as a VEN receives it."""

    descriptor: EventDescriptor = field(metadata=xml("ei:eiEvent/ei:eventDescriptor"))
    active_period: ActivePeriod = field(
        metadata=xml(
            "ei:eiEvent/ei:eiActivePeriod/xcal:properties",
            then="ei:eiEvent/ei:eiActivePeriod/xcal:components",
        )
    )
    signals: tuple[Signal, ...] = field(metadata=xml("ei:eiEvent/ei:eiEventSignals/ei:eiEventSignal"))
    baseline: Baseline | None = field(
        default=None, metadata=xml("ei:eiEvent/ei:eiEventSignals/ei:eiEventBaseline")
    )
    target: Target = field(default=Target(), metadata=xml("ei:eiEvent/ei:eiTarget"))
    response_required: ResponseRequired = field(
        default=ResponseRequired.ALWAYS, metadata=xml("oadr:oadrResponseRequired")
    )

    @property
    def event_id(self) -> str:
        """The event's identifier."""
        return self.descriptor.event_id

    @property
    def modification_number(self) -> int:
        """Version of the event, from 0."""
        return self.descriptor.modification_number

    @property
    def dtstart(self) -> datetime:
        """Start without randomisation."""
        return self.active_period.dtstart

    @property
    def end(self) -> datetime | None:
        """End without randomisation (exclusive), None where the event is open-ended (duration 0)."""
        return self.active_period.end

    @property
    def is_cancelled(self) -> bool:
        """Whether the VTN took the event back."""
        return self.descriptor.event_status is EventStatus.CANCELLED

    @property
    def is_test(self) -> bool:
        """Whether the event is a test: any text but `false` (VEX-23)."""
        return self.descriptor.test_event not in (None, "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableEvent:
    """An event that the schema lets through and that is none: two payloads in an interval, a duration `P`.

    `code`, `description` and the conformance `rule` say what is wrong; the rest is what an answer needs.
    """

    event_id: str
    modification_number: int
    response_required: ResponseRequired
    code: str
    description: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributeEvent(Message):
    """All pending and active events of a VEN; one that is missing is cancelled (EVT-13, VEX-09).

    `unreadable` is filled by decoding only, and never written.
    """

    response: EiResponse | None = field(default=None, metadata=xml("ei:eiResponse"))
    request_id: str = field(metadata=xml("pyld:requestID"))
    vtn_id: str = field(metadata=xml("ei:vtnID"))
    events: tuple[Event, ...] = field(default=(), metadata=xml("oadr:oadrEvent"))
    unreadable: tuple[UnreadableEvent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventResponse:
    """A VEN's answer to one version of one event. `request_id` is that of the DistributeEvent (VEX-02)."""

    code: str = field(metadata=xml("ei:responseCode"))
    description: str | None = field(default=None, metadata=xml("ei:responseDescription"))
    request_id: str = field(metadata=xml("pyld:requestID"))
    event_id: str = field(metadata=xml("ei:qualifiedEventID/ei:eventID"))
    modification_number: int = field(metadata=xml("ei:qualifiedEventID/ei:modificationNumber"))
    opt_type: OptType = field(metadata=xml("ei:optType"))

    def __post_init__(self) -> None:
        check_code(self.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedEvent(Message):
    """A VEN's answers to events; none where `response` is an error (VEX-05)."""

    response: EiResponse = field(metadata=xml("pyld:eiCreatedEvent/ei:eiResponse"))
    event_responses: tuple[EventResponse, ...] = field(
        default=(), metadata=xml("pyld:eiCreatedEvent/ei:eventResponses/ei:eventResponse")
    )
    ven_id: str = field(metadata=xml("pyld:eiCreatedEvent/ei:venID"))
