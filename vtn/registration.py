"""Who the VENs are: enrolment by a person, registration by the VEN, the end of it by either side.

Rules: the principal is the SHA-256 of the TLS certificate, an id in a message is only compared. A
registration without ids from a registered VEN starts over: report requests and metadata go, events stay,
the same ids come back, so that a repeat after a lost response changes nothing (REG-17, GEN-18).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import (
    CancelPartyRegistration,
    CreatePartyRegistration,
    RegisterReport,
    RequestReregistration,
)
from openadr.enums import ProfileName, TransportName
from openadr.errors import DeploymentError, InvalidId
from vtn import journal, outbox
from vtn.errors import UnknownObject
from vtn.schema import certificate_table, pending_table, ven_table
from vtn.schema import report_request_table as request_table
from vtn.schema import report_spec_table as spec_table
from vtn.store import after_commit

PENDING_LIMIT = 1000
COLUMNS = (
    ven_table.c.ven_id,
    ven_table.c.ven_name,
    ven_table.c.enrolled_at,
    ven_table.c.registration_id,
    ven_table.c.registered_at,
    ven_table.c.last_contact,
    ven_table.c.report_only,
)


@dataclass(frozen=True, slots=True)
class Ven:
    """A VEN that somebody enrolled; `registration_id` is None until it registers."""

    ven_id: str
    ven_name: str
    enrolled_at: datetime
    registration_id: str | None
    registered_at: datetime | None
    last_contact: datetime | None
    report_only: bool


@dataclass(frozen=True, slots=True)
class VenChanged:
    """The notice that a VEN was enrolled, registered, or ended its registration."""

    ven_id: str


async def enrol(
    conn: AsyncConnection,
    ven_name: str,
    fingerprint_sha256_hex: str,
    now: datetime,
    *,
    ven_id: str | None = None,
) -> str:
    """Allow the certificate to register as `ven_name`; gives the VEN's id, made here unless preset.

    Enrolling a name again adds the certificate (two are valid while one is replaced) and gives the same id.
    A certificate belongs to one VEN: ValueError where it is another's already.
    """
    fingerprint = fingerprint_sha256_hex.lower().replace(":", "")
    if len(fingerprint) != 64 or not all(digit in "0123456789abcdef" for digit in fingerprint):
        raise ValueError(f"not a SHA-256 fingerprint of 64 hex digits: {fingerprint_sha256_hex!r}")
    known = await conn.execute(select(ven_table.c.ven_id).where(ven_table.c.ven_name == ven_name))
    found = known.scalar_one_or_none()
    if found is None:
        found = ven_id or secrets.token_hex(10)
        row = {"ven_id": found, "ven_name": ven_name, "enrolled_at": now, "report_only": False}
        await conn.execute(insert(ven_table).values(row))
    t = certificate_table
    owner = (
        await conn.execute(select(t.c.ven_id).where(t.c.fingerprint == fingerprint))
    ).scalar_one_or_none()
    if owner is None:
        await conn.execute(insert(t).values(fingerprint=fingerprint, ven_id=found, since=now))
    elif owner != found:
        raise ValueError(f"the certificate of {ven_name!r} is enrolled for another VEN already")
    await conn.execute(delete(pending_table).where(pending_table.c.fingerprint == fingerprint))
    after_commit(conn, VenChanged(found))
    return found


async def vens(conn: AsyncConnection) -> list[Ven]:
    """All enrolled VENs, by name."""
    rows = await conn.execute(select(*COLUMNS).order_by(ven_table.c.ven_name))
    return [Ven(*row) for row in rows]


async def ven_of(conn: AsyncConnection, fingerprint: str) -> Ven | None:
    """The VEN that this certificate (64 lower-case hex digits) belongs to, None for a stranger."""
    rows = await conn.execute(
        select(*COLUMNS)
        .join(certificate_table, certificate_table.c.ven_id == ven_table.c.ven_id)
        .where(certificate_table.c.fingerprint == fingerprint)
    )
    row = rows.one_or_none()
    return None if row is None else Ven(*row)


async def register(
    conn: AsyncConnection, message: CreatePartyRegistration, ven: Ven, now: datetime
) -> tuple[str, str]:
    """Register an enrolled VEN, anew or again; gives registration id and VEN id."""
    _refuse_what_is_not_offered(message)
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
            report_only=message.report_only,
            profile=str(message.profile_name),
            transport=str(message.transport_name),
            metadata_key=None if not again else ven_table.c.metadata_key,
        )
    )
    if not again:
        await _forget_reports(conn, ven.ven_id)
        own = RegisterReport(request_id=secrets.token_hex(8), ven_id=ven.ven_id)
        await outbox.queue(conn, ven.ven_id, outbox.REGISTER_REPORT, "own", message=own, now=now)  # REG-12
    await outbox.withdraw(conn, ven.ven_id, outbox.REQUEST_REREGISTRATION)
    await _record(conn, "registered", ven, registration_id, request_id=message.request_id, now=now)
    after_commit(conn, VenChanged(ven.ven_id))
    return registration_id, ven.ven_id


def _refuse_what_is_not_offered(message: CreatePartyRegistration) -> None:
    if message.profile_name is not ProfileName.B:
        raise DeploymentError("registration is for profile 2.0b")
    if message.transport_name is not TransportName.SIMPLE_HTTP or message.http_pull_model is False:
        raise DeploymentError("the transport offered here is simpleHttp in pull mode")
    if message.xml_signature:
        raise DeploymentError("XML signatures are not offered here")


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
    """The VEN ends its registration (REG-18 to REG-20)."""
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
    conn: AsyncConnection, registration_id: str | None, ven: Ven, now: datetime
) -> None:
    """The VEN confirmed a cancellation of ours; any other confirmation is refused."""
    asked = await outbox.waiting(conn, ven.ven_id, outbox.CANCEL_PARTY_REGISTRATION)
    if not asked or registration_id not in (None, ven.registration_id):
        raise InvalidId("no such cancellation was asked for", rule="REG-20")
    await _end(conn, ven, "ours", now)


async def seen(conn: AsyncConnection, contacts: dict[str, datetime]) -> None:
    """Write down when VENs were last heard of."""
    for ven_id, instant in contacts.items():
        await conn.execute(update(ven_table).where(ven_table.c.ven_id == ven_id).values(last_contact=instant))


async def _registered(conn: AsyncConnection, ven_id: str) -> Ven:
    rows = await conn.execute(select(*COLUMNS).where(ven_table.c.ven_id == ven_id))
    row = rows.one_or_none()
    if row is None or row.registration_id is None:
        raise UnknownObject(f"no registered VEN has the id {ven_id!r}")
    return Ven(*row)


async def _end(conn: AsyncConnection, ven: Ven, request_id: str, now: datetime) -> None:
    await _forget_reports(conn, ven.ven_id)
    await outbox.withdraw(
        conn,
        ven.ven_id,
        outbox.REGISTER_REPORT,
        outbox.CANCEL_PARTY_REGISTRATION,
        outbox.REQUEST_REREGISTRATION,
    )
    await conn.execute(
        update(ven_table)
        .where(ven_table.c.ven_id == ven.ven_id)
        .values(registration_id=None, registered_at=None, metadata_key=None)
    )
    await _record(conn, "cancelled", ven, str(ven.registration_id), request_id=request_id, now=now)
    after_commit(conn, VenChanged(ven.ven_id))


async def _forget_reports(conn: AsyncConnection, ven_id: str) -> None:
    for table in (spec_table, request_table):
        await conn.execute(delete(table).where(table.c.ven_id == ven_id))
    await outbox.withdraw(conn, ven_id, outbox.CREATE_REPORT)


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
