"""Whether events and answers are those of their facts: what nodes were sent, and what they said to it.

Of an event's row its content and the number of its version are bound, of an answer who gave which to what and
when. When an event was offered, delivered and answered last is working state that no record holds.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection
from hashlib import sha256

from ledger import erasure
from ledger.errors import TamperedError
from ledger.verify import Status, Step

EVENTS, ANSWERS = "vtn_event", "vtn_opt"
_SIGNALS = "SELECT ven_id, body FROM vtn_journal WHERE kind = 'signal' ORDER BY seq"
_ROWS = "SELECT ven_id, event_id, modification_number, content FROM vtn_event ORDER BY ven_id, event_id"
_ANSWER_FACTS = "SELECT key, at, body FROM vtn_journal WHERE kind = 'opt'"
_ANSWER_ROWS = """
SELECT seq, source, ven_id, at, opt_type, event_id, modification_number, response_code FROM vtn_opt
ORDER BY seq
"""


def check_events(conn: sqlite3.Connection) -> Step:
    """The step of the events; TamperedError names the first whose content its newest fact does not have."""
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for ven_id, text in conn.execute(_SIGNALS):
        body = json.loads(text)
        if "content_sha256" in body:
            said = body["modification_number"], body["content_sha256"]
            key = (ven_id, body["event_id"])
            newest[key] = max(said, newest.get(key, said))
    count, erased = 0, _erased(conn)
    for ven_id, event_id, number, content in conn.execute(_ROWS):
        name = f"{EVENTS} {ven_id}/{event_id}"
        sealed = newest.get((ven_id, event_id))
        if erased and (sealed is None or sealed[0] != number):
            newest.pop((ven_id, event_id), None)  # the fact of this version named a home that is erased
            continue
        if sealed is None:
            raise TamperedError(name, "no event was sealed that it is")
        expected, digest = newest.pop((ven_id, event_id))
        if number != expected:
            raise TamperedError(name, "it is another version", expected=str(expected), got=str(number))
        found = sha256(content).hexdigest() if isinstance(content, bytes) else "no bytes"
        if found != digest:
            raise TamperedError(name, "its content is not what was sealed", expected=digest, got=found)
        count += 1
    text = f"{count} events have the content of their facts{_gone(newest, erased=erased)}"
    return Step(EVENTS, Status.CHECKED, text)


def _gone(missing: Collection[tuple[str, str]], *, erased: bool) -> str:
    """What is said of events that are not there; TamperedError if no erasure can have taken them."""
    if missing and not erased:
        raise TamperedError(f"{EVENTS} {'/'.join(min(missing))}", "the event is missing")
    return f"; {len(missing)} were erased" if missing else ""


def check_answers(conn: sqlite3.Connection) -> Step:
    """The step of the answers to events; TamperedError names the first that is not the one of its fact."""
    if _erased(conn):  # a fact's key counts the node's answers, of which some are gone
        return Step(ANSWERS, Status.CHECKED, "answers are not compared after an erasure; their facts are")
    facts = {key: (at, json.loads(text)) for key, at, text in conn.execute(_ANSWER_FACTS)}
    numbers: Counter[str] = Counter()
    count = 0
    for seq, source, ven_id, at, *said in conn.execute(_ANSWER_ROWS):
        numbers[ven_id] += 1
        if source != "created_event":
            continue
        opt_type, event_id, version, code = said
        fact = facts.get(f"opt/{ven_id}/{event_id}/{version}/{numbers[ven_id]}")
        name = f"{ANSWERS} {seq}"
        if fact is None:
            raise TamperedError(name, "no answer was sealed that it is")
        sealed = (fact[0], fact[1].get("opt_type"), fact[1].get("code"))
        if sealed != (at, opt_type, code):
            got = str((at, opt_type, code))
            raise TamperedError(name, "it is not what was sealed", expected=str(sealed), got=got)
        count += 1
    answered = sum("code" in body for _, body in facts.values())
    if count != answered:
        raise TamperedError(ANSWERS, "answers are missing", expected=str(answered), got=str(count))
    return Step(ANSWERS, Status.CHECKED, f"{count} answers are those of their facts")


def _erased(conn: sqlite3.Connection) -> bool:
    said = erasure.read_said(conn)
    return bool(said.subjects or said.values)
