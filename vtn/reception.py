"""What becomes of a body: one exchange, and the reply as the bytes that go back.

An empty poll is answered from memory. What must be signed is checked first, and handled in the bytes that the
signature covers (see `vtn.signature`).
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import ssl
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import (
    Message,
    Poll,
    ProtocolError,
    QueryRegistration,
    RequestEvent,
    Response,
    decode,
    encode,
    lenient,
)
from openadr.enums import ServiceName
from openadr.errors import BadSignature, TransportError
from openadr.finding import Finding
from vtn import certificate, finding, journal, outbox, registration
from vtn.distribution import Lists
from vtn.exchange import Peer, Terms, exchange, refusal
from vtn.hooks import pass_all
from vtn.presence import Guest, Presence
from vtn.signature import OFF_LOOP_BYTES, Proof, Seal, Signatures
from vtn.skew import Skews
from vtn.store import Database, savepoint
from vtn.tls import Tls, tails_of
from vtn.written import written

log = structlog.get_logger(__name__)

POLL = str(ServiceName.OADR_POLL)
EVENT = str(ServiceName.EI_EVENT)


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message that was read, from whom, and its proof if it came signed."""

    message: Message
    service: str
    peer: Peer
    proof: Proof | None
    now: datetime

    @property
    def ven_id(self) -> str:
        """The id of the VEN, empty for a stranger's."""
        return self.peer.ven.ven_id if self.peer.ven is not None else ""


