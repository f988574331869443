"""How long a VEN's certificate is taken, and short fingerprints that wait for theirs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

INSTANT = sa.BigInteger  # microseconds since 1970


def upgrade() -> None:
    op.add_column("vtn_certificate", sa.Column("valid_until", INSTANT))
    op.add_column("vtn_certificate", sa.Column("expires_at", INSTANT))
    op.create_table(
        "vtn_awaited_certificate",
        sa.Column("digest", sa.Text, primary_key=True, nullable=False),
        sa.Column("tail", sa.Text, primary_key=True, nullable=False),
        sa.Column("ven_id", sa.Text, sa.ForeignKey("vtn_ven.ven_id"), nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("valid_until", INSTANT),
        sqlite_with_rowid=False,
    )
