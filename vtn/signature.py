"""XML signatures at the listener (group SIG): who must sign, what is believed, and the signature of replies.

Rules:
    A VEN signs if it said so when it registered (SIG-11) or if the operator requires it; then a message of
    its that is not validly signed is ignored (SIG-06). Over HTTP that is a 403 without a body: no payload
    answers, nothing is changed, and all reasons look the same from outside; the reason is logged and counted
    as a finding of the VEN. (404, 406 and 501 would tell an honest VEN never to send it again; 200 would say
    that it was taken.)
    A registration that announces signatures is signed itself: so the announcement is true.
    The reply to a signed message is signed. Of a VEN that is not registered no signature is demanded, but a
    good one is answered by ours: it may want to know who speaks before it registers. Of a VEN that registered
    without signatures none is looked at. Once a VEN signs, a signed registration or the operator ends it.
    What was signed is handled in the bytes that the signature covers. Its nonce is spent in the transaction
    of the handling; the message as it came is kept there too, if it was carried out: a refused one proves
    nothing and fills the disk. Polls and queries say nothing that one could deny, and are not kept. A report
    is kept if it made a fact: of what was not asked for none is made, of what is said again no second one.

Beside that a VEN may sign the bytes of its reports in the head of the request (`openadr.http_signature`),
which needs no agreement: one that does not hold is ignored just so, one that holds is kept in the fact of the
report. The operator may demand one or the other of a VEN's reports.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import CreatePartyRegistration, Message, Poll, QueryRegistration, UpdateReport
from openadr.http_signature import Fields
from openadr.http_signature import verified as verified_body
from openadr.parser import Limits
from openadr.verification import Policy, Verified, verify
from vtn import journal, nonce, original, registration
from vtn.registration import Ven
from vtn.settings import VtnSettings
from vtn.store import Database

OFF_LOOP_BYTES = 16_384
XML = "xmldsig"


async def require(conn: AsyncConnection, ven_id: str, *, required: bool) -> None:
    """Ignore what a VEN does not sign, or no more, whatever it said when it registered; UnknownObject."""
    values = {"signature_required": required} | ({} if required else {"xml_signature": False})
    await registration.change(conn, ven_id, **values)


async def set_leniency(conn: AsyncConnection, ven_id: str, *, leniency: bool) -> None:
    """Take a VEN's signatures with exclusive C14N or without signed ReplayProtect; UnknownObject.

    And, where signatures are required, its word at registration that it does not sign (openleadr's default).
    """
    await registration.change(conn, ven_id, signature_leniency=leniency)


async def require_reports(conn: AsyncConnection, ven_id: str, *, required: bool) -> None:
    """Ignore the reports of a VEN over whose bytes nobody has signed, or no more; UnknownObject."""
    await registration.change(conn, ven_id, report_signature_required=required)


@dataclass(frozen=True, slots=True)
class Seal:
    """A signature over the bytes of a body, in the head of the request, and its sender's certificate."""

    fields: Fields
    der: bytes

    def source(self, raw: bytes) -> Mapping[str, str]:
        """What evidence keeps of it; BadSignature where it is not that of the sender over this body."""
        return verified_body(self.fields, raw, self.der).body()


@dataclass(frozen=True, slots=True)
class Proof:
    """A message that came signed: what is believed of it, and the bytes that came."""

    verified: Verified
    raw: bytes

    @property
    def sha256(self) -> str:
        """The hash by which the original is found."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def body(self) -> bytes:
        """The payload to read."""
        return self.verified.body

    @property
    def source(self) -> Mapping[str, str]:
        """What evidence keeps of it: who has the original can check that, the record alone cannot."""
        signed_at = journal.iso(self.verified.signed_at)
        return {"algorithm": XML, "certificate": self.verified.fingerprint, "signed_at": signed_at}

    async def spend(self, conn: AsyncConnection) -> None:
        """Spend the nonce; BadSignature where this is a replay."""
        verified = self.verified
        if verified.nonce is not None:
            await nonce.spend(conn, verified.fingerprint, verified.nonce, verified.signed_at)

    async def spend_alone(self, db: Database) -> None:
        """Spend the nonce of a message for which nothing else is written; BadSignature as above."""
        verified = self.verified
        if verified.nonce is not None:
            await nonce.spend_alone(db, verified.fingerprint, verified.nonce, verified.signed_at)

    async def keep(
        self, conn: AsyncConnection, message: Message, ven: Ven | None, now: datetime, *, made_fact: bool
    ) -> None:
        """Keep the original of a message that was carried out, of those that made no fact the newest; a
        report's is kept with its fact.
        """
        if ven is not None and not isinstance(message, Poll | QueryRegistration | UpdateReport):
            kept = original.keep if made_fact else original.keep_loose
            await kept(conn, self.sha256, ven.ven_id, self.raw, now)


class Signatures:
    """How this server reads signed messages."""

    def __init__(self, settings: VtnSettings, limits: Limits) -> None:
        window = timedelta(seconds=settings.signature_window_s)
        self._strict, self._lenient = (
            Policy(window, settings.signature_sha1, lenient=lenient) for lenient in (False, True)
        )
        self._limits = limits
        self.offered = bool(settings.pairs)
        """Whether VENs may register with signatures: without a certificate no reply can be signed."""

    async def check(self, raw: bytes, ven: Ven | None, principal: str, now: datetime) -> Proof:
        """What is believed of a message; BadSignature where it is to be ignored (SIG-06, SIG-08)."""
        policy = self._lenient if ven is not None and ven.signature_leniency else self._strict
        if len(raw) > OFF_LOOP_BYTES:
            verified = await asyncio.to_thread(verify, raw, (principal,), now, policy, self._limits)
        else:
            verified = verify(raw, (principal,), now, policy, self._limits)
        return Proof(verified, raw)

    def present(self, raw: bytes) -> bool:
        """Whether a message may be signed, and we could answer it so."""
        return self.offered and b"SignatureValue>" in raw

    def announced(self, message: Message) -> bool:
        """Whether this is a registration that announces signatures, which then must be signed itself."""
        return self.offered and isinstance(message, CreatePartyRegistration) and message.xml_signature
