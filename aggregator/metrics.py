"""What Prometheus is told: how the platform does, in numbers, read when they are asked for.

Nothing here is secret to those who may see the fleet, and nothing names a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import audit, store
from aggregator.dashboard.health import Health, health
from aggregator.dashboard.page import Desk
from ledger import store as ledger_store
from ledger.store import anchor_table, checkpoint_table
from vtn import outbox
from vtn.latency import STEPS_S, Latencies
from vtn.schema import event_table, journal_table, outbox_table, ven_table

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAME = "flexpact_"
_WEB = ("page", "method", "status")
_VTN = ("service", "status")
Labelled = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class _Scrape:
    """What is told at once; `generate_latest` asks it."""

    metrics: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        """All of it."""
        return self.metrics


async def exposition(desk: Desk, web: Latencies, ready: bool) -> bytes:
    """All metrics as text."""
    found = [
        _histogram("http_request_seconds", "Requests of browsers and programs.", _WEB, web),
        _histogram("vtn_request_seconds", "Messages of VENs.", _VTN, desk.vtn.latencies),
        _counter("db_write_errors", "Commits that failed.", desk.db.failures),
        _gauge("tasks_failing", "Tasks that fail again and again.", len(desk.tasks.failing())),
        _gauge("db_waiting", "Units of work that wait for the writer.", desk.db.waiting),
        _gauge("chain_alarm", "1: the chain does not take anchors.", bool(desk.chain_state()["alarm"])),
        _gauge("ready", "1: all that `/ready` asks is well.", ready),
    ]
    now = desk.clock()
    async with desk.db.read() as conn:
        found += await _of_fleet(conn, desk, now)
        found += await _of_evidence(conn, now)
    return generate_latest(_Scrape(found))


async def _of_fleet(conn: AsyncConnection, desk: Desk, now: datetime) -> list[Metric]:
    states: dict[tuple[str, ...], float] = {(str(each),): 0.0 for each in Health}
    contacts, period = desk.office.contacts(), desk.settings.vtn.poll_period_s
    t = ven_table.c
    columns = (t.ven_id, t.registration_id, t.suspended_at, t.poll_period_s, t.last_contact)
    for ven in await conn.execute(select(*columns)):
        contact = contacts.get(ven.ven_id, ven.last_contact)
        states[(str(health(ven, contact, period, now)),)] += 1
    answers: dict[tuple[str, ...], float] = {(each,): 0.0 for each in ("optIn", "optOut", "waiting")}
    e = event_table.c
    current = (e.cancelled_at.is_(None), (e.ends_at.is_(None)) | (e.ends_at > now))
    for opt, count in await conn.execute(select(e.opt, func.count()).where(*current).group_by(e.opt)):
        answers[(opt or "waiting",)] = count
    oldest = (await conn.execute(select(func.min(outbox_table.c.queued_at)))).scalar()
    return [
        _gauge("vens", "VENs by how they do.", states, "state"),
        _gauge("event_answers", "Answers of VENs to events that are not over.", answers, "answer"),
        _gauge("outbox_items", "Messages that wait for polls.", await outbox.length(conn)),
        _gauge("outbox_age_seconds", "How long the oldest of them waits.", _age(oldest, now)),
    ]


async def _of_evidence(conn: AsyncConnection, now: datetime) -> list[Metric]:
    sealed = await store.position(conn, audit.JOURNAL)
    j = journal_table.c
    open_facts = (await conn.execute(select(func.count()).where(j.seq > sealed))).scalar_one()
    oldest = select(j.at).where(j.seq > sealed).order_by(j.seq).limit(1)
    signed = select(func.max(checkpoint_table.c.published_at))
    anchored = select(func.max(anchor_table.c.changed_at)).where(anchor_table.c.state == "anchored")
    return [
        _gauge("facts_unsealed", "Facts of the journal that are no leaves yet.", open_facts),
        _gauge("facts_unsealed_age_seconds", "Age of the oldest of them.", await _since(conn, oldest, now)),
        _gauge("log_leaves", "Leaves of the log.", await ledger_store.log_size(conn)),
        _gauge("log_anchored_leaves", "Leaves that the chain holds.", await ledger_store.anchored_size(conn)),
        _gauge("checkpoint_age_seconds", "Age of the newest one.", await _since(conn, signed, now)),
        _gauge("anchor_age_seconds", "Age of the newest anchor.", await _since(conn, anchored, now)),
    ]


async def _since(conn: AsyncConnection, query: Select[Any], now: datetime) -> float:
    found = (await conn.execute(query)).scalar()
    return _age(datetime.fromisoformat(found) if isinstance(found, str) else found, now)


def _age(since: datetime | None, now: datetime) -> float:
    """Seconds; 0 where there is nothing."""
    return 0.0 if since is None else max((now - since) / timedelta(seconds=1), 0.0)


def _gauge(name: str, words: str, value: float | Labelled, label: str = "") -> Metric:
    if not isinstance(value, Mapping):
        return GaugeMetricFamily(_NAME + name, words, value=float(value))
    family = GaugeMetricFamily(_NAME + name, words, labels=[label])
    for labels, count in value.items():
        family.add_metric(labels, count)
    return family


def _counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(_NAME + name, words, value=float(value))


def _histogram(name: str, words: str, labels: Sequence[str], known: Latencies) -> Metric:
    family = HistogramMetricFamily(_NAME + name, words, labels=list(labels))
    for kind, latency in sorted(known.kinds.items()):
        bounds = (*map(str, STEPS_S), "+Inf")
        buckets = [(bound, float(n)) for bound, n in zip(bounds, accumulate(latency.counts), strict=True)]
        family.add_metric(list(kind), buckets, latency.seconds)
    return family
