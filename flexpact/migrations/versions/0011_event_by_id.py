"""How all VENs stand to an event is found without reading the events of all of them."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_index("vtn_event_by_id", "vtn_event", ["event_id"])
