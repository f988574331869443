"""A selection of statements as a file: CSV, or JSON that the log's key has signed.

Rules: the same selection at the same `now` is the same bytes; money is exact, in units of its currency; what
a spreadsheet would take for a formula is text; a text never carries a character that cannot be seen, but for
the signed JSON, which holds what is stored.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from babel.numbers import get_currency_precision

from aggregator.statement_list import Row
from ledger.record import canonical_bytes, time_text

FORMAT = "flexpact-statements/v1"
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")

Signer = Callable[[str], str]
"""Gives the signature line of a note's text (`ledger.log.Log.attest`)."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is exported: the statements, newest first, what they were chosen by, and when."""

    rows: Sequence[Row]
    choice: str
    now: datetime
    origin: str


COLUMNS: tuple[tuple[str, Callable[[Row], Any]], ...] = (
    ("number", lambda row: row.number),
    ("event", lambda row: row.event_id),
    ("node", lambda row: row.ven_name),
    ("ven_id", lambda row: row.ven_id),
    ("start", lambda row: time_text(row.start)),
    ("end", lambda row: time_text(row.end)),
    ("outcome", lambda row: row.outcome),
    ("requested_kwh", lambda row: Decimal(row.requested_wh).scaleb(-3)),
    ("delivered_kwh", lambda row: Decimal(row.delivered_wh).scaleb(-3)),
    ("incentive", lambda row: units(row.incentive_minor, row.currency)),
    ("penalty", lambda row: units(row.penalty_minor, row.currency)),
    ("amount", lambda row: units(row.amount_minor, row.currency)),
    ("currency", lambda row: row.currency),
    ("baseline_method", lambda row: row.baseline_method),
    ("revision", lambda row: row.revision),
    ("newest_revision", lambda row: row.newest),
    ("made_at", lambda row: time_text(row.made_at)),
)
"""The columns of CSV and XLSX. Names stay what they are: programs read them."""


def units(minor: int, currency: str) -> Decimal:
    """Minor units in units of their currency."""
    return Decimal(minor).scaleb(-get_currency_precision(currency))


def visible(text: str) -> str:
    """The text with everything escaped that cannot be seen: control characters, and what turns the direction
    of writing.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def neutral(value: Any) -> Any:
    """A value for a spreadsheet: of a text nothing is taken for a formula. Numbers stay numbers."""
    if not isinstance(value, str):
        return value
    return "'" + visible(value) if value.startswith(_RISKY) else visible(value)


def as_csv(chosen: Selection) -> bytes:
    """RFC 4180 with a byte order mark, so that spreadsheets read it as UTF-8."""
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow([name for name, _ in COLUMNS])
    writer.writerows([neutral(of(row)) for _, of in COLUMNS] for row in chosen.rows)
    return b"\xef\xbb\xbf" + written.getvalue().encode()


def as_json(chosen: Selection, sign: Signer) -> bytes:
    """`{"document": ..., "signature": ...}`: the signature is the log's over the text of `signed_text`."""
    document = {
        "format": FORMAT,
        "log": chosen.origin,
        "made_at": time_text(chosen.now),
        "choice": chosen.choice,
        "statements": [_signed(row) for row in chosen.rows],
    }
    line = sign(signed_text(document))
    shown = {"document": document, "signature": line}
    return (json.dumps(shown, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


def signed_text(document: dict[str, Any]) -> str:
    """What is signed: the format's name, and the document as canonical JSON, each in a line."""
    return f"{FORMAT}\n{canonical_bytes(document).decode()}\n"


def _signed(row: Row) -> dict[str, Any]:
    return {
        "number": row.number,
        "record": f"statement/{row.ven_id}/{row.event_id}/{row.revision}",
        "event_id": row.event_id,
        "ven_id": row.ven_id,
        "ven_name": row.ven_name,
        "start": time_text(row.start),
        "end": time_text(row.end),
        "outcome": row.outcome,
        "requested_wh": row.requested_wh,
        "delivered_wh": row.delivered_wh,
        "incentive_minor": row.incentive_minor,
        "penalty_minor": row.penalty_minor,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "baseline_method": row.baseline_method,
        "revision": row.revision,
        "newest_revision": row.newest,
        "made_at": time_text(row.made_at),
    }
