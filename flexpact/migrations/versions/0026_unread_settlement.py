"""What the chain says of a penalty is read once for the statement; what it has waived so far is unread."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.add_column("ledger_settlement", sa.Column("unread", sa.Integer, nullable=False, server_default="0"))
    op.execute("UPDATE ledger_settlement SET unread = 1 WHERE settled LIKE '%\"penalty_waived\": true%'")
    op.create_index(
        "ledger_settlement_unread",
        "ledger_settlement",
        ["unread"],
        sqlite_where=sa.text("unread = 1"),
        postgresql_where=sa.text("unread = 1"),
    )
