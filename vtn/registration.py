"""Who the VENs are: enrolment by a person, registration by the VEN, the end of it by either side.

Rules: the principal is the SHA-256 of the TLS certificate, an id in a message is only compared. A
registration without ids from a registered VEN starts over: report requests and metadata go, events stay,
the same ids come back, so that a repeat after a lost response changes nothing (REG-17, GEN-18). A VEN that
the operator suspended is answered as if it were not registered; what waits for it waits on.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert  # SQLite compiles it too
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatePartyRegistration,
    RequestReregistration,
)
from openadr.enums import ProfileName, TransportName
from openadr.errors import ComplianceError, DeploymentError, InvalidId, NotRegistered
from openadr.security import Digest, read_fingerprint
from vtn import certificate, journal, outbox, own_report
from vtn.errors import CertificateRefused, UnknownObject
from vtn.schema import certificate_table, pending_table, ven_table
from vtn.schema import report_request_table as request_table
from vtn.schema import report_spec_table as spec_table
from vtn.store import after_commit

NOT_REGISTERED = "the party is not registered here"
PENDING_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Ven:
    """A VEN that somebody enrolled; `registration_id` is None until it registers.

    `poll_period_s` is None where the server's own rhythm holds; `lenient`: known deviations are forgiven.
    """

    ven_id: str
    ven_name: str
    enrolled_at: datetime
    registration_id: str | None
    registered_at: datetime | None
    last_contact: datetime | None
    report_only: bool
    suspended_at: datetime | None = None
    lenient: bool = False
    poll_period_s: int | None = None
    ended_registration_id: str | None = None
    xml_signature: bool = False
    signature_required: bool = False
    signature_leniency: bool = False
    report_signature_required: bool = False

    @property
    def signs(self) -> bool:
        """Whether its messages must be signed: it said so when it registered, or the operator does."""
        return self.xml_signature or self.signature_required

    @property
    def registered(self) -> bool:
        """Whether its messages are taken: it has a registration and is not suspended."""
        return self.registration_id is not None and self.suspended_at is None


COLUMNS = tuple(ven_table.c[field.name] for field in fields(Ven))


@dataclass(frozen=True, slots=True)
class VenChanged:
    """The notice that a VEN was enrolled, registered, or ended its registration."""

    ven_id: str


async def enrol(
    conn: AsyncConnection,
    ven_name: str,
    fingerprint: str,
    now: datetime,
    *,
    ven_id: str | None = None,
    profile: ProfileName = ProfileName.B,
    overlap: timedelta = certificate.OVERLAP,
) -> str:
    """Allow the certificate to register as `ven_name`; gives the VEN's id, made here unless preset.

    The fingerprint is as a person types it: all digits, or the 29 characters, which are SHA-1's for a VEN of
    profile 2.0a (SEC-14). Enrolling a name again adds the certificate, gives the same id, and ends those that
    the VEN had after `overlap` (SEC-15). ValueError where it is no fingerprint, CertificateRefused where
    this VEN cannot have it.
    """
    known = await conn.execute(
        select(ven_table.c.ven_id, ven_table.c.profile).where(ven_table.c.ven_name == ven_name)
    )
    found, has = known.one_or_none() or (None, None)
    digest = Digest.SHA1 if ProfileName.A in (profile, has) else Digest.SHA256
    entry = read_fingerprint(fingerprint, digest)
    if found is None:
        found = ven_id or secrets.token_hex(10)
        row = {"ven_id": found, "ven_name": ven_name, "enrolled_at": now, "report_only": False}
        await conn.execute(insert(ven_table).values(row | {"profile": str(profile)}))
    await certificate.add(conn, found, entry, now, overlap)
    after_commit(conn, VenChanged(found))
    return found


async def vens(conn: AsyncConnection) -> list[Ven]:
    """All enrolled VENs, by name."""
    rows = await conn.execute(select(*COLUMNS).order_by(ven_table.c.ven_name))
    return [Ven(*row) for row in rows]


async def ven_of(conn: AsyncConnection, fingerprint: str, now: datetime) -> Ven | None:
    """The VEN whose certificate (64 lower-case hex digits) this is at `now`, None for a stranger."""
    rows = await conn.execute(_VEN_OF, {"fingerprint": fingerprint, "now": now})
    row = rows.one_or_none()
    return None if row is None else Ven(*row)


_VEN_OF: Select[Any] = (
    select(*COLUMNS)
    .join(certificate_table, certificate_table.c.ven_id == ven_table.c.ven_id)
    .where(
        certificate_table.c.fingerprint == bindparam("fingerprint"),
        certificate.in_force(certificate_table, bindparam("now")),
    )
)


async def admit(
    conn: AsyncConnection, fingerprint: str, message: CreatePartyRegistration, now: datetime
) -> Ven:
    """Enrol a stranger under the name that it gives, without a person; NotRegistered where that is taken.

    A venID agreed beforehand is agreed with a person, so a stranger's is not known here (REG-09).
    """
    if message.ven_id:
        raise InvalidId("the venID is not known", rule="REG-09")
    name = (message.ven_name or "").strip()[:128] or f"ven-{fingerprint[-20:]}"
    taken = await conn.execute(select(ven_table.c.ven_id).where(ven_table.c.ven_name == name))
    if taken.scalar_one_or_none() is not None:
        raise NotRegistered(NOT_REGISTERED)
    try:
        ven_id = await enrol(conn, name, fingerprint, now)
    except CertificateRefused:  # it was withdrawn
        raise NotRegistered(NOT_REGISTERED) from None
    return await find(conn, ven_id)


async def register(
    conn: AsyncConnection,
    message: CreatePartyRegistration,
    ven: Ven,
    now: datetime,
    *,
    signatures: bool = False,
) -> tuple[str, str]:
    """Register an enrolled VEN, anew or again; gives registration id and VEN id.

    `signatures`: XML signatures are offered here.
    """
    _refuse_what_is_not_offered(message, ven, signatures=signatures)
    if message.ven_id not in (None, ven.ven_id):
        raise InvalidId("the venID is not the one of this certificate", rule="REG-21")
    again = message.registration_id is not None
    if again and message.registration_id != ven.registration_id:
        raise InvalidId("the registrationID is not known", rule="REG-21")
    registration_id = ven.registration_id or secrets.token_hex(10)
    await conn.execute(
        update(ven_table)
        .where(ven_table.c.ven_id == ven.ven_id)
        .values(
            registration_id=registration_id,
            registered_at=ven.registered_at if again else now,
            ended_registration_id=None,
            report_only=message.report_only,
            profile=str(message.profile_name),
            transport=str(message.transport_name),
            xml_signature=message.xml_signature,
            metadata_key=None if not again else ven_table.c.metadata_key,
        )
    )
    if not again:
        await _forget_reports(conn, ven.ven_id)
        await outbox.keep_only(conn, ven.ven_id, outbox.EVENT, outbox.CANCEL_PARTY_REGISTRATION)
        await own_report.tell(conn, ven.ven_id, now)  # REG-12
    await outbox.withdraw(conn, ven.ven_id, outbox.REQUEST_REREGISTRATION)
    await _record(conn, "registered", ven, registration_id, request_id=message.request_id, now=now)
    after_commit(conn, VenChanged(ven.ven_id))
    return registration_id, ven.ven_id


def _refuse_what_is_not_offered(message: CreatePartyRegistration, ven: Ven, *, signatures: bool) -> None:
    if message.profile_name is not ProfileName.B:
        raise DeploymentError("registration is for profile 2.0b")
    if message.transport_name is TransportName.SIMPLE_HTTP and message.http_pull_model is None:
        raise ComplianceError("simpleHttp needs oadrHttpPullModel", rule="REG-06")
    if message.transport_name is not TransportName.SIMPLE_HTTP or not message.http_pull_model:
        raise DeploymentError("the transport offered here is simpleHttp in pull mode")
    if message.xml_signature and not signatures:
        raise DeploymentError("XML signatures are not offered here")
    if ven.signature_required and not (message.xml_signature or ven.signature_leniency):
        raise DeploymentError("this VEN must sign its messages, and oadrXmlSignature is false", rule="SIG-11")


async def note_stranger(conn: AsyncConnection, fingerprint: str, ven_name: str | None, now: datetime) -> None:
    """Note for the operator that an unknown certificate asked to register; the newest PENDING_LIMIT stay."""
    t = pending_table
    statement = upsert(t).values(
        fingerprint=fingerprint, ven_name=(ven_name or "")[:128], last_seen=now, attempts=1
    )
    changed = {"last_seen": now, "attempts": t.c.attempts + 1}
    await conn.execute(statement.on_conflict_do_update(index_elements=["fingerprint"], set_=changed))
    if (await conn.execute(select(func.count()).select_from(t))).scalar_one() > PENDING_LIMIT:
        oldest = select(t.c.fingerprint).order_by(t.c.last_seen).limit(1).scalar_subquery()
        await conn.execute(delete(t).where(t.c.fingerprint == oldest))


async def strangers(conn: AsyncConnection) -> list[tuple[str, str, datetime]]:
    """Fingerprint, name as the client gave it, and last attempt of clients that wait for enrolment."""
    t = pending_table
    rows = await conn.execute(
        select(t.c.fingerprint, t.c.ven_name, t.c.last_seen).order_by(t.c.last_seen.desc())
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def cancelled_by_ven(
    conn: AsyncConnection, message: CancelPartyRegistration, ven: Ven, now: datetime
) -> None:
    """The VEN ends its registration (REG-18 to REG-20); the same again, after it ended, changes nothing."""
    if _ended_before(ven, message.registration_id):
        return
    if message.registration_id != ven.registration_id:
        raise InvalidId("the registrationID is not known", rule="REG-20")
    await _end(conn, ven, message.request_id, now)


async def cancel(conn: AsyncConnection, ven_id: str, now: datetime) -> None:
    """End a VEN's registration from here: it is told at its next poll, and forgotten when it answers."""
    ven = await _registered(conn, ven_id)
    request_id = secrets.token_hex(8)
    message = CancelPartyRegistration(
        request_id=request_id, registration_id=str(ven.registration_id), ven_id=ven_id
    )
    await outbox.queue(conn, ven_id, outbox.CANCEL_PARTY_REGISTRATION, "cancel", message=message, now=now)


