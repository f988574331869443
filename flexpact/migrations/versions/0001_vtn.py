"""The server's tables: VENs, events, outbox, opts, reports, readings, journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

INSTANT = sa.BigInteger  # microseconds since 1970


def _ven_column(*, primary_key: bool = False) -> sa.Column[str]:
    reference = sa.ForeignKey("vtn_ven.ven_id")
    return sa.Column("ven_id", sa.Text, reference, nullable=False, primary_key=primary_key)


def _parties() -> None:
    op.create_table(
        "vtn_ven",
        sa.Column("ven_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("ven_name", sa.Text, nullable=False, unique=True),
        sa.Column("enrolled_at", INSTANT, nullable=False),
        sa.Column("registration_id", sa.Text, unique=True),
        sa.Column("registered_at", INSTANT),
        sa.Column("last_contact", INSTANT),
        sa.Column("report_only", sa.Boolean, nullable=False),
        sa.Column("profile", sa.Text),
        sa.Column("transport", sa.Text),
        sa.Column("metadata_key", sa.Text),
        sa.Column("metadata_answer", sa.LargeBinary),
    )
    op.create_table(
        "vtn_certificate",
        sa.Column("fingerprint", sa.Text, primary_key=True, nullable=False),
        _ven_column(),
        sa.Column("since", INSTANT, nullable=False),
    )
    op.create_table(
        "vtn_pending",
        sa.Column("fingerprint", sa.Text, primary_key=True, nullable=False),
        sa.Column("ven_name", sa.Text, nullable=False),
        sa.Column("last_seen", INSTANT, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
    )


def _events() -> None:
    op.create_table(
        "vtn_event",
        _ven_column(primary_key=True),
        sa.Column("event_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("modification_number", sa.Integer, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("published_at", INSTANT, nullable=False),
        sa.Column("ends_at", INSTANT),
        sa.Column("cancelled_at", INSTANT),
        sa.Column("offered_at", INSTANT),
        sa.Column("delivered_at", INSTANT),
        sa.Column("opt", sa.Text),
        sa.Column("response_code", sa.Text),
        sa.Column("responded_at", INSTANT),
    )
    op.create_index("vtn_event_by_end", "vtn_event", ["ven_id", "ends_at"])
    op.create_table(
        "vtn_outbox",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True, nullable=False),
        _ven_column(),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary),
        sa.Column("queued_at", INSTANT, nullable=False),
        sa.Column("offers", sa.Integer, nullable=False),
        sa.Column("offered_at", INSTANT),
        sa.UniqueConstraint("ven_id", "kind", "key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "vtn_opt",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True, nullable=False),
        _ven_column(),
        sa.Column("key", sa.Text),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("opt_type", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text),
        sa.Column("modification_number", sa.Integer),
        sa.Column("opt_id", sa.Text),
        sa.Column("response_code", sa.Text),
        sa.Column("content", sa.LargeBinary),
        sa.Column("cancelled_at", INSTANT),
        sa.UniqueConstraint("ven_id", "key"),
        sqlite_autoincrement=True,
    )
    op.create_index("vtn_opt_by_event", "vtn_opt", ["ven_id", "event_id"])


def _reports() -> None:
    op.create_table(
        "vtn_report_spec",
        _ven_column(primary_key=True),
        sa.Column("specifier_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("report_name", sa.Text, nullable=False),
        sa.Column("r_ids", sa.JSON, nullable=False),
        sa.Column("registered_at", INSTANT, nullable=False),
    )
    op.create_table(
        "vtn_report_request",
        _ven_column(primary_key=True),
        sa.Column("report_request_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("specifier_id", sa.Text, nullable=False),
        sa.Column("report_name", sa.Text, nullable=False),
        sa.Column("r_ids", sa.JSON, nullable=False),
        sa.Column("start", INSTANT),
        sa.Column("end", INSTANT),
        sa.Column("requested_at", INSTANT, nullable=False),
        sa.Column("accepted_at", INSTANT),
    )
    op.create_table(
        "vtn_reading",
        sa.Column("ts", INSTANT, primary_key=True, nullable=False),
        sa.Column("ven_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("r_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("report_name", sa.Text, primary_key=True, nullable=False),
        sa.Column("duration_s", sa.Float, nullable=False),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("quality", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("report_request_id", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("vtn_reading_by_ven", "vtn_reading", ["ven_id", "ts"])
    op.create_table(
        "vtn_quarantine",
        sa.Column("key", sa.Text, primary_key=True, nullable=False),
        sa.Column("ven_id", sa.Text, nullable=False),
        sa.Column("report_request_id", sa.Text, nullable=False),
        sa.Column("r_id", sa.Text, nullable=False),
        sa.Column("start", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
    )


def upgrade() -> None:
    _parties()
    _events()
    _reports()
    op.create_table(
        "vtn_journal",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("ven_id", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("raw_sha256", sa.Text),
        sqlite_autoincrement=True,
    )
