"""All SQL of the ledger. Tables begin with `ledger_`; functions take the caller's connection and never
commit.

A row of `ledger_leaf` is a record (payload and salt become NULL when it is erased; its hash stays in
`ledger_tile`). A row of `ledger_anchor` is one transition of the contract's head: `signed` once its
transaction is signed and may have been sent, `anchored` once the contract was seen to hold it, `dropped`
when it can no more come to pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate, chain, takewhile
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    any_,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert  # SQLite compiles it too
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.checkpoint import Checkpoint
from ledger.receipt import Anchor, commitment
from ledger.record import SALT_BYTES, time_text
from ledger.tile import Place

metadata = MetaData()

leaf_table = Table(
    "ledger_leaf",
    metadata,
    Column("leaf_index", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False, unique=True),
    Column("salt", LargeBinary),
    Column("canonical", LargeBinary),
)

tile_table = Table(
    "ledger_tile",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("tile_index", Integer, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)

checkpoint_table = Table(
    "ledger_checkpoint",
    metadata,
    Column("size", Integer, primary_key=True, autoincrement=False),
    Column("commitment", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("published_at", Text, nullable=False),
    UniqueConstraint("commitment"),
)

anchor_table = Table(
    "ledger_anchor",
    metadata,
    Column("anchor_id", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("from_size", Integer),
    Column("nonce", Integer),
    Column("raw_transaction", LargeBinary),
    Column("proof", Text),
    Column("changed_at", Text, nullable=False),
    CheckConstraint("state IN ('signed', 'anchored', 'dropped')", name="ledger_anchor_state"),
    CheckConstraint("state != 'anchored' OR proof IS NOT NULL", name="ledger_anchor_proof"),
)
Index(
    "ledger_anchor_one_signed",
    anchor_table.c.state,
    unique=True,
    sqlite_where=text("state = 'signed'"),
    postgresql_where=text("state = 'signed'"),
)
Index(
    "ledger_anchor_once",
    anchor_table.c.size,
    unique=True,
    sqlite_where=text("state = 'anchored'"),
    postgresql_where=text("state = 'anchored'"),
)


LeafRow = tuple[str, bytes, bytes, bytes]
"""Key, salt, canonical bytes and hash of a leaf; the hash is kept in a tile."""


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """A row of the log; `salt` and `canonical` are None once the record is erased."""

    index: int
    key: str
    salt: bytes | None
    canonical: bytes | None


@dataclass(frozen=True, slots=True)
class Transition:
    """A signed transaction that moves the contract's head from one checkpoint to a later one."""

    size: int
    from_size: int
    nonce: int
    raw_transaction: bytes
    anchor_id: int = 0
    """Its row; 0 before it has one."""


async def log_size(conn: AsyncConnection) -> int:
    """The number of leaves."""
    newest = (await conn.execute(select(func.max(leaf_table.c.leaf_index)))).scalar()
    return 0 if newest is None else int(newest) + 1


async def leaves_by_key(conn: AsyncConnection, keys: Sequence[str]) -> dict[str, StoredLeaf]:
    """Those of these keys that are in the log."""
    if conn.dialect.name != "sqlite":
        given = any_(literal(list(keys), ARRAY(Text)))  # one parameter: of others there are at most 32,767
        rows = await conn.execute(select(leaf_table).where(leaf_table.c.key == given))
        return {row.key: StoredLeaf(*row) for row in rows}
    # Few parameters instead of one for each key: building thousands of them costs more than the look-up.
    names = [key.encode() for key in keys]
    starts = accumulate(map(len, names), initial=0)
    places = [start << _KEY_BITS | len(name) for start, name in zip(starts, names, strict=False)]
    parameters = {"names": b"".join(names), "places": json.dumps(places), "bits": _KEY_BITS}
    rows = await conn.execute(_BY_KEY, {**parameters, "mask": (1 << _KEY_BITS) - 1})
    return {row.key: StoredLeaf(*row) for row in rows}


_KEY_BITS = 31
"""Where a key begins and its length make one integer of SQLite; nothing there is longer."""
# Keys come as bytes: in JSON a NUL would end them.
_BY_KEY = text("""/* SQLite */
    SELECT leaf_index, key, salt, canonical FROM ledger_leaf
    WHERE key IN (SELECT CAST(substr(:names, (value >> :bits) + 1, value & :mask) AS TEXT)
                  FROM json_each(:places))
""")


async def leaf(conn: AsyncConnection, index: int) -> StoredLeaf | None:
    """One leaf."""
    row = (await conn.execute(select(leaf_table).where(leaf_table.c.leaf_index == index))).one_or_none()
    return None if row is None else StoredLeaf(*row)


