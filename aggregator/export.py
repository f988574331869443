"""Readings as files, written piece by piece, so that a file of any length needs little memory.

Rules: times are UTC as ISO 8601; names of columns carry the unit, or the value has its unit beside it. In CSV
a text that a spreadsheet would take for a formula is put behind an apostrophe; numbers are never changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from enum import StrEnum

from aggregator.export_row import COLUMNS, cells
from aggregator.reading_series import Reader

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Format(StrEnum):
    """Kinds of files."""

    CSV = "csv"
    PARQUET = "parquet"


CONTENT_TYPES = {Format.CSV: "text/csv", Format.PARQUET: "application/vnd.apache.parquet"}


def plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def iso(instant: datetime) -> str:
    """2026-01-20T17:00:00Z."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _text(cell: datetime | float | str | None) -> str | float | None:
    if isinstance(cell, datetime):
        return iso(cell)
    return plain(cell) if isinstance(cell, str) else cell


async def csv_pieces(reader: Reader) -> AsyncIterator[bytes]:
    """The file in pieces, head first; UTF-8 with the mark that spreadsheets look for."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    buffer.write("\ufeff")
    writer.writerow(COLUMNS)
    async for rows in reader.pieces():
        writer.writerows([_text(cell) for cell in cells(row)] for row in rows)
        yield _taken(buffer)
    if buffer.tell():
        yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()


def pieces(form: Format, reader: Reader) -> AsyncIterator[bytes]:
    """The file in a format, piece by piece."""
    if form is Format.CSV:
        return csv_pieces(reader)
    # only who asks for such a file pays for the 40 MB of what writes it
    from aggregator.export_parquet import parquet_pieces  # noqa: PLC0415

    return parquet_pieces(reader)
