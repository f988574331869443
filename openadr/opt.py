"""EiOpt: a VEN says when it takes part, or qualifies an event for some of its resources."""

from dataclasses import dataclass, field
from datetime import datetime

from openadr.enums import OptReason, OptType
from openadr.interval import ActivePeriod
from openadr.response import EiResponse
from openadr.target import Target
from openadr.wire import Message, xml


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOpt(Message):
    """A schedule (`availability`) or the qualification of an event (`event_id`), never both (OPT-02)."""

    opt_id: str = field(metadata=xml("ei:optID"))
    opt_type: OptType = field(metadata=xml("ei:optType"))
    opt_reason: str = field(metadata=xml("ei:optReason", extends=OptReason))
    market_context: str | None = field(default=None, metadata=xml("emix:marketContext", collapse=True))
    ven_id: str = field(metadata=xml("ei:venID"))
    availability: tuple[ActivePeriod, ...] = field(
        default=(), metadata=xml("xcal:vavailability/xcal:components/xcal:available*/xcal:properties")
    )
    created_date_time: datetime = field(metadata=xml("ei:createdDateTime"))
    request_id: str = field(metadata=xml("pyld:requestID"))
    event_id: str | None = field(
        default=None, metadata=xml("ei:qualifiedEventID/ei:eventID", keep_empty=True)
    )
    modification_number: int | None = field(
        default=None, metadata=xml("ei:qualifiedEventID/ei:modificationNumber")
    )
    target: Target = field(default=Target(), metadata=xml("ei:eiTarget"))
    device_class: Target | None = field(default=None, metadata=xml("oadr:oadrDeviceClass"))

    def __post_init__(self) -> None:
        if (self.event_id is None) != (self.modification_number is None):
            raise ValueError("an event is qualified by its id and its modification number together")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedOpt(Message):
    """Answer to CreateOpt."""

    response: EiResponse = field(metadata=xml("ei:eiResponse"))
    opt_id: str = field(metadata=xml("ei:optID"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOpt(Message):
    """Takes back every schedule with this id (OPT-15)."""

    request_id: str = field(metadata=xml("pyld:requestID"))
    opt_id: str = field(metadata=xml("ei:optID"))
    ven_id: str = field(metadata=xml("ei:venID"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CanceledOpt(Message):
    """Answer to CancelOpt."""

    response: EiResponse = field(metadata=xml("ei:eiResponse"))
    opt_id: str | None = field(default=None, metadata=xml("ei:optID"))
