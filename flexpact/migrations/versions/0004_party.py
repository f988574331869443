"""What is kept of a VEN beside its registration: suspension, leniency, poll rhythm, findings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

INSTANT = sa.BigInteger  # microseconds since 1970


def upgrade() -> None:
    op.add_column("vtn_ven", sa.Column("suspended_at", INSTANT))
    op.add_column("vtn_ven", sa.Column("lenient", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("vtn_ven", sa.Column("poll_period_s", sa.Integer))
    op.add_column("vtn_ven", sa.Column("ended_registration_id", sa.Text))
    op.create_table(
        "vtn_finding",
        sa.Column("ven_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("rule", sa.Text, primary_key=True, nullable=False),
        sa.Column("message", sa.Text, primary_key=True, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("first_at", INSTANT, nullable=False),
        sa.Column("last_at", INSTANT, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
