"""Which VENs are known, and for which of them something waits: in memory, an empty poll touches no disk.

Rule: this is a mirror of the database. It is read from there at the start and whenever a VEN has changed, and
told by the notices of each commit; nothing is decided from it but that there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from openadr import encode
from vtn import certificate, outbox, registration
from vtn.certificate import NEVER, CertificatesChanged, Tails
from vtn.exchange import nothing_waits
from vtn.outbox import Due
from vtn.registration import Ven, VenChanged
from vtn.schema import certificate_table
from vtn.store import Database, Notice


@dataclass(slots=True)
class Guest:
    """One VEN as the listener sees it.

    `nothing` is the encoded answer to a poll when nothing waits; `queued` counts what was queued meanwhile;
    `until` is when the certificate by which it is known here is taken no more.
    """

    ven: Ven
    due: bool
    nothing: bytes
    until: datetime
    queued: int = 0

    @property
    def registered(self) -> bool:
        """Whether the VEN's messages are taken."""
        return self.ven.registered

    @property
    def plain(self) -> bool:
        """Whether they are, and neither signed nor forgiven anything."""
        return self.ven.registered and not (self.ven.signs or self.ven.lenient)


class Presence:
    """The VENs by certificate fingerprint."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._guests: dict[str, Guest] = {}
        self._fingerprints: dict[str, set[str]] = {}  # by VEN id
        self._notices = 0
        self._contacts: dict[str, datetime] = {}

    async def open(self) -> None:
        """Read all VENs and begin to listen for changes."""
        self._db.listen(self._hear)
        async with self._db.read() as conn:
            t = certificate_table.c
            rows = await conn.execute(select(t.fingerprint, t.ven_id, t.valid_until))
            vens = {ven.ven_id: ven for ven in await registration.vens(conn)}
            due = await outbox.due(conn)
            for fingerprint, ven_id, until in rows:
                self._keep(fingerprint, vens[ven_id], ven_id in due, until or NEVER)

    async def find(self, fingerprint: str, tails: Tails, now: datetime) -> Guest | None:
        """The VEN of this certificate, which one may have waited for; None for a stranger."""
        while (guest := self.known(fingerprint, now)) is None:
            heard = self._notices
            async with self._db.read() as conn:
                ven = await registration.ven_of(conn, fingerprint, now)
                if ven is None and not await certificate.awaited(conn, tails, now):
                    return None
                until = await certificate.valid_until(conn, fingerprint)
                due = ven is not None and ven.ven_id in await outbox.due(conn)
            if ven is None:
                async with self._db.write() as conn:
                    await certificate.claim(conn, fingerprint, tails, now)
            elif heard == self._notices:  # else a commit may have passed this reader
                self._keep(fingerprint, ven, due, until)
        return guest

    def known(self, fingerprint: str, now: datetime) -> Guest | None:
        """The same without looking into the database: None says nothing."""
        guest = self._guests.get(fingerprint)
        return guest if guest is not None and now < guest.until else None

    def met(self, ven_id: str, now: datetime) -> None:
        """A VEN spoke."""
        self._contacts[ven_id] = now

    def contacts(self) -> dict[str, datetime]:
        """When VENs spoke since `take_contacts`."""
        return dict(self._contacts)

    def take_contacts(self) -> dict[str, datetime]:
        """When VENs spoke since this was asked last."""
        contacts, self._contacts = self._contacts, {}
        return contacts

    def _keep(self, fingerprint: str, ven: Ven, due: bool, until: datetime) -> None:
        self._guests[fingerprint] = Guest(ven, due, encode(nothing_waits(ven.ven_id)), until)
        self._fingerprints.setdefault(ven.ven_id, set()).add(fingerprint)

    def _hear(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            if isinstance(notice, Due):
                self._notices += 1
                for fingerprint in self._fingerprints.get(notice.ven_id, ()):
                    if (guest := self._guests.get(fingerprint)) is not None:
                        guest.due = True
                        guest.queued += 1
            elif isinstance(notice, VenChanged | CertificatesChanged):
                self._notices += 1
                for fingerprint in self._fingerprints.pop(notice.ven_id, ()):
                    self._guests.pop(fingerprint, None)
