"""Whether the values that nodes reported are those of their reports: each report's hash is made again.

A report's fact holds the hash of all its values in the order in which they came. That order is not kept: it
is the one in which the data points were asked for, or in which the node named them, and is looked for. What
cannot be made again is said and not called checked: reports of which a newer one took the place of values,
or of which some were quarantined, and reports in an order that none of the node's is known in. A node can
say values twice or in any order: a report alone is therefore named, and is no proof that somebody changed it.
A value that no report can have brought is.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from json.encoder import encode_basestring_ascii as quoted
from operator import itemgetter
from typing import NamedTuple

from ledger import erasure
from ledger.errors import TamperedError
from ledger.verify import Status, Step
from vtn.journal import iso
from vtn.schema import EPOCH, MICROSECOND, micros

STEP = "vtn_reading"
_REPORTS = "SELECT ven_id, body FROM vtn_journal WHERE kind = 'report' ORDER BY seq"
_READINGS = """
SELECT ven_id, report_request_id, created_at, report_name, ts, r_id, duration_s, value, quality
FROM vtn_reading ORDER BY ven_id, report_request_id, created_at, report_name, ts
"""
_NEWER = """
SELECT 1 FROM vtn_reading
WHERE ven_id = ? AND report_name = ? AND ts >= ? AND ts < ?
    AND (created_at > ? OR (created_at = ? AND report_request_id <> ?))
LIMIT 1
"""
_ORDERS = (
    "SELECT ven_id, report_request_id, r_ids FROM vtn_report_request",
    "SELECT r.ven_id, r.report_request_id, s.r_ids FROM vtn_report_request AS r"
    " JOIN vtn_report_spec AS s ON s.ven_id = r.ven_id AND s.specifier_id = r.specifier_id",
)
_REPLACED = "reports have values that newer reports took the place of"
_QUARANTINED = "reports have values in quarantine"
_TWICE = "reports were made twice in one instant"
_NO_ORDER = "reports came in an order of data points that is not known"
_DOUBTFUL = "reports cannot be made again: values changed or gone, or the node said them unlike its others"
_ERASED = "reports were erased with a home, and others' values of them are kept"

_SAID = {
    "report_request_id",
    "report_name",
    "created_at",
    "start",
    "end",
    "readings",
    "quarantined",
    "values_sha256",
}
_Key = tuple[str, str, int, str]


class _Value(NamedTuple):
    start: int
    r_id: str
    duration_s: float
    value: float
    quality: str


@dataclass(frozen=True, slots=True)
class _Report:
    """What a fact says of a report's values; times in microseconds."""

    sha256: str
    kept: int
    quarantined: int
    start: int
    end: int


