"""Agreements on the chain: their mirror, what is to be booked, signed calls, the operator's orders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    _agreement()
    _settlement()
    _call()
    _order()


def _agreement() -> None:
    op.create_table(
        "ledger_agreement",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("agreement_id", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("standing", sa.Text),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("seen_at", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ledger_agreement_by_subject", "ledger_agreement", ["subject", "number"])


def _settlement() -> None:
    op.create_table(
        "ledger_settlement",
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("event_key", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("agreement_id", sa.LargeBinary, nullable=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("booking", sa.Text, nullable=False),
        sa.Column("revisions", sa.Text, nullable=False),
        sa.Column("settled", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("look_at", sa.Integer, nullable=False),
        sa.Column("seen_block", sa.Integer),
        sa.Column("seen_hash", sa.LargeBinary),
        sa.CheckConstraint("state IN ('open', 'paid')", name="ledger_settlement_state"),
    )
    op.create_index("ledger_settlement_by_look", "ledger_settlement", ["state", "look_at"])
    op.create_index("ledger_settlement_by_block", "ledger_settlement", ["seen_block"])


def _call() -> None:
    op.create_table(
        "ledger_agreement_call",
        sa.Column("call_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("goal", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("nonce", sa.Integer, nullable=False),
        sa.Column("raw_transaction", sa.LargeBinary, nullable=False),
        sa.Column("changed_at", sa.Text, nullable=False),
        sa.CheckConstraint("state IN ('signed', 'mined', 'dropped')", name="ledger_agreement_call_state"),
        sqlite_autoincrement=True,
    )
    where = sa.text("state = 'signed'")
    op.create_index(
        "ledger_agreement_call_one_signed",
        "ledger_agreement_call",
        ["state"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )


def _order() -> None:
    op.create_table(
        "ledger_agreement_order",
        sa.Column("order_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("agreement_id", sa.LargeBinary, nullable=False),
        sa.Column("event_key", sa.LargeBinary),
        sa.Column("argument", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("made_at", sa.Text, nullable=False),
        sa.CheckConstraint("state IN ('open', 'done', 'refused')", name="ledger_agreement_order_state"),
        sqlite_autoincrement=True,
    )
    op.create_index("ledger_agreement_order_open", "ledger_agreement_order", ["state", "order_id"])
