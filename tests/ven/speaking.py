"""A VEN whose site speaks, for the tests of its voice."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count

from openadr import (
    ActivePeriod,
    CancelPartyRegistration,
    CreatedOpt,
    CreateOpt,
    Duration,
    EiResponse,
    RequestReregistration,
    decode,
    encode,
    rules,
)
from openadr.enums import OptType
from tests.ven.conversation import ready, talk
from tests.ven.messages import REGISTRATION, VEN, distribute, make_event, ok
from tests.ven.site import NOW
from ven.session import Session
from ven.voice import Voice

IN, OUT = OptType.OPT_IN, OptType.OPT_OUT
HOUR = timedelta(hours=1)
PERIODS = (
    ActivePeriod(dtstart=NOW, duration=Duration(3600), notification=Duration(60), ramp_up=Duration(60)),
    ActivePeriod(dtstart=NOW + 5 * HOUR, duration=Duration(0)),
)
AGAIN = RequestReregistration(ven_id=VEN)
LEAVE = CancelPartyRegistration(request_id="x", registration_id=REGISTRATION, ven_id=VEN)


def minute(start: datetime) -> list[ActivePeriod]:
    """One minute as periods of a schedule."""
    return [ActivePeriod(dtstart=start, duration=Duration(60))]


class Speaking:
    """A registered VEN and its voice; `woken` counts how often the client was told to look."""

    def __init__(self, session: Session | None = None, now: timedelta = timedelta(0)) -> None:
        self.session = session or ready()
        self.woken = 0
        self.now = NOW + now
        ids = (f"made-{number}" for number in count())
        self.voice = Voice(self.session, lambda: next(ids), lambda: self.now, self._wake)
        if session is None:
            talk(self.session, distribute(make_event()), ok(), ok())

    def _wake(self) -> None:
        self.woken += 1

    def said(self) -> CreateOpt:
        """What is due first, as it stands on the wire."""
        message = decode(encode(self.session.due(self.now)[0]))
        assert isinstance(message, CreateOpt)
        assert rules.check(message) == []
        return message

    def answered(self, code: str = "200") -> CreateOpt:
        message = self.said()
        response = EiResponse(code, "text", message.request_id)
        self.session.receive(CreatedOpt(response=response, opt_id=message.opt_id), self.now)
        return message
