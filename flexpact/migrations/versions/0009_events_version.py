"""A version of each VEN's events: it counts whatever is done to them, by whichever process."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

COUNT = "UPDATE vtn_ven SET events_version = events_version + 1 WHERE ven_id = {row}.ven_id;"
TRIGGERS = (
    ("vtn_event_inserted", "AFTER INSERT ON vtn_event", "", "NEW"),
    ("vtn_event_changed", "AFTER UPDATE OF content, ends_at, cancelled_at ON vtn_event", "", "NEW"),
    ("vtn_event_deleted", "AFTER DELETE ON vtn_event", "", "OLD"),
    ("vtn_outbox_event_inserted", "AFTER INSERT ON vtn_outbox", "NEW.kind = 'event'", "NEW"),
    ("vtn_outbox_event_deleted", "AFTER DELETE ON vtn_outbox", "OLD.kind = 'event'", "OLD"),
)


def upgrade() -> None:
    op.add_column("vtn_ven", sa.Column("events_version", sa.Integer, nullable=False, server_default="0"))
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    for row in ("NEW", "OLD") if on_postgresql else ():
        op.execute(
            f"CREATE FUNCTION vtn_count_{row} () RETURNS trigger LANGUAGE plpgsql AS $$ "
            f"BEGIN {COUNT.format(row=row)} RETURN NULL; END $$"
        )
    for name, moment, condition, row in TRIGGERS:
        if on_postgresql:
            when, what = condition and f"WHEN ({condition})", f"EXECUTE FUNCTION vtn_count_{row} ()"
        else:
            when, what = condition and f"WHEN {condition}", f"BEGIN {COUNT.format(row=row)} END"
        op.execute(f"CREATE TRIGGER {name} {moment} FOR EACH ROW {when} {what}")
