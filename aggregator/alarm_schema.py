"""The tables of alarms and of the notices about them; the same tables are made by the migrations.

Of a condition there is one open alarm at most: the partial index keeps it so, whoever writes.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, MetaData, Table, Text

from vtn.schema import Instant

metadata = MetaData()

# `subject` is what it is about, such as a ven_id; '' for the platform itself. `detail` holds the values of
# its sentence as JSON. `acknowledged_by` is a user's id.
alarm_table = Table(
    "agg_alarm",
    metadata,
    Column("alarm_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("severity", Integer, nullable=False),  # 1 to 3, see aggregator.alarm.Severity
    Column("detail", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("cleared_at", Instant),
    Column("acknowledged_at", Instant),
    Column("acknowledged_by", Text),
    Column("escalated_at", Instant),
    Index("agg_alarm_by_time", "cleared_at", "alarm_id"),
)
Index(
    "agg_alarm_one_open",
    alarm_table.c.kind,
    alarm_table.c.subject,
    unique=True,
    sqlite_where=alarm_table.c.cleared_at.is_(None),
    postgresql_where=alarm_table.c.cleared_at.is_(None),
)
# What is to be told, and to whom: kept until it was taken or given up. `notice_id` is the same at each try.
notice_table = Table(
    "agg_notice",
    metadata,
    Column("notice_id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("queued_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("sent_at", Instant),
    Column("given_up_at", Instant),
    Column("error", Text, nullable=False),
    Index("agg_notice_by_time", "queued_at"),
)
Index(
    "agg_notice_waiting",
    notice_table.c.due_at,
    sqlite_where=notice_table.c.sent_at.is_(None) & notice_table.c.given_up_at.is_(None),
    postgresql_where=notice_table.c.sent_at.is_(None) & notice_table.c.given_up_at.is_(None),
)
# What admins set on the page of settings: one document for each part of it.
setting_table = Table(
    "agg_setting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("content", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", Text, nullable=False),
)