@dataclass(slots=True)
class _Comparison:
    """Reports against readings."""

    conn: sqlite3.Connection
    remarks: Counter[str] = field(default_factory=Counter)
    checked: int = 0
    known: dict[tuple[str, str], list[tuple[str, ...]]] = field(default_factory=dict)
    """Orders of data points, by node and request; the first one is that of a report before."""
    met: set[tuple[str, str]] = field(default_factory=set)
    """Of which requests a report was made again, so that their order is known."""
    open: list[tuple[_Key, _Report, list[_Value]]] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    erased: bool = False

    def run(self) -> Step:
        said = erasure.read_said(self.conn)
        self.erased = bool(said.subjects or said.values)
        for query in _ORDERS:
            for ven_id, request_id, text in self.conn.execute(query):
                self.known.setdefault((ven_id, request_id), []).append(_r_ids(text))
        reports = _reports(self.conn)
        found: set[_Key] = set()
        for key, rows in groupby(self.conn.execute(_READINGS), itemgetter(0, 1, 2, 3)):
            found.add(key)
            self._compare(key, reports.get(key, []), [_Value(*row[4:]) for row in rows])
        for key in sorted(reports.keys() - found):
            self._missing(key, reports[key], 0)
        for key, report, values in self.open:
            self._again(key, report, values)
        return self._step()

    def _compare(self, key: _Key, facts: Sequence[_Report], values: list[_Value]) -> None:
        if not facts:
            if not self.erased:
                raise TamperedError(_name(key), "no report was sealed from which its values are")
            self.remarks[_ERASED] += 1
        elif len(facts) > 1:
            self.remarks[_TWICE] += 1
        elif facts[0].quarantined:
            self.remarks[_QUARANTINED] += 1
        elif len(values) > facts[0].kept:
            raise TamperedError(
                _name(key), "it has more values", expected=str(facts[0].kept), got=str(len(values))
            )
        elif len(values) < facts[0].kept:
            self._missing(key, facts, len(values))
        elif not self._is_made_again(key, facts[0], values):
            self.open.append((key, facts[0], values))

    def _is_made_again(self, key: _Key, report: _Report, values: list[_Value]) -> bool:
        request = key[:2]
        for order in self._orders(request, values):
            if _sha256(values, order) == report.sha256:
                self.met.add(request)
                self.known.setdefault(request, []).insert(0, order)
                self.checked += 1
                return True
        return False

    def _orders(self, request: tuple[str, str], values: Sequence[_Value]) -> Iterator[tuple[str, ...]]:
        yield from dict.fromkeys(self.known.get(request, ())[:3])
        yield tuple(sorted({value.r_id for value in values}))

    def _again(self, key: _Key, report: _Report, values: list[_Value]) -> None:
        """With the orders that other reports have shown since."""
        if self._is_made_again(key, report, values):
            return
        if key[:2] in self.met:
            self.doubtful.append(f"{_name(key)} (its values are not those of its fact)")
        else:
            self.remarks[_NO_ORDER] += 1

    def _missing(self, key: _Key, facts: Sequence[_Report], count: int) -> None:
        """Values of a report are not there: a newer report of the time must have replaced them."""
        ven_id, request_id, created_at, report_name = key
        for report in facts:
            if not report.kept or report.quarantined:
                continue
            of_time = (ven_id, report_name, report.start, report.end)
            newer = self.conn.execute(_NEWER, (*of_time, created_at, created_at, request_id))
            if self.erased or newer.fetchone() is not None:
                self.remarks[_REPLACED] += 1
            else:
                self.doubtful.append(f"{_name(key)} (it has {count} values of {report.kept})")

    def _step(self) -> Step:
        said = [f"{self.checked} reports have the values of their facts"]
        said += [f"{number} {remark}" for remark, number in sorted(self.remarks.items())]
        if self.doubtful:
            said.append(f"{len(self.doubtful)} {_DOUBTFUL}, the first {self.doubtful[0]}")
        return Step(STEP, Status.NOT_CHECKED if self.doubtful else Status.CHECKED, "; ".join(said))


def check_readings(conn: sqlite3.Connection) -> Step:
    """The step of the readings, not checked if a report's values cannot be made again: it names the first.
    TamperedError names values of no report. The journal must have been compared before.
    """
    return _Comparison(conn).run()


def _reports(conn: sqlite3.Connection) -> dict[_Key, list[_Report]]:
    found: dict[_Key, list[_Report]] = {}
    for ven_id, text in conn.execute(_REPORTS):
        body = json.loads(text)
        if not body.keys() >= _SAID:
            continue
        key = (ven_id, body["report_request_id"], _micros(body["created_at"]), body["report_name"])
        start, end = (_micros(body[name]) if body[name] else 0 for name in ("start", "end"))
        report = _Report(body["values_sha256"], body["readings"], body["quarantined"], start, end)
        found.setdefault(key, []).append(report)
    return found


def _micros(text: str) -> int:
    return micros(datetime.fromisoformat(text))


def _r_ids(text: str) -> tuple[str, ...]:
    try:
        return tuple(json.loads(text))
    except (ValueError, TypeError):
        return ()  # working state of the node's requests, which nothing here vouches for


def _sha256(values: Sequence[_Value], order: Sequence[str]) -> str:
    """The hash as `vtn.judgement` makes it, were the data points said in that order; empty if it cannot."""
    place = {r_id: number for number, r_id in enumerate(order)}
    try:
        inside = sorted(values, key=lambda value: (value.start, place[value.r_id]))
        lines = [
            f'[{quoted(r_id)}, "{iso(EPOCH + start * MICROSECOND)}", {duration_s!r}, "{value!r}",'
            f" {quoted(quality)}]\n"
            for start, r_id, duration_s, value, quality in inside
        ]
    except (KeyError, TypeError, OverflowError):
        return ""
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _name(key: _Key) -> str:
    ven_id, request_id, created_at, _ = key
    try:
        created = iso(EPOCH + created_at * MICROSECOND)
    except (TypeError, OverflowError):
        created = str(created_at)
    return f"{STEP} {ven_id}/{request_id}/{created}"
