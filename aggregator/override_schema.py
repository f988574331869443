"""The table of homes that stay out of an event; its prefix is `agg_`. The same table is made by the
migrations.
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, Table, Text

from vtn.schema import Instant

metadata = MetaData()

# One home's word about one event of its node. `lowered_w` is by how much less its node is asked for by it,
# `times_back` how often the home has come back to the event.
# Once the home is erased, `r_id` is the commitment that the journal has, and `salt` is empty.
override_table = Table(
    "agg_override",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("ven_id", Text, primary_key=True),
    Column("r_id", Text, primary_key=True),
    Column("salt", Text, nullable=False),
    Column("said_at", Instant, nullable=False),
    Column("taken_back_at", Instant),
    Column("lowered_w", Integer, nullable=False),
    Column("times_back", Integer, nullable=False, server_default="0"),
)
