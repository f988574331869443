"""A version of each VEN's events: it counts whatever is done to them, by whichever process."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

COUNT_NEW = "BEGIN UPDATE vtn_ven SET events_version = events_version + 1 WHERE ven_id = NEW.ven_id; END"
COUNT_OLD = "BEGIN UPDATE vtn_ven SET events_version = events_version + 1 WHERE ven_id = OLD.ven_id; END"
TRIGGERS = (
    f"vtn_event_inserted AFTER INSERT ON vtn_event {COUNT_NEW}",
    f"vtn_event_changed AFTER UPDATE OF content, ends_at, cancelled_at ON vtn_event {COUNT_NEW}",
    f"vtn_event_deleted AFTER DELETE ON vtn_event {COUNT_OLD}",
    f"vtn_outbox_event_inserted AFTER INSERT ON vtn_outbox WHEN NEW.kind = 'event' {COUNT_NEW}",
    f"vtn_outbox_event_deleted AFTER DELETE ON vtn_outbox WHEN OLD.kind = 'event' {COUNT_OLD}",
)


def upgrade() -> None:
    op.add_column("vtn_ven", sa.Column("events_version", sa.Integer, nullable=False, server_default="0"))
    for trigger in TRIGGERS:
        op.execute(f"CREATE TRIGGER {trigger}")
