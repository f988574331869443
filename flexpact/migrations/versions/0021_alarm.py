"""Alarms, the notices about them, and what admins set in the dashboard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

INSTANT = sa.BigInteger  # microseconds since 1970


def upgrade() -> None:
    _alarm()
    _notice()
    _setting()


def _alarm() -> None:
    op.create_table(
        "agg_alarm",
        sa.Column("alarm_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.Column("cleared_at", INSTANT),
        sa.Column("acknowledged_at", INSTANT),
        sa.Column("acknowledged_by", sa.Text),
        sa.Column("escalated_at", INSTANT),
    )
    op.create_index("agg_alarm_by_time", "agg_alarm", ["cleared_at", "alarm_id"])
    still_open = sa.text("cleared_at IS NULL")
    op.create_index(
        "agg_alarm_one_open",
        "agg_alarm",
        ["kind", "subject"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )


def _notice() -> None:
    op.create_table(
        "agg_notice",
        sa.Column("notice_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("queued_at", INSTANT, nullable=False),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("sent_at", INSTANT),
        sa.Column("given_up_at", INSTANT),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_index("agg_notice_by_time", "agg_notice", ["queued_at"])
    waiting = sa.text("sent_at IS NULL AND given_up_at IS NULL")
    op.create_index(
        "agg_notice_waiting", "agg_notice", ["due_at"], sqlite_where=waiting, postgresql_where=waiting
    )


def _setting() -> None:
    op.create_table(
        "agg_setting",
        sa.Column("name", sa.Text, primary_key=True, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.Column("changed_by", sa.Text, nullable=False),
    )