async def ask_to_register_again(conn: AsyncConnection, ven_id: str, now: datetime) -> None:
    """Ask a registered VEN to send its registration again (REG-16)."""
    await _registered(conn, ven_id)
    message = RequestReregistration(ven_id=ven_id)
    await outbox.queue(conn, ven_id, outbox.REQUEST_REREGISTRATION, "again", message=message, now=now)


async def cancel_was_answered(
    conn: AsyncConnection, message: CanceledPartyRegistration, ven: Ven, now: datetime
) -> None:
    """The VEN confirmed a cancellation of ours; any other confirmation is refused.

    A VEN that refuses it (its ids are others) keeps its registration, and is not asked again (REG-20).
    """
    if _ended_before(ven, message.registration_id):
        return
    asked = await outbox.waiting(conn, ven.ven_id, outbox.CANCEL_PARTY_REGISTRATION)
    if not asked or message.registration_id not in (None, ven.registration_id):
        raise InvalidId("no such cancellation was asked for", rule="REG-20")
    if message.response.is_success:
        await _end(conn, ven, "ours", now)
        return
    await outbox.withdraw(conn, ven.ven_id, outbox.CANCEL_PARTY_REGISTRATION)
    key = f"{ven.registration_id}/{message.response.request_id}"
    await _record(conn, "kept", ven, str(ven.registration_id), request_id=key, now=now)


