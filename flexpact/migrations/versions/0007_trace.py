"""The message trace: which VENs are traced, and what was said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

INSTANT = sa.BigInteger  # microseconds since 1970


def upgrade() -> None:
    op.create_table(
        "vtn_traced",
        sa.Column("ven_id", sa.Text, sa.ForeignKey("vtn_ven.ven_id"), primary_key=True, nullable=False),
        sa.Column("since", INSTANT, nullable=False),
    )
    op.create_table(
        "vtn_trace",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("ven_id", sa.Text, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("direction", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("request_name", sa.Text),
        sa.Column("response_name", sa.Text),
        sa.Column("http_status", sa.Integer, nullable=False),
        sa.Column("response_code", sa.Text),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("vtn_trace_by_ven", "vtn_trace", ["ven_id", "seq"])
