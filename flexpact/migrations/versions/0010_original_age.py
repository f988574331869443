"""Signed messages by age, so that old ones are found."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_index("vtn_original_by_time", "vtn_original", ["received_at"])
