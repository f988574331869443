"""Requests and values that were set aside are listed by time, and found by id, without looking at all."""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.create_index("vtn_quarantine_by_time", "vtn_quarantine", ["received_at", "key"])
    op.create_index("vtn_report_request_by_time", "vtn_report_request", ["requested_at"])
    op.create_index("vtn_report_request_by_id", "vtn_report_request", ["report_request_id"])
