"""The tables of agreements; the same tables are made by the migrations.

A row of `ledger_agreement` is an agreement with its salt; `standing` is what the chain showed last, NULL
while the chain does not have it. A row of `ledger_settlement` is one event of one node: what is booked, each
revision since, and what the chain showed last; `unread` is 1 until the statement was compared with what the
chain says of its penalty. A row of `ledger_agreement_call` is `signed` once its
transaction is signed and may have been sent, `mined` once its nonce is used, `signed` again if the chain took
that back, `dropped` when another took its place. An order is `done` in a block, of which it keeps the hash.
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
    Column("accepted_at", Integer),  # seconds since 1970, as the chain showed it once
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
    Column("unread", Integer, nullable=False, server_default="0"),
    CheckConstraint("state IN ('open', 'paid')", name="ledger_settlement_state"),
    Index("ledger_settlement_by_look", "state", "look_at"),
    Index("ledger_settlement_by_block", "seen_block"),
    Index(
        "ledger_settlement_unread",
        "unread",
        sqlite_where=text("unread = 1"),
        postgresql_where=text("unread = 1"),
    ),
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
Index("ledger_agreement_call_by_goal", call_table.c.goal)
Index("ledger_agreement_call_by_nonce", call_table.c.state, call_table.c.nonce)
Index(
    "ledger_agreement_call_one_of_a_nonce",
    call_table.c.nonce,
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
    Column("seen_block", Integer),
    Column("seen_hash", LargeBinary),
    Column("reason", Text),  # of a dispute; the chain has the hash of salt and reason
    Column("reason_salt", LargeBinary),
    CheckConstraint("state IN ('open', 'done', 'refused')", name="ledger_agreement_order_state"),
    Index("ledger_agreement_order_open", "state", "order_id"),
    sqlite_autoincrement=True,
)
