"""The logs of the operator and the VENs and the database, held against each other: what is lost, or doubled.

Each log holds only what was acknowledged to its writer, so whatever it says must be in the others, once.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """What the database holds: each fact as it is counted here, with how often it is there."""

    events: Mapping[tuple[str, str], int]
    """The modification number of each event of each VEN."""
    signals: Counter[tuple[str, str]]
    """Facts of the journal about an event of a VEN."""
    answers: Counter[tuple[str, str, int, str]]
    """VEN, event, modification number, optIn or optOut."""
    reports: Counter[tuple[str, str, str]]
    """VEN, report request, createdDateTime."""
    readings: Mapping[tuple[str, str, str], float]
    """Value by VEN, data point and start."""


@dataclass
class Joined:
    """What does not fit, a line each."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    events: int = 0
    answers: int = 0
    readings: int = 0

    def once(self, count: int, what: str) -> None:
        """What was acknowledged is there once."""
        if count < 1:
            self.lost.append(what)
        elif count > 1:
            self.doubled.append(f"{what}: {count} times")


def written(lines: Iterable[Line], path: Path) -> None:
    """Append lines to a log."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line, sort_keys=True) + "\n" for line in lines)


def read(path: Path) -> list[Line]:
    """The lines of a log."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def kept_in(path: Path) -> Kept:
    """What the VTN's database holds."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        events = db.execute("SELECT ven_id, event_id, modification_number FROM vtn_event").fetchall()
        facts = db.execute("SELECT kind, ven_id, body FROM vtn_journal").fetchall()
        opts = db.execute(
            "SELECT ven_id, event_id, modification_number, opt_type FROM vtn_opt"
            " WHERE source = 'created_event'"
        ).fetchall()
        rows = db.execute("SELECT ven_id, r_id, ts, value FROM vtn_reading").fetchall()
    db.close()
    bodies = [(kind, ven_id, json.loads(body)) for kind, ven_id, body in facts]
    return Kept(
        events={(ven_id, event_id): number for ven_id, event_id, number in events},
        signals=Counter((ven, body["event_id"]) for kind, ven, body in bodies if kind == "signal"),
        answers=Counter(tuple(row) for row in opts),
        reports=Counter(
            (ven, body["report_request_id"], body["created_at"])
            for kind, ven, body in bodies
            if kind == "report"
        ),
        readings={(ven, r_id, str(ts)): value for ven, r_id, ts, value in rows},
    )


def join(operator: Sequence[Line], kept: Kept, vens: Mapping[str, Sequence[Line]]) -> Joined:
    """All logs against the database and each other."""
    found = Joined()
    wanted = {line["event"]: line["version"] for line in operator}  # the newest comes last
    for ven_id, lines in vens.items():
        _join_events(found, wanted, kept, ven_id, lines)
        _join_answers(found, kept, ven_id, lines)
        _join_reports(found, kept, ven_id, lines)
    strangers = {event for _, event in kept.events} - set(wanted)
    found.doubled += [f"event {event} that no operator was told of" for event in sorted(strangers)]
    return found


def _join_events(
    found: Joined, wanted: Mapping[str, int], kept: Kept, ven_id: str, lines: Sequence[Line]
) -> None:
    decided = Counter((line["event"], line["version"]) for line in lines if line["kind"] == "decided")
    for event, version in wanted.items():
        found.events += 1
        place = f"event {event} of {ven_id}"
        if kept.events.get((ven_id, event)) != version:
            found.lost.append(f"{place}, version {version}: the database has no such")
        signals = kept.signals[ven_id, event]
        if signals < version + 1:
            found.lost.append(f"{place}: {signals} of {version + 1} signals in the journal")
        elif signals > version + 1:
            found.doubled.append(f"{place}: {signals} signals in the journal for {version + 1} versions")
        found.once(decided[event, version], f"{place}, version {version}: decided")
    for (event, version), count in decided.items():
        if count > 1 and wanted.get(event) != version:
            found.doubled.append(f"event {event} of {ven_id}, version {version}: decided {count} times")
        if event not in wanted:
            found.doubled.append(f"event {event} reached {ven_id}, and no operator was told of it")


def _join_answers(found: Joined, kept: Kept, ven_id: str, lines: Sequence[Line]) -> None:
    said = {(line["event"], line["version"], line["opt"]) for line in lines if line["kind"] == "answered"}
    found.answers += len(said)
    for event, version, opt in said:
        place = f"answer {opt} of {ven_id} to {event}, version {version}"
        found.once(kept.answers[ven_id, event, version, opt], place)
    sent = said | {(line["event"], line["version"], line["opt"]) for line in lines if line["kind"] == "sent"}
    for ven, event, version, opt in kept.answers:
        if ven == ven_id and (event, version, opt) not in sent:
            found.doubled.append(f"answer {opt} to {event}, version {version}, that {ven_id} never gave")


def _join_reports(found: Joined, kept: Kept, ven_id: str, lines: Sequence[Line]) -> None:
    for line in lines:
        if line["kind"] != "reported":
            continue
        place = f"report of {ven_id} of {line['created']}"
        found.once(kept.reports[ven_id, line["request"], line["created"]], place)
        for r_id, start, value in line["readings"]:
            found.readings += 1
            if kept.readings.get((ven_id, r_id, start)) != value:
                found.lost.append(f"{place}: {r_id} at {start}")
