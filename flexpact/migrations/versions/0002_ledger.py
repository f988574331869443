"""The ledger's tables: leaves, tiles of the Merkle tree, checkpoints, anchors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_leaf",
        sa.Column("leaf_index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("canonical", sa.LargeBinary),
    )
    op.create_table(
        "ledger_tile",
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("tile_index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ledger_checkpoint",
        sa.Column("size", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("commitment", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("published_at", sa.Text, nullable=False),
    )
    op.create_table(
        "ledger_anchor",
        sa.Column("anchor_id", sa.Integer, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("from_size", sa.Integer),
        sa.Column("nonce", sa.Integer),
        sa.Column("raw_transaction", sa.LargeBinary),
        sa.Column("proof", sa.Text),
        sa.Column("changed_at", sa.Text, nullable=False),
        sa.CheckConstraint("state IN ('signed', 'anchored', 'dropped')", name="ledger_anchor_state"),
        sa.CheckConstraint("state != 'anchored' OR proof IS NOT NULL", name="ledger_anchor_proof"),
    )
    for name, column, state in (
        ("ledger_anchor_one_signed", "state", "signed"),
        ("ledger_anchor_once", "size", "anchored"),
    ):
        where = sa.text(f"state = '{state}'")
        op.create_index(
            name, "ledger_anchor", [column], unique=True, sqlite_where=where, postgresql_where=where
        )


def downgrade() -> None:
    for table in ("ledger_anchor", "ledger_checkpoint", "ledger_tile", "ledger_leaf"):
        op.drop_table(table)
