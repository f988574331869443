"""The budget's breaker, and events that wait for a second person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_table(
        "agg_breaker",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.Column("opened_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("closed_at", sa.BigInteger),
        sa.Column("closed_by", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("agg_breaker_by_close", "agg_breaker", ["closed_at"])
    op.create_table(
        "agg_approval",
        sa.Column("approval_id", sa.Text, primary_key=True),
        sa.Column("asked", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text, unique=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("power_w", sa.Integer, nullable=False),
        sa.Column("nodes", sa.Integer, nullable=False),
        sa.Column("proposed_by", sa.Text, nullable=False),
        sa.Column("proposed_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("decided_by", sa.Text),
        sa.Column("decided_at", sa.BigInteger),
        sa.Column("event_id", sa.Text),
    )
    op.create_index("agg_approval_by_state", "agg_approval", ["state", "proposed_at"])
