"""What a migrated database keeps by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

TRIGGERS = {
    "vtn_event_inserted": "vtn_event",
    "vtn_event_changed": "vtn_event",
    "vtn_event_deleted": "vtn_event",
    "vtn_outbox_event_inserted": "vtn_outbox",
    "vtn_outbox_event_deleted": "vtn_outbox",
}
COUNTED = (
    "INSERT INTO vtn_event (ven_id, event_id, modification_number, content, published_at)"
    " VALUES ('v1', 'e1', 0, x'00', 0)",
    "UPDATE vtn_event SET content = x'01'",
    "UPDATE vtn_event SET ends_at = 1",
    "UPDATE vtn_event SET cancelled_at = 1",
    "INSERT INTO vtn_outbox (ven_id, kind, key, queued_at, offers) VALUES ('v1', 'event', 'e1', 0, 0)",
    "DELETE FROM vtn_outbox WHERE kind = 'event'",
    "DELETE FROM vtn_event",
)
NOT_COUNTED = (
    "UPDATE vtn_event SET offered_at = 1, delivered_at = 1, opt = 'optIn', response_code = '200'",
    "UPDATE vtn_outbox SET offers = offers + 1",
    "INSERT INTO vtn_outbox (ven_id, kind, key, queued_at, offers) VALUES ('v1', 'create_report', 'r', 0, 0)",
    "DELETE FROM vtn_outbox WHERE kind = 'create_report'",
)


@pytest.fixture
def raw(database_path: Path) -> Iterator[sqlite3.Connection]:
    """A writer that knows nothing of this package, with two VENs."""
    with closing(sqlite3.connect(database_path, isolation_level=None)) as connection:
        for ven_id in ("v1", "v2"):
            connection.execute(
                "INSERT INTO vtn_ven (ven_id, ven_name, enrolled_at, report_only) VALUES (?, ?, 0, 0)",
                (ven_id, ven_id),
            )
        yield connection


def versions(connection: sqlite3.Connection) -> list[int]:
    rows = connection.execute("SELECT events_version FROM vtn_ven ORDER BY ven_id")
    return [row[0] for row in rows]


def test_a_migrated_database_has_the_triggers_and_no_others(raw: sqlite3.Connection) -> None:
    rows = raw.execute("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'")
    assert dict(rows.fetchall()) == TRIGGERS


def test_whatever_is_done_to_a_vens_events_counts_for_it_alone(raw: sqlite3.Connection) -> None:
    assert versions(raw) == [0, 0]
    for number, statement in enumerate(COUNTED, 1):
        raw.execute(statement)
        assert versions(raw) == [number, 0], statement


def test_what_a_ven_answers_and_other_things_that_wait_do_not_count(raw: sqlite3.Connection) -> None:
    for statement in (COUNTED[0], COUNTED[4]):
        raw.execute(statement)
    for statement in NOT_COUNTED:
        raw.execute(statement)
        assert versions(raw) == [2, 0], statement
