"""Accounts at an identity provider that sign in as users."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.create_table(
        "agg_identity",
        sa.Column("issuer", sa.Text, primary_key=True, nullable=False),
        sa.Column("claim", sa.Text, primary_key=True, nullable=False),
        sa.Column("subject", sa.Text, primary_key=True, nullable=False),
        sa.Column("user_id", sa.Text, sa.ForeignKey("agg_user.user_id"), nullable=False, unique=True),
        sa.Column("linked_at", sa.BigInteger, nullable=False),
    )
