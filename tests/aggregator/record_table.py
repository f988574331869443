"""The table of record kinds in docs/evidence.md, and the kinds and fields that a log really has."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from aggregator import audit, override
from aggregator.access.action import Action, Outcome
from aggregator.access.permission import Role
from aggregator.access.principal import Principal
from aggregator.store import StoredCall, calls
from ledger import erasure
from ledger.checkpoint import SigningKey
from ledger.log import Log
from tests.aggregator.conftest import ORIGIN
from tests.aggregator.sealed import LATER
from vtn.store import Database

DOCS = Path(__file__).parents[2] / "docs" / "evidence.md"
FACTS = {"registration", "signal", "opt", "report", "override", "action"}
"""Kinds of the journal, whose common fields stand below the table."""
COMMON = {"seq", "ven_id"}
NOT_IN_THIS_RUN = {
    ("opt", "opt_id"),
    *(("report", f"source.{name}") for name in ("algorithm", "public_key", "parameters", "signature")),
    *(("report", f"source.{name}") for name in ("certificate", "signed_at")),
}
"""What needs a node's certificate, or an opt of a VEN's own making."""
Fields = Mapping[str, set[str]]


def documented() -> Fields:
    """The fields of each kind in the table."""
    section = DOCS.read_text("utf-8").partition("### What records say\n")[2].partition("\n### ")[0]
    fields: dict[str, set[str]] = {}
    kind = ""
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != 5 or cells[1] in ("kind", "---"):
            continue
        if cells[1]:
            kind = cells[1].strip("`")
            fields[kind] = set(COMMON) if kind in {*FACTS, "statement"} else set()
            if kind in ("signal", "report"):
                fields[kind].add("raw_sha256")
        fields[kind].update(re.findall(r"`([^`]+)`", cells[2]))
    return fields


def flat(body: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The names of fields, those inside others with a dot, those of lists of objects with [] too."""
    for name, value in body.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for each in value:
                yield from flat(each, f"{before}{name}[].")
        else:
            yield before + name


def sealed(path: Path) -> Fields:
    """The fields of each kind among the leaves of a log."""
    found: dict[str, set[str]] = defaultdict(set)
    with closing(sqlite3.connect(path)) as conn:
        rows = conn.execute("SELECT canonical FROM ledger_leaf WHERE canonical IS NOT NULL").fetchall()
    for (canonical,) in rows:
        record = json.loads(canonical)
        if "test" not in record["body"]:  # facts that the run makes up to have many
            found[record["kind"]] |= set(flat(record["body"]))
    return found


async def add_the_rest(path: Path, key: SigningKey) -> None:
    """An action, a home's word and an erasure, as the programs write them."""
    database = await Database.open(path)
    try:
        async with database.write() as conn:
            person = Principal(user_id="u_1", role=Role.OPERATOR, session_id="s_1")
            await Action(what="ask", principal=person, objects=["event_id=e"]).record(
                conn, Outcome.DONE, LATER
            )
            call: StoredCall = (await calls(conn))[0]
            await override._note(conn, call, (9, "ab" * 32, "out"), LATER)
        await audit.seal(database, Log(ORIGIN, key))
    finally:
        await database.close()
    with closing(sqlite3.connect(path)) as raw, raw:
        said = erasure.Said(("ab" * 32,), ("cd" * 32,))
        erasure.erase_leaves(raw, [0], LATER + timedelta(hours=1), key, said)
