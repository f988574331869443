"""What a VEN remembers of what it has sent and received, to hold it against what others say of it. Pure.

    kind      what it is                                      subject                           sha256
    report    a report that the VTN has acknowledged          request id/createdDateTime        bytes sent
    signal    a version of an event that came and was taken   event id/modification             its content
    said      an opt that is about to be sent                 event id/modification/opt/mark    none
    opt       an opt that the VTN has acknowledged            the same                          none

The mark of an answer to an event is its response code, that of an oadrCreateOpt its optID.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from openadr import CreatedEvent, CreateOpt, DistributeEvent, Message
from openadr.event_digest import event_sha256
from ven.event import HeldEvent


class Kind(StrEnum):
    """What was done."""

    REPORT = "report"
    SIGNAL = "signal"
    SAID = "said"
    OPT = "opt"


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that was done, and when by the VEN's clock; `ven_id`: under which id, if that is known."""

    kind: Kind
    at: datetime
    subject: str
    sha256: bytes = b""
    ven_id: str | None = None

    @property
    def identity(self) -> tuple[str, str, bytes]:
        """What makes it the same as another, whenever it was."""
        return self.kind, self.subject, self.sha256


def said(messages: Iterable[Message], now: datetime) -> Iterator[Deed]:
    """The opts in what is about to be sent."""
    for message in messages:
        for subject in opt_subjects(message):
            yield Deed(Kind.SAID, now, subject)


def acknowledged(message: Message, now: datetime) -> Iterator[Deed]:
    """The opts in what the VTN has taken."""
    for subject in opt_subjects(message):
        yield Deed(Kind.OPT, now, subject)


def opt_subjects(message: Message) -> list[str]:
    """What a message says of taking part, one text for each opt."""
    if isinstance(message, CreatedEvent):
        return [
            opt_subject(each.event_id, each.modification_number, each.opt_type, each.code)
            for each in message.event_responses
        ]
    if isinstance(message, CreateOpt):
        number = message.modification_number or 0
        return [opt_subject(message.event_id or "", number, message.opt_type, message.opt_id)]
    return []


def opt_subject(event_id: str, modification_number: int, opt_type: str, mark: str) -> str:
    """The subject of an opt."""
    return f"{event_id}/{modification_number}/{opt_type}/{mark}"


def received(
    message: Message, before: Mapping[str, HeldEvent], after: Mapping[str, HeldEvent], now: datetime
) -> Iterator[Deed]:
    """The versions of events that a message has brought: those that are held now and were not before."""
    if not isinstance(message, DistributeEvent):
        return
    for event in message.events:
        number, held = event.modification_number, after.get(event.event_id)
        known = before.get(event.event_id)
        if held is None or held.event.modification_number != number:
            continue
        if known is None or known.event.modification_number != number:
            yield Deed(Kind.SIGNAL, now, f"{event.event_id}/{number}", event_sha256(event))