async def leaves_from(conn: AsyncConnection, first: int, prefix: str) -> list[StoredLeaf]:
    """The leaves from an index on whose key begins with that text, which is ASCII."""
    t, after = leaf_table, prefix[:-1] + chr(ord(prefix[-1]) + 1)
    query = select(t).where(t.c.leaf_index >= first, t.c.key >= prefix, t.c.key < after)
    return [StoredLeaf(*row) for row in await conn.execute(query.order_by(t.c.leaf_index))]


async def add_leaves(conn: AsyncConnection, first: int, rows: Sequence[LeafRow]) -> int:
    """Insert leaves whose key is new, numbered from `first`; how many that were."""
    if not rows:
        return 0
    salts = b"".join([salt for _, salt, _, _ in rows])
    if len(salts) != SALT_BYTES * len(rows):
        raise ValueError(f"every salt has {SALT_BYTES} bytes")
    names = [key.encode() for key, _, _, _ in rows]
    canonicals = [canonical for _, _, canonical, _ in rows]
    places, start = [], 0
    for name, content in zip(map(len, names), map(len, canonicals), strict=True):
        places.append(start << 2 * _PLACE_BITS | name << _PLACE_BITS | content)
        start += name + content
    if start >> _PLACE_BITS or conn.dialect.name != "sqlite":
        long = [
            {"leaf_index": index, "key": key, "salt": salt, "canonical": canonical}
            for index, (key, salt, canonical, _) in enumerate(rows, first)
        ]
        return len((await conn.execute(_ADD_LEAF, long)).all())
    parameters = {
        "first": first,
        "salts": salts,
        "salt": SALT_BYTES,
        "pieces": b"".join(chain.from_iterable(zip(names, canonicals, strict=True))),
        "places": json.dumps(places),
        "bits": _PLACE_BITS,
        "mask": (1 << _PLACE_BITS) - 1,
    }
    return (await conn.execute(_ADD_LEAVES, parameters)).rowcount


_PLACE_BITS = 21
"""Where a key begins, its length, and that of the canonical bytes behind it make one integer of SQLite."""
# One statement for many rows: SQLite runs it in one go, and Python has time for something else meanwhile.
_ADD_LEAVES = text("""/* SQLite */
    INSERT INTO ledger_leaf (leaf_index, key, salt, canonical)
    SELECT :first + key,
           CAST(substr(:pieces, start + 1, name) AS TEXT),
           substr(:salts, :salt * key + 1, :salt),
           substr(:pieces, start + name + 1, content)
    FROM (SELECT key, value >> 2 * :bits AS start, value >> :bits & :mask AS name, value & :mask AS content
          FROM json_each(:places))
    WHERE true ON CONFLICT (key) DO NOTHING
""")
_ADD_LEAF = (
    upsert(leaf_table).on_conflict_do_nothing(index_elements=["key"]).returning(leaf_table.c.leaf_index)
)


async def tiles(conn: AsyncConnection, places: Iterable[Place]) -> dict[Place, bytes]:
    """The content of tiles."""
    rows = await conn.execute(_TILES, {"places": json.dumps(dict(enumerate(places)))})
    return {(row.level, row.tile_index): row.hashes for row in rows}


_TILES = text("""
    SELECT level, tile_index, hashes FROM json_each(:places)
    JOIN ledger_tile ON level = CAST(value->>0 AS BIGINT) AND tile_index = CAST(value->>1 AS BIGINT)
""")


async def put_tiles(conn: AsyncConnection, changed: Mapping[Place, bytes]) -> None:
    """Write tiles, in place of their earlier content."""
    if not changed:
        return
    rows = [
        {"level": level, "tile_index": index, "hashes": hashes} for (level, index), hashes in changed.items()
    ]
    await conn.execute(_PUT_TILE, rows)


_PUT_TILE = text(
    "INSERT INTO ledger_tile (level, tile_index, hashes) VALUES (:level, :tile_index, :hashes) "
    "ON CONFLICT (level, tile_index) DO UPDATE SET hashes = excluded.hashes"
)


async def add_checkpoint(conn: AsyncConnection, checkpoint: Checkpoint, now: datetime) -> None:
    """Keep a checkpoint."""
    row = {
        "size": checkpoint.size,
        "commitment": commitment(checkpoint.size, checkpoint.root),
        "note": checkpoint.text(),
        "published_at": time_text(now),
    }
    await conn.execute(insert(checkpoint_table), row)


async def newest_checkpoint(conn: AsyncConnection) -> Checkpoint | None:
    """The checkpoint of the largest size."""
    note = (
        await conn.execute(select(checkpoint_table.c.note).order_by(checkpoint_table.c.size.desc()).limit(1))
    ).scalar()
    return None if note is None else Checkpoint.parse(cast("str", note))


async def checkpoint_rows(conn: AsyncConnection, above: int, limit: int) -> list[Mapping[str, Any]]:
    """Checkpoints of more than `above` leaves as they are stored, smallest first."""
    c = checkpoint_table.c
    rows = await conn.execute(select(checkpoint_table).where(c.size > above).order_by(c.size).limit(limit))
    return [dict(row) for row in rows.mappings()]


