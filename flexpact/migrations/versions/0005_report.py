"""The life of a report request, what values carry beside their number, and reports of the server's own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

INSTANT = sa.BigInteger  # microseconds since 1970


def _requests() -> None:
    op.add_column("vtn_report_spec", sa.Column("content", sa.LargeBinary))
    for column in (
        sa.Column("content", sa.LargeBinary),
        sa.Column("by_operator", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("cancelled_at", INSTANT),
        sa.Column("report_to_follow", sa.Boolean),
        sa.Column("final_at", INSTANT),
        sa.Column("ended_at", INSTANT),
        sa.Column("outcome", sa.Text),
    ):
        op.add_column("vtn_report_request", column)


def _values() -> None:
    op.create_table(
        "vtn_reading_detail",
        sa.Column("ts", INSTANT, primary_key=True, nullable=False),
        sa.Column("ven_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("r_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("report_name", sa.Text, primary_key=True, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "vtn_green_button",
        sa.Column("ven_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("report_request_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("start", INSTANT, primary_key=True, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )


def _own() -> None:
    op.create_table(
        "vtn_own_report",
        sa.Column("specifier_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("latest", sa.LargeBinary),
    )
    op.create_table(
        "vtn_own_request",
        sa.Column("ven_id", sa.Text, sa.ForeignKey("vtn_ven.ven_id"), primary_key=True, nullable=False),
        sa.Column("report_request_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("specifier_id", sa.Text, nullable=False),
        sa.Column("requested_at", INSTANT, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )


def upgrade() -> None:
    _requests()
    _values()
    _own()
