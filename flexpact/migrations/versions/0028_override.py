"""Homes that stay out of an event."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.create_table(
        "agg_override",
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("ven_id", sa.Text, primary_key=True),
        sa.Column("r_id", sa.Text, primary_key=True),
        sa.Column("salt", sa.Text, nullable=False),
        sa.Column("said_at", sa.BigInteger, nullable=False),
        sa.Column("taken_back_at", sa.BigInteger),
        sa.Column("lowered_w", sa.Integer, nullable=False),
    )