async def settled_anchor_rows(conn: AsyncConnection, after: int, limit: int) -> list[Mapping[str, Any]]:
    """Anchors numbered above `after` as they are stored, oldest first, up to the one whose outcome is not yet
    known.
    """
    c = anchor_table.c
    rows = await conn.execute(
        select(anchor_table).where(c.anchor_id > after).order_by(c.anchor_id).limit(limit)
    )
    return list(takewhile(lambda row: row["state"] != "signed", [dict(row) for row in rows.mappings()]))


async def checkpoint_of_word(conn: AsyncConnection, word: bytes) -> Checkpoint | None:
    """The checkpoint whose commitment the contract holds."""
    note = (
        await conn.execute(select(checkpoint_table.c.note).where(checkpoint_table.c.commitment == word))
    ).scalar()
    return None if note is None else Checkpoint.parse(cast("str", note))


async def checkpoint_count(conn: AsyncConnection) -> int:
    """How many checkpoints there are."""
    return int((await conn.execute(select(func.count()).select_from(checkpoint_table))).scalar_one())


async def signed_transition(conn: AsyncConnection) -> Transition | None:
    """The transaction whose outcome is not yet known, if there is one."""
    columns = anchor_table.c
    query = select(
        columns.size, columns.from_size, columns.nonce, columns.raw_transaction, columns.anchor_id
    ).where(columns.state == "signed")
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else Transition(*row)


async def add_transition(conn: AsyncConnection, transition: Transition, now: datetime) -> Transition | None:
    """Keep a signed transaction before it is sent; the same transaction with the number of its row, or None
    if there is one already whose outcome is not yet known.
    """
    if await signed_transition(conn) is not None:
        return None
    row = {
        "state": "signed",
        "size": transition.size,
        "from_size": transition.from_size,
        "nonce": transition.nonce,
        "raw_transaction": transition.raw_transaction,
        "changed_at": time_text(now),
    }
    (anchor_id,) = (await conn.execute(insert(anchor_table).values(row))).inserted_primary_key or (0,)
    return replace(transition, anchor_id=anchor_id)


async def drop_transition(conn: AsyncConnection, anchor_id: int, now: datetime) -> None:
    """Note that a signed transaction can no more come to pass; nothing if it was found anchored meanwhile."""
    await conn.execute(
        update(anchor_table)
        .where((anchor_table.c.anchor_id == anchor_id) & (anchor_table.c.state == "signed"))
        .values(state="dropped", changed_at=time_text(now))
    )


async def set_anchors(
    conn: AsyncConnection, above: int, found: Iterable[tuple[int, Anchor]], now: datetime
) -> None:
    """Note that of the checkpoints of more than `above` leaves the chain holds exactly those `found`, each
    with the proof of it; what was noted of others, on a chain that was set back since, no longer counts.
    """
    beyond = (anchor_table.c.size > above) & (anchor_table.c.state == "anchored")
    changed_at = time_text(now)
    await conn.execute(update(anchor_table).where(beyond).values(state="dropped", changed_at=changed_at))
    for size, anchor in found:
        values = {"state": "anchored", "proof": anchor.text(), "changed_at": changed_at}
        signed = (anchor_table.c.size == size) & (anchor_table.c.state == "signed")
        if not (await conn.execute(update(anchor_table).where(signed).values(**values))).rowcount:
            await conn.execute(insert(anchor_table), {"size": size, **values})


async def anchors(conn: AsyncConnection, below: int, limit: int) -> list[tuple[int, Anchor]]:
    """The sizes and proofs of anchored checkpoints of fewer than `below` leaves, newest first."""
    query = (
        select(anchor_table.c.size, anchor_table.c.proof)
        .where((anchor_table.c.state == "anchored") & (anchor_table.c.size < below))
        .order_by(anchor_table.c.size.desc())
        .limit(limit)
    )
    return [(row.size, Anchor.parse(row.proof)) for row in await conn.execute(query)]


async def newest_anchor(conn: AsyncConnection) -> tuple[Checkpoint, Anchor] | None:
    """The largest anchored checkpoint and its proof."""
    row = (await conn.exec_driver_sql(NEWEST_ANCHOR)).one_or_none()
    return None if row is None else (Checkpoint.parse(row.note), Anchor.parse(row.proof))


NEWEST_ANCHOR = """
    SELECT published.note, anchor.proof FROM ledger_anchor AS anchor
    JOIN ledger_checkpoint AS published ON published.size = anchor.size
    WHERE anchor.state = 'anchored' ORDER BY anchor.size DESC LIMIT 1
"""


async def anchored_size(conn: AsyncConnection) -> int:
    """How many leaves lie under a checkpoint that the chain holds."""
    size = (
        await conn.execute(select(func.max(anchor_table.c.size)).where(anchor_table.c.state == "anchored"))
    ).scalar()
    return 0 if size is None else int(size)
