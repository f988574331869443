"""Statements as a workbook for spreadsheets, with the rules of `statement_export`."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font

from aggregator.statement_export import COLUMNS, Selection, visible
from ledger.record import time_text

_MODIFIED = re.compile(rb"(<dcterms:modified[^>]*>)[^<]*")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def as_xlsx(chosen: Selection) -> bytes:
    """A workbook of one sheet, the headings in sight."""
    book = Workbook(write_only=True)
    book.properties.creator = chosen.origin
    book.properties.created = chosen.now.astimezone(UTC).replace(tzinfo=None)
    sheet = book.create_sheet("Statements")
    sheet.freeze_panes = "A2"
    heads = []
    for number, (name, _) in enumerate(COLUMNS):
        sheet.column_dimensions[chr(ord("A") + number)].width = 22 if number in {1, 2, 3, 4, 5, 16} else 14
        head = WriteOnlyCell(sheet, name)
        head.font = Font(bold=True)
        heads.append(head)
    sheet.append(heads)
    for row in chosen.rows:
        sheet.append([_cell(sheet, of(row)) for _, of in COLUMNS])
    raw = io.BytesIO()
    book.save(raw)
    return _reproducible(raw, chosen.now)


def _cell(sheet: Any, value: Any) -> WriteOnlyCell:
    cell = WriteOnlyCell(sheet, visible(value) if isinstance(value, str) else value)
    if isinstance(value, str):
        cell.data_type = "s"  # openpyxl takes text that begins with = for a formula
    elif isinstance(value, Decimal):
        digits = -int(value.as_tuple().exponent)
        cell.number_format = "#,##0" + ("." + "0" * digits if digits else "")
    return cell


def _reproducible(raw: io.BytesIO, now: datetime) -> bytes:
    """The archive without the time at which it was written."""
    made = io.BytesIO()
    with zipfile.ZipFile(raw) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "docProps/core.xml":
                content = _MODIFIED.sub(rb"\g<1>" + time_text(now).encode(), content)
            new.writestr(zipfile.ZipInfo(name, _LONG_AGO), content, zipfile.ZIP_DEFLATED)
    return made.getvalue()
