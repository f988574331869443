"""The settlement as files: the statements that the list shows, each kind as `statement_export` makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import hdrs, web
from pydantic import ValidationError

from aggregator import statement_list
from aggregator.access.permission import Permission
from aggregator.dashboard.operation import FileAnswer
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.statements import Look, refused
from aggregator.dashboard.wording import words_of
from aggregator.statement_export import Selection, Signer, as_csv, as_json
from aggregator.statement_list import Choice, Row
from vtn.errors import UnknownObject

A_STEP = 2000  # statements that are read in one go, while others get their turn
MOST = 50_000
MOST_ON_PAPER = 2000
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
Writer = Callable[[Selection, Signer], bytes]


def _xlsx(chosen: Selection, _: Signer) -> bytes:
    from aggregator.statement_xlsx import as_xlsx  # noqa: PLC0415 - brings numpy, which few servers need

    return as_xlsx(chosen)


def _pdf(chosen: Selection, _: Signer) -> bytes:
    from aggregator.statement_pdf import as_pdf  # noqa: PLC0415 - as above

    return as_pdf(chosen)


KINDS: Mapping[str, tuple[str, int, Writer]] = {
    "csv": ("text/csv", MOST, lambda chosen, _: as_csv(chosen)),
    "xlsx": (_XLSX, MOST, _xlsx),
    "pdf": ("application/pdf", MOST_ON_PAPER, _pdf),
    "json": ("application/json", MOST, as_json),
}
"""Media type, the most statements, and what writes them."""


async def export(visit: Visit) -> web.StreamResponse:
    """The chosen statements as a file."""
    kind = visit.request.match_info["kind"]
    if kind not in KINDS:
        raise UnknownObject(f"statements are exported as {', '.join(KINDS)}, not as {kind[:20]!r}")
    try:
        look = Look.model_validate({name: value[:1000] for name, value in visit.request.query.items()})
    except ValidationError:
        return await refused(visit)
    if (file := await made(visit, look, kind)) is not None:
        return await file.send(visit.request)
    words = words_of(visit)
    text = words.gettext("A file of this kind holds at most %(most)s statements: choose a month or an event.")
    return await refused(visit, text % {"most": words.number(KINDS[kind][1])})


async def made(visit: Visit, choice: Choice, kind: str) -> FileAnswer | None:
    """The chosen statements as a file of one of the `KINDS`; None where they are too many for one."""
    media_type, most, write = KINDS[kind]
    rows = await _rows(visit, choice, most + 1)
    if len(rows) > most:
        return None
    log = visit.desk.log
    chosen = Selection(rows, described(choice), visit.now, log.origin)
    content = await asyncio.to_thread(write, chosen, log.attest)
    name = f"statements-{choice.month or visit.now.strftime('%Y-%m-%d')}.{kind}"
    return FileAnswer(media_type=media_type, name=name, content=content)


def described(choice: Choice) -> str:
    """What was chosen, as it stands in the file."""
    values = {
        "event": choice.event,
        "node": choice.node,
        "month": choice.month,
        "revisions": choice.revisions,
    }
    return ", ".join(f"{name} {value}" for name, value in values.items() if value)


async def _rows(visit: Visit, look: Choice, most: int) -> list[Row]:
    found: list[Row] = []
    async with visit.desk.db.read() as conn:
        while len(found) < most:
            step = await statement_list.rows(
                conn,
                look,
                visit.desk.portfolio.calendar,
                limit=min(A_STEP, most - len(found)),
                before=found[-1].number if found else None,
            )
            found += step
            if len(step) < A_STEP:
                break
    return found


PAGES = (
    Page(
        method=hdrs.METH_GET,
        path="/settlement/export/{kind}",
        name="export statements",
        permission=Permission.SETTLEMENT_READ,
        handle=export,
    ),
)
