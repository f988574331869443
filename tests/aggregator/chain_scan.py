"""What a stranger who reads the whole chain could find in it, and what must not be there (GOALS 85)."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from ledger.chain import EmbeddedChain
from ledger.merkle import HASH_BYTES
from ledger.state import keccak256

GUESSES = 1_000_000
SHORTEST_TEXT = 4
"""Shorter names are found in any hash by chance."""


def said(chain: EmbeddedChain) -> Iterator[bytes]:
    """Call data, topics and data of every transaction that was ever mined."""
    for number in range(1, chain.head().block_number + 1):
        for transaction in chain.block(chain.header(number)).transactions:
            yield transaction.data
            mined = chain.transaction(transaction.hash)
            assert mined is not None
            for entry in mined[2].logs:
                yield b"".join(topic.to_bytes(32, "big") for topic in entry.topics)
                yield entry.data


def names(database: Path) -> set[str]:
    """Every name and id of nodes, homes, events, reports, opts, users and witnesses, the natural keys of
    records, and the texts in what was recorded.
    """
    found: set[str] = set()
    with closing(sqlite3.connect(database)) as db:
        for query in (
            "SELECT ven_id FROM vtn_ven",
            "SELECT ven_name FROM vtn_ven",
            "SELECT fingerprint FROM vtn_certificate",
            "SELECT DISTINCT r_id FROM vtn_reading",
            "SELECT event_id FROM vtn_event",
            "SELECT user_id FROM agg_user",
            "SELECT name FROM agg_user",
            "SELECT home FROM agg_user WHERE home IS NOT NULL",
            "SELECT DISTINCT witness FROM ledger_cosignature",
            "SELECT key FROM ledger_leaf",
        ):
            found |= {str(name) for (name,) in db.execute(query)}
        for (canonical,) in db.execute("SELECT canonical FROM ledger_leaf"):
            found |= set(_texts(json.loads(canonical)["body"]))
    return {name for name in found if len(name) >= SHORTEST_TEXT}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def forms(name: str) -> Iterator[bytes]:
    """How a name could stand on a chain: as text, as the bytes of its digits, or as a hash without salt."""
    text = name.encode()
    yield text
    yield text.hex().encode()
    yield sha256(text).digest()
    yield keccak256(text)
    try:
        digits = bytes.fromhex(name)
    except ValueError:
        return
    if len(digits.lstrip(b"\0")) >= SHORTEST_TEXT:  # more than a small number
        yield digits


def tree(database: Path) -> Iterator[bytes]:
    """The hashes of the log's tree, which everybody may read."""
    with closing(sqlite3.connect(database)) as db:
        for (hashes,) in db.execute("SELECT hashes FROM ledger_tile"):
            yield hashes


def found_by_guessing(database: Path, public: bytes) -> int:
    """How many of a million plausible records, the right ones among them, have a hash in what is public, for
    somebody who knows all of a record but its salt.
    """
    known = {public[at : at + HASH_BYTES] for at in range(len(public) - HASH_BYTES + 1)}
    found = 0
    for guess in _guesses(database):
        plain = sha256(guess).digest() in known
        found += plain or sha256(b"\0" + bytes(HASH_BYTES) + guess).digest() in known
    return found


def _guesses(database: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(database)) as db:
        records = [canonical for (canonical,) in db.execute("SELECT canonical FROM ledger_leaf")]
    yield from records
    statements = [record for record in records if b'"kind":"statement"' in record]
    for record in statements:
        before, amount, after = re.split(rb'(?<="delivered_wh":)(-?\d+)', record, maxsplit=1)
        assert int(amount) < GUESSES // len(statements)
        for energy_wh in range(GUESSES // len(statements)):
            yield b"%b%d%b" % (before, energy_wh, after)
