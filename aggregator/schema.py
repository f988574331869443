"""The aggregator's tables. Their prefix is `agg_`; the same tables are made by the migrations.

A request, its calls and its events are written in one transaction; a statement is written once per revision
and never changed; a position moves in the transaction that did the work it stands for.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, MetaData, Table, Text, UniqueConstraint

from vtn.schema import Instant

metadata = MetaData()

# Every version of every agreement; the newest of a node is in force, a call keeps the one it was made under.
agreement_table = Table(
    "agg_agreement",
    metadata,
    Column("agreement_id", Integer, primary_key=True, autoincrement=True),
    Column("ven_id", Text, nullable=False),
    Column("terms", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Index("agg_agreement_by_ven", "ven_id", "agreement_id"),
    sqlite_autoincrement=True,
)
request_table = Table(
    "agg_request",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("idempotency_key", Text, unique=True),
    Column("asked", Text, nullable=False),  # the request as canonical JSON: a key names one request only
    Column("answer", Text, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("cancelled_at", Instant),
)
# Every change of a request after it was sent, with the request as it stood then.
change_table = Table(
    "agg_change",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False),
    Column("idempotency_key", Text, unique=True),
    Column("asked", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", Text, nullable=False),  # a user's id
    Index("agg_change_by_event", "event_id", "number"),
    sqlite_autoincrement=True,
)
# Forms of events that operators fill in again and again; `name_key` is the name as it is compared.
template_table = Table(
    "agg_event_template",
    metadata,
    Column("template_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False, unique=True),
    Column("content", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", Text, nullable=False),
)
# One node's part in an event. A call that is taken back before it starts is cancelled, one that is stopped
# while it runs ends earlier. settled_revision 0: no statement yet. modification_number: of the version of the
# event that the call is of.
call_table = Table(
    "agg_call",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("ven_id", Text, primary_key=True),
    Column("agreement_id", Integer, nullable=False),
    Column("start", Instant, nullable=False),
    Column("end", Instant, nullable=False),
    Column("power_w", Integer, nullable=False),
    Column("test_event", Boolean, nullable=False),
    Column("notified_at", Instant, nullable=False),
    Column("cancelled_at", Instant),
    Column("settled_revision", Integer, nullable=False, default=0),
    Column("modification_number", Integer, nullable=False, server_default="0"),
    Index("agg_call_by_ven", "ven_id", "start"),
    Index("agg_call_by_end", "end"),
)
# Forecasts as they were issued, one row for a series: nodes' offers and load forecasts, and our own (ven_id
# '').
series_table = Table(
    "agg_series",
    metadata,
    Column("ven_id", Text, primary_key=True),
    Column("r_id", Text, primary_key=True),
    Column("issued_at", Instant, primary_key=True),
    Column("start", Instant, nullable=False),
    Column("step_s", Integer, nullable=False),
    Column("values_kw", Text, nullable=False),
    sqlite_with_rowid=False,
)
statement_table = Table(
    "agg_statement",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False),
    Column("ven_id", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("detail", Text, nullable=False),  # intervals and home shares
    Column("made_at", Instant, nullable=False),
    UniqueConstraint("event_id", "ven_id", "revision"),
    sqlite_autoincrement=True,
)
position_table = Table(
    "agg_position",
    metadata,
    Column("name", Text, primary_key=True),
    Column("seq", Integer, nullable=False),
)
# What the API answered to a change that came with a key, so that the same request is answered the same again.
api_answer_table = Table(
    "agg_api_answer",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("asked", Text, nullable=False),
    Column("status", Integer, nullable=False),  # 0: under way, 1: ordered
    Column("answer", Text, nullable=False),
    Column("made_at", Instant, nullable=False),
    Index("agg_api_answer_by_time", "made_at"),
)
