"""How often a home has come back to an event."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    column = sa.Column("times_back", sa.Integer, nullable=False, server_default="0")
    op.add_column("agg_override", column)