def _ended_before(ven: Ven, registration_id: str | None) -> bool:
    """Whether this names the registration that ended already; NotRegistered where there is no other."""
    if ven.registration_id is not None:
        return False
    if registration_id is None or registration_id != ven.ended_registration_id:
        raise NotRegistered(NOT_REGISTERED)
    return True


async def suspend(conn: AsyncConnection, ven_id: str, now: datetime) -> None:
    """Take no more messages of a VEN, until `resume`; UnknownObject."""
    await change(conn, ven_id, suspended_at=now)


async def resume(conn: AsyncConnection, ven_id: str) -> None:
    """Take a suspended VEN's messages again; its registration is as it was."""
    await change(conn, ven_id, suspended_at=None)


async def set_lenient(conn: AsyncConnection, ven_id: str, *, lenient: bool) -> None:
    """Forgive a VEN the known deviations of `openadr.lenient`, or no more; UnknownObject."""
    await change(conn, ven_id, lenient=lenient)


async def set_poll_period(conn: AsyncConnection, ven_id: str, seconds: int | None, now: datetime) -> None:
    """Ask a VEN to poll in a rhythm of its own (None: the server's); it is told by a new registration."""
    if seconds is not None and not 1 <= seconds <= 86_400:
        raise ValueError(f"a poll period is from 1 to 86400 seconds, not {seconds}")
    ven = await change(conn, ven_id, poll_period_s=seconds)
    if ven.registration_id is not None and ven.poll_period_s != seconds:
        await ask_to_register_again(conn, ven_id, now)


