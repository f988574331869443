"""Signed messages that made no fact are marked: only the newest of a VEN are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("vtn_original", sa.Column("loose", sa.Integer, nullable=False, server_default="0"))
    where = sa.text("loose = 1")
    op.create_index(
        "vtn_original_loose",
        "vtn_original",
        ["ven_id", "received_at"],
        sqlite_where=where,
        postgresql_where=where,
    )
