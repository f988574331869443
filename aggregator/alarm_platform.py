"""What can be wrong with the platform itself: log, chain, witnesses, certificates, disk, tasks, notices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import audit, store
from aggregator.alarm import AlarmKind, Condition, Severity
from aggregator.alarm_fleet import LAST_MONTH, certificate_condition
from aggregator.alarm_schema import notice_table
from ledger import store as ledger_store
from vtn.schema import journal_table

SEAL_WITHIN = timedelta(minutes=15)
PERIODS = 3
"""Checkpoints may be so many periods late."""
WITNESS_AFTER = timedelta(minutes=15)
NOTICE_AFTER = timedelta(minutes=15)
LOW_BYTES, FULL_BYTES = 2**30, 100 * 2**20
FAILING_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Trouble:
    """How something that runs by itself stands: since when it does not do its work, and what it says."""

    name: str
    since: datetime
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is asked of the running process. `certificates` are the PEM files of its listeners by name."""

    chain_state: Callable[[], Mapping[str, Any]]
    witnesses: Callable[[], Sequence[Trouble]]
    tasks: Callable[[], Sequence[Trouble]]
    free_bytes: Callable[[], int]
    started_at: datetime
    checkpoint_period: timedelta
    certificates: Mapping[str, Path] = field(default_factory=dict)


async def platform_conditions(conn: AsyncConnection, machine: Machine, now: datetime) -> list[Condition]:
    """Everything that is wrong with the platform."""
    return [
        *_chain(machine.chain_state()),
        *_troubles(AlarmKind.WITNESS_FAILING, machine.witnesses(), WITNESS_AFTER, now),
        *_troubles(AlarmKind.TASK_FAILING, machine.tasks(), FAILING_AFTER, now),
        *_own_certificates(machine.certificates, now),
        *_space(machine.free_bytes()),
        *await _sealing(conn, now),
        *await _checkpoint(conn, machine, now),
        *await _notices(conn, now),
    ]


def unknown_kinds(machine: Machine, now: datetime) -> frozenset[AlarmKind]:
    """What cannot be said yet because the process has just begun: such alarms stay as they are."""
    found = set()
    uptime = now - machine.started_at
    if machine.chain_state()["status"] == "not asked yet":
        found |= {AlarmKind.CHAIN_DOWN, AlarmKind.ANCHORING_FAILED}
    if uptime < WITNESS_AFTER:
        found.add(AlarmKind.WITNESS_FAILING)
    if uptime < FAILING_AFTER:
        found |= {AlarmKind.TASK_FAILING, AlarmKind.AUDIT_LATE}
    if uptime < PERIODS * machine.checkpoint_period:
        found.add(AlarmKind.CHECKPOINT_LATE)
    return frozenset(found)


def _chain(state: Mapping[str, Any]) -> list[Condition]:
    """Behind for a quarter of an hour: the chain that does not answer, or a fault that a person must mend."""
    if state["status"] == "failed":
        return [Condition(AlarmKind.ANCHORING_FAILED, "", Severity.CRITICAL, {"text": state["text"]})]
    if not state["alarm"]:
        return []
    detail = {"behind_since": state["behind_since"] or ""}
    return [Condition(AlarmKind.CHAIN_DOWN, "", Severity.WARNING, detail)]


def _troubles(
    kind: AlarmKind, troubles: Sequence[Trouble], patience: timedelta, now: datetime
) -> list[Condition]:
    severity = Severity.CRITICAL if kind is AlarmKind.TASK_FAILING else Severity.WARNING
    return [
        Condition(kind, one.name, severity, {"name": one.name, "text": one.text})
        for one in troubles
        if now - one.since >= patience
    ]


def _own_certificates(files: Mapping[str, Path], now: datetime) -> list[Condition]:
    found = []
    for name, path in files.items():
        try:
            ends_at = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        except (OSError, ValueError):
            continue  # whoever reads it says what is wrong with it
        if ends_at <= now + LAST_MONTH:
            found.append(certificate_condition(AlarmKind.SERVER_CERTIFICATE, name, name, ends_at, now))
    return found


def _space(free: int) -> list[Condition]:
    if free >= LOW_BYTES:
        return []
    severity = Severity.CRITICAL if free < FULL_BYTES else Severity.WARNING
    return [Condition(AlarmKind.DATABASE_SPACE, "", severity, {"free_mb": free // (100 * 10**6) * 100})]


async def _sealing(conn: AsyncConnection, now: datetime) -> list[Condition]:
    """Facts that are not in the log though they should be."""
    t = journal_table.c
    sealed = await store.position(conn, audit.JOURNAL)
    oldest = await conn.scalar(select(t.at).where(t.seq > sealed).order_by(t.seq).limit(1))
    if oldest is None or now - oldest <= SEAL_WITHIN:
        return []
    return [Condition(AlarmKind.AUDIT_LATE, "", Severity.CRITICAL, {"since": oldest.isoformat()})]


async def _checkpoint(conn: AsyncConnection, machine: Machine, now: datetime) -> list[Condition]:
    """Leaves that nobody has signed for several periods."""
    if now - machine.started_at < PERIODS * machine.checkpoint_period:
        return []
    newest = await ledger_store.newest_checkpoint(conn)
    if await ledger_store.log_size(conn) == (newest.size if newest else 0):
        return []
    rows = await ledger_store.checkpoint_rows(conn, newest.size - 1, 1) if newest else []
    signed_at = datetime.fromisoformat(rows[0]["published_at"]) if rows else machine.started_at
    if now - signed_at <= PERIODS * machine.checkpoint_period:
        return []
    return [Condition(AlarmKind.CHECKPOINT_LATE, "", Severity.WARNING, {"since": signed_at.isoformat()})]


async def _notices(conn: AsyncConnection, now: datetime) -> list[Condition]:
    """Notices that nobody takes."""
    t = notice_table.c
    waiting = t.sent_at.is_(None) & t.given_up_at.is_(None) & (t.queued_at < now - NOTICE_AFTER)
    row = (await conn.execute(select(func.count(), func.max(t.error)).where(waiting))).one()
    if not row[0]:
        return []
    return [Condition(AlarmKind.NOTICES_STUCK, "", Severity.WARNING, {"notices": row[0], "text": row[1]})]
