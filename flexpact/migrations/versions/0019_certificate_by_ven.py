"""A node's certificates are found without looking at all."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_index("vtn_certificate_by_ven", "vtn_certificate", ["ven_id"])
    op.create_index("vtn_awaited_certificate_by_ven", "vtn_awaited_certificate", ["ven_id"])
