"""All that is kept of one prosumer and his home, as one zip file of JSON, for himself.

Rules: what `aggregator.erase_home` destroys value by value is what this gives, beside the account, what was
done with it, and the home's part in every event. Nothing in it is of another home or of the node as a whole.
Secrets (passwords, codes, tokens) are not in it: of them there are hashes only.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import home as homes
from aggregator import home_proof
from aggregator.access.action import KIND as ACTIONS
from aggregator.access.errors import RefusedError
from aggregator.access.schema import identity_table, session_table, token_table, user_table
from aggregator.archive import add
from aggregator.home import Home
from aggregator.override_schema import override_table
from aggregator.schema import series_table
from ledger.log import Log
from vtn.schema import journal_table, quarantine_table, reading_detail_table, reading_table

VALUES: tuple[Table, ...] = (
    reading_table,
    reading_detail_table,
    quarantine_table,
    series_table,
    override_table,
)
"""Tables with a row for each value of a home, or each word of it."""
OF_ACCOUNT: tuple[Table, ...] = (user_table, identity_table, session_table, token_table)
"""Tables with what is kept of the account."""
SECRETS = frozenset({"password", "totp_secret", "totp_pending", "token_hash", "key"})
ACTION_KEY, ACTION_KEY_END = f"{ACTIONS}//", f"{ACTIONS}/0"  # keys of actions begin so
ROWS_A_FILE = 20_000
ROWS_AT_ONCE = 1000
RETRY_AFTER_S = 10
IN_MEMORY = 8 * 1024 * 1024


_under_way: set[str] = set()


@contextmanager
def alone(user_id: str) -> Iterator[None]:
    """One file at a time for each user; RefusedError while another is made."""
    if user_id in _under_way:
        text = "your file is being made already: wait until it is there"
        raise RefusedError(429, text, retry_after_s=RETRY_AFTER_S)
    _under_way.add(user_id)
    try:
        yield
    finally:
        _under_way.discard(user_id)


async def export(conn: AsyncConnection, log: Log, user_id: str, home: Home, now: datetime) -> IO[bytes]:
    """The file, at its beginning; the caller closes it."""
    file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - the caller closes it
    with zipfile.ZipFile(file, "w") as archive:
        async for name, content in _files(conn, log, user_id, home, now):
            await asyncio.to_thread(add, archive, name, content, now)
    file.seek(0)
    return file


async def _files(
    conn: AsyncConnection, log: Log, user_id: str, home: Home, now: datetime
) -> AsyncIterator[tuple[str, bytes]]:
    about = {"made_at": now, "user_id": user_id, "ven_ids": home.ven_ids, "home": home.name}
    yield "about.json", _json(about)
    for table in OF_ACCOUNT:
        rows = await conn.execute(select(table).where(table.c.user_id == user_id))
        yield (
            f"account/{table.name.removeprefix('agg_')}.json",
            _json([_shown(row) for row in rows.mappings()]),
        )
    yield "account/actions.json", await asyncio.to_thread(_json, await _actions(conn, user_id))
    for table in VALUES:
        async for file in _values(conn, table, home):
            yield file
    async for file in _events(conn, log, home):
        yield file


async def _actions(conn: AsyncConnection, user_id: str) -> Sequence[dict[str, Any]]:
    """What the account did. Actions are found by their keys: facts of other kinds are many times as many."""
    t = journal_table.c
    of_actions = t.kind == ACTIONS, t.key >= ACTION_KEY, t.key < ACTION_KEY_END
    query = select(t.seq, t.at, t.body).where(*of_actions, t.body["who"].as_string() == user_id)
    rows = (await conn.execute(query)).mappings()
    return sorted((dict(row) for row in rows), key=lambda row: row["seq"])


async def _values(conn: AsyncConnection, table: Table, home: Home) -> AsyncIterator[tuple[str, bytes]]:
    """A table's rows of the home, in files of so many that each can be opened.

    Rows are fetched in pieces and written by a thread: an event waits for no file.
    """
    query = select(table).where(table.c.ven_id.in_(home.ven_ids), table.c.r_id.in_(home.r_ids))
    found = await conn.stream(query.order_by(*table.primary_key.columns))
    name, number = table.name.partition("_")[2], 1
    pieces: list[bytes] = []
    async for rows in found.mappings().partitions(ROWS_AT_ONCE):
        pieces.append(await asyncio.to_thread(_piece, rows))
        if len(pieces) == ROWS_A_FILE // ROWS_AT_ONCE:
            yield f"values/{name}-{number:03d}.json", _joined(pieces)
            number, pieces = number + 1, []
    if pieces:
        yield f"values/{name}-{number:03d}.json", _joined(pieces)


async def _events(conn: AsyncConnection, log: Log, home: Home) -> AsyncIterator[tuple[str, bytes]]:
    """The home's part in each event, its share of every revision, and the receipts that there are."""
    parts = await homes.parts(conn, home, limit=None)
    yield "events.json", await asyncio.to_thread(_listed, parts)
    shares = [share for part in parts for share in await homes.shares(conn, home, part)]
    yield "shares.json", await asyncio.to_thread(_listed, shares)
    for share in shares:
        if share.alone and share.amount_minor is not None and await home_proof.is_anchored(conn, share):
            proof = await home_proof.proof(conn, log, share)
            for name, text in proof.files().items():
                yield f"receipts/{share.number}/{name}", text.encode()


def _shown(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in SECRETS}


def _listed(found: Sequence[Any]) -> bytes:
    return _json([asdict(one) for one in found])


def _piece(rows: Sequence[Any]) -> bytes:
    """The rows as they stand in a list, without its brackets."""
    return _json([_shown(row) for row in rows])[2:-3]


def _joined(pieces: Sequence[bytes]) -> bytes:
    return b"[\n" + b",\n".join(pieces) + b"\n]\n"


def _json(content: Any) -> bytes:
    return (json.dumps(content, default=_plain, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Enum | date | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not to be exported")
