"""Statements as a PDF for people: a table, the totals, and the baseline's rules in words.

No font comes along. Names in Latin letters need none; for others, such as Korean ones, a font of the system
is used where there is one (`FONTS`; Debian: the package fonts-nanum). Without it such letters are written by
their numbers (U+AE40), and the document says what to install.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC
from decimal import Decimal
from pathlib import Path

from fpdf import FPDF

from aggregator.statement_export import Selection, units, visible
from aggregator.statement_list import Row

FONTS = (
    Path("/usr/share/fonts/truetype/nanum/NanumGothic.ttf"),
    Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"),
    Path("/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc"),
    Path("/System/Library/Fonts/AppleSDGothicNeo.ttc"),
)
RULES = (
    "10-of-10: for each quarter hour the mean of the last 10 like days.",
    "high-4-of-5: for each quarter hour the mean of those 4 of the last 5 like days that used most energy in"
    " the event's hours; of two equal days the later one.",
    "A like day is an earlier day of the same kind (working day; weekend or holiday) on which the node was"
    " not called and whose readings are complete. Fewer than 5 like days carry no baseline.",
    "The adjustment is how far the node was from its like days in the 3 hours before it was notified, capped"
    " as the programme says, and added to every quarter hour.",
    "Delivered is baseline minus metered. The incentive counts up to what was asked for, the penalty below"
    " the agreed share of it; both are rounded half-even to the smallest unit of the currency.",
)
_HEADS = (
    "No.",
    "Event",
    "Node",
    "Start (UTC)",
    "End",
    "Outcome",
    "Asked kWh",
    "Delivered kWh",
    "Amount",
    "Rev.",
)
_WIDTHS = (14, 54, 44, 32, 14, 26, 24, 26, 30, 13)
_RIGHT = frozenset({0, 6, 7, 8, 9})
_HEIGHT = 5.5


class _Document(FPDF):
    """A4 across, with a foot on each page."""

    foot = ""

    def footer(self) -> None:
        """Who made it, and the page."""
        self.set_y(-12)
        self.set_font(self.font_family, size=7)
        self.cell(0, 6, f"{self.foot}   {self.page_no()}/{{nb}}", align="R")


def as_pdf(chosen: Selection, font: Path | None = None) -> bytes:
    """The document; `font` is used for letters that are not Latin, else the first there is of `FONTS`."""
    document = _Document("landscape", "mm", "A4")
    document.set_creation_date(chosen.now.astimezone(UTC))
    document.set_title("Statements")
    document.set_auto_page_break(auto=True, margin=15)
    foreign = any(_latin(name) != name for row in chosen.rows for name in (row.ven_name, row.event_id))
    found = (font or next((path for path in FONTS if path.is_file()), None)) if foreign else None
    family = "Helvetica"
    if found is not None:
        family = "names"
        document.add_font(family, fname=found)
    document.set_font(family, size=8)
    document.foot = f"{_latin(chosen.origin)}   {chosen.now.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    document.add_page()
    _title(document, family, chosen)
    _table(document, family, chosen.rows, latin=found is None)
    _end(document, family, chosen.rows, explain=foreign and found is None)
    return bytes(document.output())


def _latin(text: str) -> str:
    """The text in letters that every reader of PDF has; others by their numbers."""
    return "".join(letter if _is_latin(letter) else f"<U+{ord(letter):04X}>" for letter in visible(text))


def _is_latin(letter: str) -> bool:
    return letter.isprintable() and ord(letter) < 256  # Latin-1


def _title(document: FPDF, family: str, chosen: Selection) -> None:
    document.set_font(family, size=14)
    document.cell(0, 9, "Statements", new_x="LMARGIN", new_y="NEXT")
    document.set_font(family, size=8)
    count = len(chosen.rows)
    document.multi_cell(
        0, 5, f"{count} statements. Chosen: {_latin(chosen.choice) or 'all'}.", new_x="LMARGIN", new_y="NEXT"
    )
    document.ln(2)


def _table(document: FPDF, family: str, rows: Sequence[Row], *, latin: bool) -> None:
    _line(document, _HEADS, fill=True)
    for row in rows:
        if document.will_page_break(_HEIGHT):
            document.add_page()
            _line(document, _HEADS, fill=True)
        texts = (
            str(row.number),
            row.event_id,
            row.ven_name,
            f"{row.start.astimezone(UTC):%Y-%m-%d %H:%M}",
            f"{row.end.astimezone(UTC):%H:%M}",
            row.outcome,
            str(Decimal(row.requested_wh).scaleb(-3)),
            str(Decimal(row.delivered_wh).scaleb(-3)),
            f"{units(row.amount_minor, row.currency)} {row.currency}",
            f"{row.revision}/{row.newest}",
        )
        _line(document, [_latin(text) if latin else visible(text) for text in texts])
    document.set_font(family, size=8)


def _line(document: FPDF, texts: Sequence[str], *, fill: bool = False) -> None:
    document.set_fill_color(235, 239, 243)
    for number, (text, width) in enumerate(zip(texts, _WIDTHS, strict=True)):
        align = "R" if number in _RIGHT else "L"
        document.cell(width, _HEIGHT, _cut(document, text, width - 2), border="B", align=align, fill=fill)
    document.ln(_HEIGHT)


def _cut(document: FPDF, text: str, width: float) -> str:
    """The text as far as it has room, with dots where it was cut in the middle."""
    if document.get_string_width(text) <= width:
        return text
    kept = len(text) - 1
    while kept > 2 and document.get_string_width(_shortened(text, kept)) > width:
        kept -= 1
    return _shortened(text, kept)


def _shortened(text: str, kept: int) -> str:
    return f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"


def _end(document: FPDF, family: str, rows: Sequence[Row], *, explain: bool) -> None:
    sums: dict[str, int] = defaultdict(int)
    for row in rows:
        if row.revision == row.newest:
            sums[row.currency] += row.amount_minor
    document.ln(3)
    document.set_font(family, size=10)
    for currency, minor in sorted(sums.items()):
        text = f"Sum of the newest revisions: {units(minor, currency)} {currency}"
        document.cell(0, 6, text, new_x="LMARGIN", new_y="NEXT")
    document.ln(2)
    document.cell(0, 6, "How the baselines were made", new_x="LMARGIN", new_y="NEXT")
    document.set_font(family, size=8)
    notes = [*RULES]
    if explain:
        notes.append(
            "Letters that the fonts of this server do not have are written by their numbers, such as"
            " <U+AE40>. The package fonts-nanum on the server shows Korean names; CSV, XLSX and JSON hold"
            " all names as they are."
        )
    for note in notes:
        document.multi_cell(0, 4.5, note, new_x="LMARGIN", new_y="NEXT")
