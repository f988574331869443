"""XML signatures: which VENs sign, the nonces that were used, the signed messages as they came."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

INSTANT = sa.BigInteger  # microseconds since 1970


def upgrade() -> None:
    for name in ("xml_signature", "signature_required", "signature_leniency"):
        op.add_column("vtn_ven", sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "vtn_nonce",
        sa.Column("fingerprint", sa.Text, primary_key=True, nullable=False),
        sa.Column("nonce", sa.Text, primary_key=True, nullable=False),
        sa.Column("signed_at", INSTANT, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("vtn_nonce_by_time", "vtn_nonce", ["signed_at"])
    op.create_table(
        "vtn_original",
        sa.Column("sha256", sa.Text, primary_key=True, nullable=False),
        sa.Column("ven_id", sa.Text, nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
    )
    op.create_index("vtn_original_by_ven", "vtn_original", ["ven_id", "received_at"])
