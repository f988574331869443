"""Cosignatures are numbered as they come, so that they can be sealed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "ledger_cosignature_numbered",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("witness", sa.Text, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("received_at", sa.Text, nullable=False),
        sa.UniqueConstraint("size", "witness", name="ledger_cosignature_once"),
        sqlite_autoincrement=True,
    )
    op.execute(
        "INSERT INTO ledger_cosignature_numbered (size, witness, line, received_at)"
        " SELECT size, witness, line, received_at FROM ledger_cosignature ORDER BY size, witness"
    )
    op.drop_table("ledger_cosignature")
    op.rename_table("ledger_cosignature_numbered", "ledger_cosignature")
