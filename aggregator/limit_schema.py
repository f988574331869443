"""The tables of the budget's breaker and of events that wait for a second person; their prefix is `agg_`.
The same tables are made by the migrations.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, MetaData, Table, Text

from vtn.schema import Instant

metadata = MetaData()

# Each time that the breaker opened; the writer sees to it that at most one row is not closed. `opened_by` and
# `closed_by` are ids of users.
breaker_table = Table(
    "agg_breaker",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("opened_at", Instant, nullable=False),
    Column("opened_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("closed_at", Instant),
    Column("closed_by", Text),
    Index("agg_breaker_by_close", "closed_at"),
    sqlite_autoincrement=True,
)
# `asked` is the request as canonical JSON, `digest` the hash of exactly what was proposed. States: waiting,
# sent, refused, void (it would be another event now), expired.
approval_table = Table(
    "agg_approval",
    metadata,
    Column("approval_id", Text, primary_key=True),
    Column("asked", Text, nullable=False),
    Column("idempotency_key", Text, unique=True),
    Column("digest", Text, nullable=False),
    Column("power_w", Integer, nullable=False),
    Column("nodes", Integer, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("proposed_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Instant),
    Column("event_id", Text),
    Index("agg_approval_by_state", "state", "proposed_at"),
)
