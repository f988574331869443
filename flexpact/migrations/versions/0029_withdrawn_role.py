"""Since when the identity provider gives a user no role."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.add_column("agg_user", sa.Column("withdrawn_at", sa.BigInteger))
