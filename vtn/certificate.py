"""Which certificates are a VEN's, and how long each is taken (SEC-14, SEC-15).

Rules: a certificate belongs to one VEN, known by its whole SHA-256. A short fingerprint that an operator
typed waits for the first certificate that fits, and is that one's from then on. A VEN has at most two
certificates in force: a new one ends the other after an overlap. One that was withdrawn is never taken again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Table,
    and_,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr.security import Digest, FingerprintEntry, short_form
from vtn.errors import CertificateRefused, UnknownObject
from vtn.schema import awaited_certificate_table as awaited_table
from vtn.schema import certificate_table, micros, pending_table, ven_table
from vtn.store import after_commit

OVERLAP = timedelta(days=30)
IN_FORCE_LIMIT = 2
NEVER = datetime.max.replace(tzinfo=UTC)
Tails = Mapping[Digest, str]
_PLAIN = """
SELECT 1 FROM vtn_certificate AS c JOIN vtn_ven AS v ON v.ven_id = c.ven_id
WHERE c.fingerprint = ? AND c.ven_id = ? AND (c.valid_until IS NULL OR c.valid_until > ?)
AND v.registration_id IS NOT NULL AND v.suspended_at IS NULL
AND NOT v.xml_signature AND NOT v.signature_required
"""


@dataclass(frozen=True, slots=True)
class CertificatesChanged:
    """The notice that certificates of a VEN are taken from now on, or no more."""

    ven_id: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """One certificate of a VEN, or (`fingerprint` is None) a short form that waits for its certificate."""

    ven_id: str
    ven_name: str
    fingerprint: str | None
    digest: Digest
    short: str
    """The 29 characters for people."""
    since: datetime
    valid_until: datetime | None
    """None: until it expires."""
    expires_at: datetime | None
    """By the certificate itself; None: the VEN has not come with it yet."""

    @property
    def ends_at(self) -> datetime:
        """When it stops being taken, as far as that is known."""
        return min(self.valid_until or NEVER, self.expires_at or NEVER)


def in_force(table: Table, now: datetime | BindParameter[Any]) -> ColumnElement[bool]:
    """The condition that a row's certificate is taken at `now`."""
    return or_(table.c.valid_until.is_(None), table.c.valid_until > now)


def speaks_plainly(view: sqlite3.Connection, fingerprint: str, ven_id: str, now: datetime) -> bool:
    """Whether this certificate is now that of this VEN, which is registered and need not sign."""
    return view.execute(_PLAIN, (fingerprint, ven_id, micros(now))).fetchone() is not None


async def add(
    conn: AsyncConnection,
    ven_id: str,
    entry: FingerprintEntry,
    now: datetime,
    overlap: timedelta = OVERLAP,
) -> None:
    """Take this certificate as the VEN's; those that it has are taken for `overlap` longer, no more.

    CertificateRefused where it is another's, was withdrawn, or would be a third. The same again changes
    nothing.
    """
    if await _is_there(conn, ven_id, entry, now):
        return
    valid = [one for one in await enrolled(conn, ven_id) if now < one.ends_at]
    if len(valid) >= IN_FORCE_LIMIT:
        raise CertificateRefused(
            f"{valid[0].ven_name!r} has {IN_FORCE_LIMIT} valid certificates already: withdraw one first"
        )
    for table in (certificate_table, awaited_table):
        sooner = or_(table.c.valid_until.is_(None), table.c.valid_until > now + overlap)
        ending = update(table).where(table.c.ven_id == ven_id, sooner).values(valid_until=now + overlap)
        await conn.execute(ending)
    row: dict[str, Any] = {"ven_id": ven_id, "since": now}
    if entry.whole is not None:
        await _keep(conn, {**row, "fingerprint": entry.whole})
    else:
        await conn.execute(insert(awaited_table).values(digest=entry.digest, tail=entry.tail, **row))
    after_commit(conn, CertificatesChanged(ven_id))


async def _is_there(conn: AsyncConnection, ven_id: str, entry: FingerprintEntry, now: datetime) -> bool:
    """Whether the VEN has this certificate already; a whole one takes the place of its awaited tail."""
    for one in await _matching(conn, entry):
        if one.ven_id != ven_id:
            raise CertificateRefused(f"the certificate {entry} is enrolled for another VEN already")
        if not now < (one.valid_until or NEVER):
            raise CertificateRefused(
                f"the certificate {entry} of {one.ven_name!r} ended at {one.valid_until}: enrol another"
            )
        if one.fingerprint is None and entry.whole is not None:
            await claim(conn, entry.whole, {entry.digest: entry.tail}, now)
        return True
    return False


async def _matching(conn: AsyncConnection, entry: FingerprintEntry) -> list[Enrolled]:
    of_tail = and_(awaited_table.c.digest == entry.digest, awaited_table.c.tail == entry.tail)
    t = certificate_table
    if entry.whole is not None:
        of_whole: ColumnElement[bool] = t.c.fingerprint == entry.whole
    elif entry.digest is Digest.SHA256:
        of_whole = func.substr(t.c.fingerprint, -20) == entry.tail
    else:
        of_whole = false()  # the tail of another digest says nothing about ours
    return await _enrolled(conn, of_whole, of_tail)