async def find(conn: AsyncConnection, ven_id: str) -> Ven:
    """The VEN of this id; UnknownObject."""
    rows = await conn.execute(select(*COLUMNS).where(ven_table.c.ven_id == ven_id))
    row = rows.one_or_none()
    if row is None:
        raise UnknownObject(f"no VEN has the id {ven_id!r}")
    return Ven(*row)


async def change(conn: AsyncConnection, ven_id: str, **values: object) -> Ven:
    """Set columns of a VEN, and tell the listener; gives the VEN as it was. UnknownObject."""
    ven = await find(conn, ven_id)
    await conn.execute(update(ven_table).where(ven_table.c.ven_id == ven_id).values(**values))
    after_commit(conn, VenChanged(ven_id))
    return ven


async def seen(conn: AsyncConnection, contacts: dict[str, datetime]) -> None:
    """Write down when VENs were last heard of."""
    for ven_id, instant in contacts.items():
        await conn.execute(update(ven_table).where(ven_table.c.ven_id == ven_id).values(last_contact=instant))


async def _registered(conn: AsyncConnection, ven_id: str) -> Ven:
    ven = await find(conn, ven_id)
    if ven.registration_id is None:
        raise UnknownObject(f"the VEN {ven_id!r} is not registered")
    return ven


async def _end(conn: AsyncConnection, ven: Ven, request_id: str, now: datetime) -> None:
    await _forget_reports(conn, ven.ven_id)
    await outbox.keep_only(conn, ven.ven_id, outbox.EVENT)
    await conn.execute(
        update(ven_table)
        .where(ven_table.c.ven_id == ven.ven_id)
        .values(
            registration_id=None,
            registered_at=None,
            metadata_key=None,
            ended_registration_id=ven.registration_id,
            xml_signature=False,
        )
    )
    await _record(conn, "cancelled", ven, str(ven.registration_id), request_id=request_id, now=now)
    after_commit(conn, VenChanged(ven.ven_id))


async def _forget_reports(conn: AsyncConnection, ven_id: str) -> None:
    for table in (spec_table, request_table):
        await conn.execute(delete(table).where(table.c.ven_id == ven_id))
    await own_report.forget(conn, ven_id)


async def _record(
    conn: AsyncConnection, action: str, ven: Ven, registration_id: str, *, request_id: str, now: datetime
) -> None:
    body = {
        "action": action,
        "ven_id": ven.ven_id,
        "ven_name": ven.ven_name,
        "registration_id": registration_id,
    }
    key = f"{action}/{registration_id}/{request_id}"
    await journal.record(conn, "registration", ven.ven_id, key, body=body, now=now)
