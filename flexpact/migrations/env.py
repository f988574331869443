"""Alembic's entry: runs the revisions on the connection that `flexpact.migrations.upgrade` opened."""

from __future__ import annotations

from alembic import context
from sqlalchemy.engine import Connection

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, transactional_ddl=True)
context.run_migrations()
