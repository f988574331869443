"""Many VENs enrolled at once, such as all of a settings file: a few statements, however many there are."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr.enums import ProfileName
from openadr.security import read_fingerprint, short_form
from vtn import certificate
from vtn.certificate import NEVER, CertificatesChanged
from vtn.registration import VenChanged
from vtn.schema import certificate_table, pending_table, ven_table
from vtn.store import after_commit


@dataclass(frozen=True, slots=True)
class Wanted:
    """A VEN that is to be enrolled, as for `registration.enrol`."""

    ven_name: str
    fingerprint: str
    ven_id: str | None = None


async def enrol_new(conn: AsyncConnection, wanted: Sequence[Wanted], now: datetime) -> list[Wanted]:
    """Enrol those of whom nothing is known yet, and leave alone those who are enrolled just so.

    Gives the others, whose name or certificate is there already: for `registration.enrol`, one by one.
    ValueError where a fingerprint is none.
    """
    names = {row.ven_name for row in await conn.execute(select(ven_table.c.ven_name))}
    entries = await certificate.enrolled(conn)
    taken = {(one.digest, one.short) for one in entries}
    theirs = {(one.ven_name, one.fingerprint) for one in entries if now < (one.valid_until or NEVER)}
    new: list[tuple[Wanted, str]] = []
    others: list[Wanted] = []
    for one in wanted:
        entry = read_fingerprint(one.fingerprint)
        key = (entry.digest, short_form(entry.tail))
        if entry.whole is not None and one.ven_name not in names and key not in taken:
            names.add(one.ven_name)
            taken.add(key)
            new.append((one, entry.whole))
        elif (one.ven_name, entry.whole) not in theirs or entry.whole is None:
            others.append(one)
    await _add(conn, new, now)
    return others


async def _add(conn: AsyncConnection, new: Sequence[tuple[Wanted, str]], now: datetime) -> None:
    if not new:
        return
    ids = [one.ven_id or secrets.token_hex(10) for one, _ in new]
    common = {"enrolled_at": now, "report_only": False, "profile": str(ProfileName.B)}
    vens = [
        {"ven_id": ven_id, "ven_name": one.ven_name, **common}
        for ven_id, (one, _) in zip(ids, new, strict=True)
    ]
    prints = [
        {"ven_id": ven_id, "fingerprint": whole, "since": now}
        for ven_id, (_, whole) in zip(ids, new, strict=True)
    ]
    await conn.execute(insert(ven_table), vens)
    await conn.execute(insert(certificate_table), prints)
    await _no_more_pending(conn, (whole for _, whole in new))
    for ven_id in ids:
        after_commit(conn, CertificatesChanged(ven_id))
        after_commit(conn, VenChanged(ven_id))


async def _no_more_pending(conn: AsyncConnection, fingerprints: Iterable[str]) -> None:
    t = pending_table.c.fingerprint
    waiting = {row.fingerprint for row in await conn.execute(select(t))} & set(fingerprints)
    if waiting:
        await conn.execute(delete(pending_table).where(t.in_(waiting)))
