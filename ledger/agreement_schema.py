"""The tables of agreements; the same tables are made by the migrations.

A row of `ledger_agreement` is an agreement with its salt; `standing` is what the chain showed last, NULL
while the chain does not have it. A row of `ledger_settlement` is one event of one node: what is booked, each
revision since, and what the chain showed last. A row of `ledger_agreement_call` is `signed` once its
transaction is signed and may have been sent, `mined` once its nonce is used, `dropped` when it can no more
come to pass.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

metadata = MetaData()

agreement_table = Table(
    "ledger_agreement",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("agreement_id", LargeBinary, nullable=False, unique=True),
    Column("subject", Text, nullable=False),  # the aggregator's own name of the node; never on the chain
    Column("salt", LargeBinary, nullable=False),
    Column("terms", Text, nullable=False),
    Column("standing", Text),
    Column("text", Text, nullable=False),  # what stands against it, for a person
    Column("seen_at", Text, nullable=False),
    Index("ledger_agreement_by_subject", "subject", "number"),
    sqlite_autoincrement=True,
)
settlement_table = Table(
    "ledger_settlement",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("event_key", LargeBinary, nullable=False, unique=True),
    Column("agreement_id", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("booking", Text, nullable=False),
    Column("revisions", Text, nullable=False),  # JSON, the first is the booking's
    Column("settled", Text),
    Column("state", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("look_at", Integer, nullable=False),  # seconds since 1970
    Column("seen_block", Integer),
    Column("seen_hash", LargeBinary),
    CheckConstraint("state IN ('open', 'paid')", name="ledger_settlement_state"),
    Index("ledger_settlement_by_look", "state", "look_at"),
    Index("ledger_settlement_by_block", "seen_block"),
)
call_table = Table(
    "ledger_agreement_call",
    metadata,
    Column("call_id", Integer, primary_key=True, autoincrement=True),
    Column("goal", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("nonce", Integer, nullable=False),
    Column("raw_transaction", LargeBinary, nullable=False),
    Column("changed_at", Text, nullable=False),
    CheckConstraint("state IN ('signed', 'mined', 'dropped')", name="ledger_agreement_call_state"),
    sqlite_autoincrement=True,
)
Index(
    "ledger_agreement_call_one_signed",
    call_table.c.state,
    unique=True,
    sqlite_where=text("state = 'signed'"),
    postgresql_where=text("state = 'signed'"),
)
# What the aggregator's operator wants of an agreement beyond what statements ask for.
order_table = Table(
    "ledger_agreement_order",
    metadata,
    Column("order_id", Integer, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("agreement_id", LargeBinary, nullable=False),
    Column("event_key", LargeBinary),
    Column("argument", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("made_at", Text, nullable=False),
    CheckConstraint("state IN ('open', 'done', 'refused')", name="ledger_agreement_order_state"),
    Index("ledger_agreement_order_open", "state", "order_id"),
    sqlite_autoincrement=True,
)
