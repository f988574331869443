"""Many ids as one parameter: JSON that both SQLite and PostgreSQL read as rows by `json_each`.

One parameter for each id costs more than the look-up of the id. An array, or a plain text as a value, would
be read by SQLite alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping


def ids(given: Iterable[str]) -> str:
    """A row for each id, once, in the order given: it is the row's `key`."""
    return json.dumps(dict.fromkeys(given, 0))


def events(given: Mapping[str, str]) -> str:
    """A row for each VEN: its id is the `key`, that of an event is `value->>'event_id'`."""
    return json.dumps({ven_id: {"event_id": event_id} for ven_id, event_id in given.items()})
