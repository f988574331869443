"""Whether an answer of the VTN says yes. Pure."""

from enum import Enum

from openadr import (
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    EiResponse,
    Message,
    Poll,
    RequestReregistration,
)
from ven import registration
from ven.registration import Registration


class Delivery(Enum):
    """What became of a report that was sent."""

    DONE = "acknowledged"
    REFUSED = "the VTN will never take it"
    LATER = "to be sent again"


def delivery(response: EiResponse) -> Delivery:
    """What the answer to a report says of it."""
    if response.is_success:
        return Delivery.DONE
    later = response.code == "463" or response.code.startswith("5")
    return Delivery.LATER if later else Delivery.REFUSED


def is_good(message: Message, asked: Message, known: Registration | None) -> bool:
    """Whether a response carries success, or a request of the VTN names our ids."""
    response = response_of(message)
    if isinstance(message, CreatedPartyRegistration):
        if not isinstance(asked, CreatePartyRegistration):
            return message.response.is_success and registration.speaks_our_profile(message)
        return registration.accepted(message, asked, known) is not None
    if response is not None:
        return response.is_success
    if isinstance(message, CancelPartyRegistration | RequestReregistration) and known is not None:
        mine = not message.ven_id or message.ven_id == known.ven_id
        return mine and getattr(message, "registration_id", known.registration_id) == known.registration_id
    return True


def is_lost(asked: Message, message: Message) -> bool:
    """Whether the answer means that the VTN does not know this VEN."""
    response = response_of(message)
    return response is not None and (
        response.code == "463" or (response.code.startswith("4") and isinstance(asked, Poll))
    )


def response_of(message: Message | None) -> EiResponse | None:
    """The response that a message carries, None where it carries none."""
    found = getattr(message, "response", None)
    return found if isinstance(found, EiResponse) else None
