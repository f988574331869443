"""Events of requests that are changed after they were sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.create_table(
        "agg_change",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text, unique=True),
        sa.Column("asked", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("changed_by", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("agg_change_by_event", "agg_change", ["event_id", "number"])
    op.add_column(
        "agg_call", sa.Column("modification_number", sa.Integer, nullable=False, server_default="0")
    )
