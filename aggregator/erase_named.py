"""A node's names in what is kept of others: operators' requests and approvals, alarms, notices, API answers,
and actions in the trail.

What is told to somebody is destroyed with the name in it, and so is an action; of the rest the name alone.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aggregator.access.action import KIND as ACTION
from aggregator.clearance import VOID, WAITING

GONE = "(erased)"
_CHANGED = (
    ("agg_request", ("asked", "answer")),
    ("agg_change", ("asked", "answer")),
    ("agg_event_template", ("content",)),
    ("agg_approval", ("asked",)),
    ("agg_alarm", ("detail",)),
    ("agg_api_answer", ("answer",)),
)
"""Tables whose JSON texts may name a node among others."""


@dataclass(frozen=True)
class Names:
    """What a node is called by: its venID and its name."""

    ven_id: str
    ven_name: str

    @cached_property
    def _told(self) -> re.Pattern[str]:
        either = "|".join(map(re.escape, sorted({self.ven_id, self.ven_name}, key=len, reverse=True)))
        return re.compile(rf"(?<![\w.-])(?:{either})(?![\w-]|\.\w)")

    def told_in(self, value: Any) -> bool:
        """Whether any text in a JSON value names the node."""
        if isinstance(value, dict):
            return any(map(self.told_in, [*value, *value.values()]))
        if isinstance(value, list):
            return any(map(self.told_in, value))
        return isinstance(value, str) and self._told.search(value) is not None

    def acted_on(self, kind: str, body: Any) -> bool:
        """Whether that is an action whose objects or words name the node."""
        return kind == ACTION and self.told_in([body.get("objects"), body.get("detail")])

    def without(self, value: Any) -> Any:
        """A JSON value without entries and items that are or describe the node, and without its names in the
        texts that stay.
        """
        if isinstance(value, dict):
            return {name: self.without(item) for name, item in value.items() if name not in self._both}
        if isinstance(value, list):
            return [self.without(item) for item in value if not self._describes(item)]
        return self._told.sub(GONE, value) if isinstance(value, str) else value

    @property
    def _both(self) -> tuple[str, str]:
        return self.ven_id, self.ven_name

    def _describes(self, item: Any) -> bool:
        if isinstance(item, dict):
            return item.get("ven_id") == self.ven_id or item.get("ven_name") == self.ven_name
        return item in self._both


def rows(conn: sqlite3.Connection, names: Names) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Rows that are destroyed because they name the node: table, clause and values."""
    actions = conn.execute("SELECT seq, kind, body FROM vtn_journal WHERE kind = ?", (ACTION,))
    for seq, kind, body in actions.fetchall():
        if names.acted_on(kind, json.loads(body)):
            yield "vtn_journal", "seq = ?", (seq,)
    for notice_id, body in conn.execute("SELECT notice_id, body FROM agg_notice").fetchall():
        if names.told_in(json.loads(body)):
            yield "agg_notice", "notice_id = ?", (notice_id,)


def forget(conn: sqlite3.Connection, names: Names) -> None:
    """Leave the names out of what stays; an approval that waits and named the node is void."""
    for table, columns in _CHANGED:
        keys = [row[1] for row in conn.execute(f"PRAGMA table_info({table})").fetchall() if row[5]]
        listed = ", ".join([*keys, *columns])
        for row in conn.execute(f"SELECT {listed} FROM {table}").fetchall():  # noqa: S608 - names of the schema
            key, texts = row[: len(keys)], row[len(keys) :]
            kept = [_without(text, names) for text in texts]
            if kept != list(texts):
                sets = ", ".join(f"{column} = ?" for column in columns)
                where = " AND ".join(f"{name} = ?" for name in keys)
                conn.execute(f"UPDATE {table} SET {sets} WHERE {where}", (*kept, *key))  # noqa: S608
                if table == "agg_approval":
                    void = "UPDATE agg_approval SET state = ? WHERE state = ? AND approval_id = ?"
                    conn.execute(void, (VOID, WAITING, *key))


def _without(text: str, names: Names) -> str:
    """The text as it was where it does not name the node."""
    if not text:
        return text
    content = json.loads(text)
    return json.dumps(names.without(content), sort_keys=True) if names.told_in(content) else text
