"""Settling with several calls on their way: one for a nonce, orders done in a block, and acceptances."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    _calls()
    for column in (
        sa.Column("seen_block", sa.Integer),
        sa.Column("seen_hash", sa.LargeBinary),
        sa.Column("reason", sa.Text),
        sa.Column("reason_salt", sa.LargeBinary),
    ):
        op.add_column("ledger_agreement_order", column)
    op.add_column("ledger_agreement", sa.Column("accepted_at", sa.Integer))
    _accepted()


def _calls() -> None:
    op.drop_index("ledger_agreement_call_one_signed", "ledger_agreement_call")
    op.create_index("ledger_agreement_call_by_goal", "ledger_agreement_call", ["goal"])
    op.create_index("ledger_agreement_call_by_nonce", "ledger_agreement_call", ["state", "nonce"])
    where = sa.text("state = 'signed'")
    op.create_index(
        "ledger_agreement_call_one_of_a_nonce",
        "ledger_agreement_call",
        ["nonce"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )


def _accepted() -> None:
    """What the mirror knows of acceptances is kept from now on."""
    conn = op.get_bind()
    rows = conn.execute(sa.text("SELECT number, standing FROM ledger_agreement WHERE standing IS NOT NULL"))
    for number, standing in rows.all():
        accepted_at = json.loads(standing)["accepted_at"]
        if accepted_at:
            conn.execute(
                sa.text("UPDATE ledger_agreement SET accepted_at = :at WHERE number = :number"),
                {"at": accepted_at, "number": number},
            )
