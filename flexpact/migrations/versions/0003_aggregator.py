"""The aggregator's tables: agreements, requests, calls, forecasts, statements, positions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INSTANT = sa.BigInteger  # microseconds since 1970


def _requests() -> None:
    op.create_table(
        "agg_agreement",
        sa.Column("agreement_id", sa.Integer, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("ven_id", sa.Text, nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("agg_agreement_by_ven", "agg_agreement", ["ven_id", "agreement_id"])
    op.create_table(
        "agg_request",
        sa.Column("request_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
        sa.Column("idempotency_key", sa.Text, unique=True),
        sa.Column("asked", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("requested_at", INSTANT, nullable=False),
        sa.Column("cancelled_at", INSTANT),
    )
    op.create_table(
        "agg_call",
        sa.Column("event_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("ven_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("agreement_id", sa.Integer, nullable=False),
        sa.Column("start", INSTANT, nullable=False),
        sa.Column("end", INSTANT, nullable=False),
        sa.Column("power_w", sa.Integer, nullable=False),
        sa.Column("test_event", sa.Boolean, nullable=False),
        sa.Column("notified_at", INSTANT, nullable=False),
        sa.Column("cancelled_at", INSTANT),
        sa.Column("settled_revision", sa.Integer, nullable=False),
    )
    op.create_index("agg_call_by_ven", "agg_call", ["ven_id", "start"])
    op.create_index("agg_call_by_end", "agg_call", ["end"])


def _results() -> None:
    op.create_table(
        "agg_series",
        sa.Column("ven_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("r_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("issued_at", INSTANT, primary_key=True, nullable=False),
        sa.Column("start", INSTANT, nullable=False),
        sa.Column("step_s", sa.Integer, nullable=False),
        sa.Column("values_kw", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "agg_statement",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("ven_id", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("made_at", INSTANT, nullable=False),
        sa.UniqueConstraint("event_id", "ven_id", "revision"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "agg_position",
        sa.Column("name", sa.Text, primary_key=True, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
    )


def upgrade() -> None:
    _requests()
    _results()
