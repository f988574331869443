"""Reports that must be signed: a setting of each VEN."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column(
        "vtn_ven",
        sa.Column("report_signature_required", sa.Boolean, nullable=False, server_default=sa.false()),
    )