class Reception:
    """Answers bodies. `tls` is set when the listener has certificates."""

    def __init__(
        self,
        db: Database,
        clock: Callable[[], datetime],
        terms: Terms,
        signatures: Signatures,
        skews: Skews,
    ) -> None:
        self._db = db
        self._clock = clock
        self._terms = terms
        self._signatures = signatures
        self._skews = skews
        self.presence = Presence(db)
        self.findings = finding.Findings()
        self._lists = Lists()
        self.tls: Tls | None = None

    def at_once(self, raw: bytes, principal: str, now: datetime, besides: Container[str]) -> bytes | None:
        """The reply to the poll of a VEN for which nothing waits; None where that is not certain.

        `besides` are the ids of VENs whose polls `answer` is to be asked about.
        """
        guest = self.presence.known(principal, now)
        if guest is None or guest.due or not guest.plain or guest.ven.ven_id in besides:
            return None
        try:
            message = _decode(raw)
        except ProtocolError:  # `answer` says it
            return None
        if not (isinstance(message, Poll) and message.ven_id in ("", guest.ven.ven_id)):
            return None
        self.presence.met(guest.ven.ven_id, now)
        return guest.nothing

    async def answer(
        self,
        raw: bytes,
        service: str,
        principal: str,
        connection: ssl.SSLObject | None,
        seal: Seal | None = None,
    ) -> bytes:
        """The reply to a body; TransportError where there is none, StoreError where nothing was kept."""
        now = self._clock()
        guest = self.presence.known(principal, now)
        if guest is None:
            guest = await self.presence.find(principal, tails_of(principal, self.tls), now)
        try:
            peer = Peer(principal, guest.ven if guest else None, source=seal.source(raw) if seal else None)
            body, signed = await self._answer(raw, service, peer, guest, now)
        except BadSignature as error:
            self._ignore(error, principal, guest, now)
            raise
        if not signed or self.tls is None or connection is None:
            return body
        return self.tls.signer(connection).sign(body, self._clock())

    def _ignore(self, error: BadSignature, principal: str, guest: Guest | None, now: datetime) -> None:
        ven_id = guest.ven.ven_id if guest else None
        log.warning("a message is ignored", reason=error.description, ven=ven_id, certificate=principal)
        if ven_id is not None:
            found = Finding(error.rule or "SIG-06", error.description)
            self.findings.note(ven_id, "Signature", (found,), now)

    async def _answer(
        self, raw: bytes, service: str, peer: Peer, guest: Guest | None, now: datetime
    ) -> tuple[bytes, bool]:
        """The reply, and whether the message was signed, so that the reply must be."""
        proof = await self._proof(raw, peer, now)
        try:
            message = await self._read(raw if proof is None else proof.body, guest, now)
            if proof is None and self._signatures.announced(message):
                proof = await self._signatures.check(raw, peer.ven, peer.fingerprint, now)
                message = await self._read(proof.body, guest, now)
        except TransportError:
            raise
        except ProtocolError as error:
            await self._spend(proof)
            return encode(refusal(None, error, peer, self._terms)), proof is not None
        letter = _Letter(message, service, peer, proof, now)
        return await self._handled(letter, raw, guest), proof is not None

    async def _proof(self, raw: bytes, peer: Peer, now: datetime) -> Proof | None:
        """What is believed of a message that must be signed, or is before anything was agreed."""
        ven = peer.ven
        if ven is not None and ven.signs:
            return await self._signatures.check(raw, ven, peer.fingerprint, now)
        if (ven is not None and ven.registered) or not self._signatures.present(raw):
            return None
        try:
            return await self._signatures.check(raw, ven, peer.fingerprint, now)
        except BadSignature:
            return None

    async def _handled(self, letter: _Letter, raw: bytes, guest: Guest | None) -> bytes:
        if guest is not None:
            self.presence.met(guest.ven.ven_id, letter.now)
            if letter.service == POLL and isinstance(letter.message, Poll):
                return await self._poll(letter, letter.message, guest)
            self._skews.note(guest.ven.ven_id, letter.message, letter.now)
        if isinstance(letter.message, RequestEvent) and (told := self._told_before(letter, letter.message)):
            return told
        proof = letter.proof
        sha256, body = (proof.sha256, proof.body) if proof else (_sha256(raw), raw)
        source = letter.peer.source or (proof.source if proof else None)
        signed = raw if source is not None else b""
        peer = replace(letter.peer, raw_sha256=sha256, body=body, source=source, signed=signed)
        return written(await self._exchange(replace(letter, peer=peer)))

    async def _read(self, raw: bytes, guest: Guest | None, now: datetime) -> Message:
        """The message; the known deviations are forgiven to a VEN that is set so, and counted."""
        apart = len(raw) > OFF_LOOP_BYTES
        if guest is None or not guest.ven.lenient:
            return await asyncio.to_thread(_decode, raw) if apart else _decode(raw)
        forgiven = await asyncio.to_thread(lenient.decode, raw) if apart else lenient.decode(raw)
        message, findings = forgiven
        self.findings.note(guest.ven.ven_id, type(message).__name__, findings, now)
        return message

    async def _poll(self, letter: _Letter, message: Poll, guest: Guest) -> bytes:
        """What waits, or from memory that nothing does."""
        own = guest.registered and message.ven_id in ("", guest.ven.ven_id)
        if own and guest.due:  # it may have answered what waited
            guest.due = not self._db.look(lambda view: outbox.is_empty(view, guest.ven.ven_id))
        if own and not guest.due:
            await self._spend(letter.proof)
            return guest.nothing
        queued = guest.queued
        reply = await self._exchange(letter)
        if own and isinstance(reply, Response) and guest.queued == queued:
            guest.due = False  # and nothing was queued since the database was read
        return written(reply)

    def _told_before(self, letter: _Letter, message: RequestEvent) -> bytes | None:
        """The events of a VEN to which nothing of them is new; None: that takes an ordinary exchange."""
        ven = letter.peer.ven
        plain = letter.service == EVENT and letter.proof is None and self._terms.review is pass_all
        if ven is None or not plain or message.ven_id not in ("", ven.ven_id):
            return None
        vtn_id, now = self._terms.vtn_id, letter.now

        def read(view: sqlite3.Connection) -> bytes | None:
            if not certificate.speaks_plainly(view, letter.peer.fingerprint, ven.ven_id, now):
                return None
            return self._lists.repeated(view, message, ven.ven_id, vtn_id, now)

        return self._db.look(read)

    async def _exchange(self, letter: _Letter) -> Message:
        only_reads = isinstance(letter.message, QueryRegistration) and letter.proof is None
        try:
            async with self._db.read() if only_reads else self._db.write() as conn:
                # read again inside the transaction: another request of this VEN may just have changed it
                ven = await registration.ven_of(conn, letter.peer.fingerprint, letter.now)
                letter = replace(letter, peer=replace(letter.peer, ven=ven))
                if letter.proof is not None:
                    await letter.proof.spend(conn)
                    return await self._proven(letter, letter.proof, conn)
                if ven is not None and ven.signs:
                    raise BadSignature("the message is not signed, and now it must be")
                return await self._act(letter, conn)
        except TransportError:
            raise
        except ProtocolError as error:
            return refusal(letter.message, error, letter.peer, self._terms)

    async def _proven(self, letter: _Letter, proof: Proof, conn: AsyncConnection) -> Message:
        """The reply to a signed message, whose nonce stays spent if it is refused."""
        try:
            async with savepoint(conn):
                before = await journal.newest(conn)
                reply = await self._act(letter, conn)
                made_fact = await journal.newest(conn) != before
                await proof.keep(conn, letter.message, letter.peer.ven, letter.now, made_fact=made_fact)
                return reply
        except TransportError:
            raise
        except ProtocolError as error:
            return refusal(letter.message, error, letter.peer, self._terms)

    async def _act(self, letter: _Letter, conn: AsyncConnection) -> Message:
        return await exchange(
            letter.message, letter.service, letter.peer, conn, letter.now, terms=self._terms
        )

    async def _spend(self, proof: Proof | None) -> None:
        """Spend the nonce of a signed message where nothing else is written."""
        if proof is not None:
            await proof.spend_alone(self._db)


def _decode(raw: bytes) -> Message:
    return decode(raw, bare=False)


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