async def _keep(conn: AsyncConnection, row: Mapping[str, Any]) -> None:
    await conn.execute(insert(certificate_table).values(row))
    await conn.execute(delete(pending_table).where(pending_table.c.fingerprint == row["fingerprint"]))


async def enrolled(conn: AsyncConnection, ven_id: str | None = None) -> list[Enrolled]:
    """All certificates, of one VEN or of all, withdrawn ones too; by VEN and age."""
    if ven_id is None:
        return await _enrolled(conn, None, None)
    return await _enrolled(conn, certificate_table.c.ven_id == ven_id, awaited_table.c.ven_id == ven_id)


async def _enrolled(
    conn: AsyncConnection, of_whole: ColumnElement[bool] | None, of_tail: ColumnElement[bool] | None
) -> list[Enrolled]:
    t, a = certificate_table.c, awaited_table.c
    name = ven_table.c.ven_name
    whole = select(t.ven_id, name, t.fingerprint, t.since, t.valid_until, t.expires_at).join_from(
        certificate_table, ven_table
    )
    tails = select(a.ven_id, name, a.digest, a.tail, a.since, a.valid_until).join_from(
        awaited_table, ven_table
    )
    if of_whole is not None:
        whole = whole.where(of_whole)
    if of_tail is not None:
        tails = tails.where(of_tail)
    found = [
        Enrolled(row[0], row[1], row[2], Digest.SHA256, short_form(row[2]), *row[3:])
        for row in await conn.execute(whole)
    ]
    found += [
        Enrolled(row[0], row[1], None, Digest(row[2]), short_form(row[3]), row[4], row[5], None)
        for row in await conn.execute(tails)
    ]
    return sorted(found, key=lambda one: (one.ven_name, one.since))


async def withdraw(conn: AsyncConnection, entry: FingerprintEntry, now: datetime) -> Enrolled:
    """Take a certificate no more, from the next request on; gives what it was. UnknownObject."""
    found = [one for one in await _matching(conn, entry) if now < (one.valid_until or NEVER)]
    if len(found) != 1:
        raise UnknownObject(f"{len(found) or 'no'} valid certificates have the fingerprint {entry}")
    (one,) = found
    if one.fingerprint is None:
        key = tuple_(awaited_table.c.digest, awaited_table.c.tail) == (entry.digest, entry.tail)
        await conn.execute(delete(awaited_table).where(key))
    else:
        of_it = certificate_table.c.fingerprint == one.fingerprint
        await conn.execute(update(certificate_table).where(of_it).values(valid_until=now))
    after_commit(conn, CertificatesChanged(one.ven_id))
    return one


async def valid_until(conn: AsyncConnection, fingerprint: str) -> datetime:
    """Until when this certificate is taken, NEVER where no end was set."""
    t = certificate_table.c
    rows = await conn.execute(select(t.valid_until).where(t.fingerprint == fingerprint))
    return rows.scalar_one_or_none() or NEVER


async def awaited(conn: AsyncConnection, tails: Tails, now: datetime) -> bool:
    """Whether a VEN waits for a certificate with one of these tails."""
    a = awaited_table
    known = await conn.execute(select(a.c.ven_id).where(_of(tails), in_force(a, now)).limit(1))
    return known.first() is not None


async def claim(conn: AsyncConnection, fingerprint: str, tails: Tails, now: datetime) -> bool:
    """Give a certificate to the VEN that waits for its tail; False where none does (any more)."""
    a = awaited_table
    wanted = select(a.c.digest, a.c.tail, a.c.ven_id, a.c.since, a.c.valid_until)
    row = (await conn.execute(wanted.where(_of(tails), in_force(a, now)).limit(1))).first()
    if row is None:
        return False
    await conn.execute(delete(a).where(a.c.digest == row.digest, a.c.tail == row.tail))
    kept = {"ven_id": row.ven_id, "since": row.since, "valid_until": row.valid_until}
    await _keep(conn, {**kept, "fingerprint": fingerprint})
    after_commit(conn, CertificatesChanged(row.ven_id))
    return True


def _of(tails: Tails) -> ColumnElement[bool]:
    return tuple_(awaited_table.c.digest, awaited_table.c.tail).in_(list(tails.items()))


async def seen(conn: AsyncConnection, expiries: Mapping[str, datetime]) -> None:
    """Write down when certificates that VENs came with expire."""
    t = certificate_table
    for fingerprint, instant in expiries.items():
        await conn.execute(update(t).where(t.c.fingerprint == fingerprint).values(expires_at=instant))


async def ending(conn: AsyncConnection, now: datetime, within: timedelta) -> list[Enrolled]:
    """Certificates in force that end within that time, and that the VEN has not replaced yet; soonest first.

    One counts as replaced when the VEN has come with another that ends later.
    """
    found = []
    for one in await _ending_soon(conn, now, now + within):
        others = [other for other in await enrolled(conn, one.ven_id) if other.expires_at is not None]
        if not any(other.ends_at > one.ends_at for other in others):
            found.append(one)
    return sorted(found, key=lambda one: one.ends_at)


async def _ending_soon(conn: AsyncConnection, now: datetime, until: datetime) -> list[Enrolled]:
    t, a = certificate_table, awaited_table
    soon = or_(t.c.valid_until <= until, t.c.expires_at <= until)
    return await _enrolled(
        conn, and_(in_force(t, now), soon), and_(in_force(a, now), a.c.valid_until <= until)
    )
