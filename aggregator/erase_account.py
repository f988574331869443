"""Accounts in a database that nobody has open: every door shut after a restore, and those of an erased person
closed.

An erased person's account stays as a random id, because the trail of actions names people by it: without
name, password and second factor, suspended, and for no node.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime

from aggregator.access.action import BY_SOCKET
from aggregator.clearance import VOID, WAITING
from vtn.schema import micros

_OWN = (
    ("agg_session", "user_id"),
    ("agg_link", "user_id"),
    ("agg_token", "user_id"),
    ("agg_recovery", "user_id"),
    ("agg_identity", "user_id"),
    ("agg_api_answer", "owner"),
)
"""Tables with rows of one account, and the column that says whose."""
_ANONYMOUS = (
    "UPDATE agg_user SET name = :name, name_key = :name, password = NULL, language = NULL, time_zone = NULL,"
    " scope = '[]', home = NULL, totp_secret = NULL, totp_pending = NULL,"
    " suspended_at = coalesce(suspended_at, :now) WHERE user_id = :user_id"
)


def shut_all(conn: sqlite3.Connection, now: datetime) -> None:
    """End every session, link and token and void every waiting approval, in the caller's transaction: which
    of them were revoked after a backup is not known to it.
    """
    at = micros(now)
    conn.execute("UPDATE agg_session SET ended_at = ? WHERE ended_at IS NULL", (at,))
    conn.execute("UPDATE agg_link SET used_at = ? WHERE used_at IS NULL", (at,))
    conn.execute("UPDATE agg_token SET revoked_at = ? WHERE revoked_at IS NULL", (at,))
    conn.execute(
        "UPDATE agg_approval SET state = ?, decided_by = ?, decided_at = ? WHERE state = ?",
        (VOID, BY_SOCKET, at, WAITING),
    )


def accounts_of(conn: sqlite3.Connection, ven_id: str, home: str | None = None) -> dict[str, list[str]]:
    """The accounts that are for a node, or for one home behind it: what else each one is for, by its id."""
    found = {}
    rows = conn.execute("SELECT user_id, scope, home FROM agg_user WHERE scope IS NOT NULL").fetchall()
    for user_id, scope, its_home in rows:
        ven_ids = json.loads(scope)
        if ven_id in ven_ids and (home is None or its_home == home):
            found[str(user_id)] = [each for each in ven_ids if each != ven_id]
    return found


def homes(conn: sqlite3.Connection) -> set[tuple[str, str]]:
    """The homes that accounts are for: venID of the node, and the home's own id."""
    rows = conn.execute("SELECT scope, home FROM agg_user WHERE scope IS NOT NULL AND home IS NOT NULL")
    return {(ven_id, home) for scope, home in rows.fetchall() for ven_id in json.loads(scope)}


def close(conn: sqlite3.Connection, accounts: dict[str, list[str]], now: datetime) -> None:
    """Take the erased node or home out of its accounts, in the caller's transaction; an account that is for
    nothing else then is nobody's any more, and opens nothing.
    """
    for user_id, others in accounts.items():
        if others:
            conn.execute("UPDATE agg_user SET scope = ? WHERE user_id = ?", (json.dumps(others), user_id))
            continue
        for table, column in _OWN:
            conn.execute(f"DELETE FROM {table} WHERE {column} = ?", (user_id,))  # noqa: S608 - names of the schema
        conn.execute(
            _ANONYMOUS, {"name": f"erased-{user_id}".lower(), "now": micros(now), "user_id": user_id}
        )
