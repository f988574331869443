"""A VEN's session and the VTN's exchange joined in memory: no socket, a real database, a clock that is given.

    ven.session.Session --- encode/decode ---> vtn.exchange.exchange ---> SQLite

Every message crosses as bytes, so both ends must write what the other's schema check lets through.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from openadr import Message, ProtocolError, UpdateReport, decode, encode
from ven.facility import Facility
from ven.saved import Saved
from ven.session import Delivery, Session
from ven.settings import VenSettings
from ven.transport import service_of
from vtn import registration
from vtn.exchange import Peer, Terms, exchange, refusal
from vtn.report import RequestReports
from vtn.store import Database
from vtn.written import written

FINGERPRINT = "a1" * 32


@dataclass
class Pair:
    """One VEN and its VTN. `said` keeps every exchange, newest last."""

    session: Session
    db: Database
    terms: Terms
    settings: VenSettings
    facility: Facility
    said: list[tuple[Message, Message]] = field(default_factory=list)
    unsent: list[UpdateReport] = field(default_factory=list)

    @classmethod
    async def join(
        cls,
        db: Database,
        settings: VenSettings,
        facility: Facility,
        request_reports: RequestReports,
        now: datetime,
    ) -> Pair:
        """A VEN that the VTN has enrolled and that has not spoken yet."""
        async with db.write() as conn:
            await registration.enrol(conn, settings.ven_name, FINGERPRINT, now)
        terms = Terms(vtn_id="vtn-1", poll_period_s=60, request_reports=request_reports)
        session = _session(settings, facility, Saved())
        return cls(session, db, terms, settings, facility)

    async def run(self, now: datetime) -> list[tuple[Message, Message]]:
        """Lets both talk until nobody has anything left to say at `now`; what was said in this time."""
        before = len(self.said)
        while True:
            due = self.session.due(now)
            if due:
                self.session.receive(await self.ask(due[0], now), now)
                continue
            self.unsent += self.session.reports_due(now)
            if not self.unsent:
                return self.said[before:]
            answer = await self.ask(self.unsent[0], now)
            outcome = self.session.reported(answer, self.unsent[0].reports[0].report_request_id)
            assert outcome is Delivery.DONE, self.said[-1]
            self.unsent.pop(0)

    async def ask(self, message: Message, now: datetime) -> Message:
        """The VTN's reply to one message."""
        asked = decode(encode(message))
        peer = Peer(FINGERPRINT, None)
        try:
            async with self.db.write() as conn:
                peer = Peer(FINGERPRINT, await registration.ven_of(conn, FINGERPRINT, now))
                reply = await exchange(asked, service_of(asked), peer, conn, now, terms=self.terms)
        except ProtocolError as error:
            reply = refusal(asked, error, peer, self.terms)
        answer = decode(written(reply))
        self.said.append((asked, answer))
        return answer

    def restart(self) -> None:
        """The VEN dies and starts again from what it has saved."""
        self.session = _session(self.settings, self.facility, self.session.saved)


def _session(settings: VenSettings, facility: Facility, saved: Saved) -> Session:
    ids = count()
    return Session(settings, facility, saved, new_id=lambda: f"ven-{next(ids)}", draw=lambda: 0.5)
