"""The settlement: statements by event, node and month with their totals, and one statement with all that it
rests on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

from aiohttp import hdrs, web
from pydantic import Field, ValidationError

from aggregator import statement_list, statement_view
from aggregator.access.permission import Permission
from aggregator.curve import CurveMaker
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.page import Desk, Page, Visit
from aggregator.dashboard.wording import words_of
from aggregator.statement_list import MOST_PAGES, By, Choice
from aggregator.statement_sums import StatementSums
from vtn.errors import UnknownObject
from vtn.problem import field_name

SCREEN = "settlement/screen.html"
ROWS = "settlement/rows.html"
LONGEST_NUMBER = 15


VIEWS = (
    (By.STATEMENT, _("Statements")),
    (By.EVENT, _("By event")),
    (By.NODE, _("By node")),
    (By.MONTH, _("By month")),
)
_SUMS: WeakKeyDictionary[CurveMaker, StatementSums] = WeakKeyDictionary()
OUTCOMES: Mapping[str, tuple[str, str]] = {
    "measured": ("ok", _("measured")),
    "test": ("info", _("test")),
    "cancelled": ("idle", _("cancelled")),
    "not_delivered": ("idle", _("not reached")),
    "opted_out": ("idle", _("opted out")),
    "late_opt_out": ("warn", _("opted out late")),
    "unmeasured": ("warn", _("not measured")),
}
"""The kind of badge and the word of each outcome of a statement."""


def sums_of(desk: Desk) -> StatementSums:
    """What is remembered of the sums in the aggregator that the desk is of."""
    return _SUMS.setdefault(desk.maker, StatementSums(desk.portfolio.calendar))


class Look(Choice):
    """What a visitor wants to see of the settlement."""

    by: By = By.STATEMENT
    page: int = Field(default=1, ge=1, le=MOST_PAGES)

    def query(self, **changes: Any) -> str:
        """The address of the same look with changes; what is as usual is left out."""
        values = {**self.model_dump(mode="json"), "page": 1, **changes}
        usual = Look().model_dump(mode="json")
        return urlencode({name: value for name, value in values.items() if value != usual[name]})

    def address(self, **changes: Any) -> str:
        """Path and query."""
        return f"/settlement?{query}" if (query := self.query(**changes)) else "/settlement"


async def screen(visit: Visit) -> web.StreamResponse:
    """The list; the rows alone where a filter or a change asks for them."""
    typed = {name: value[:1000] for name, value in visit.request.query.items()}
    try:
        look = Look.model_validate(typed)
    except ValidationError:
        return await refused(visit)
    return await _shown(visit, look, typed, {}, await _content(visit, look))


async def refused(visit: Visit, text: str = "") -> web.Response:
    """The list with what is wrong beside the fields, and a sentence about the whole where there is one."""
    typed = {name: value[:1000] for name, value in visit.request.query.items()}
    errors = {"": text} if text else {}
    try:
        look = Look.model_validate(typed)
    except ValidationError as error:
        errors |= errors_of(error, visit)
        look = Look.model_validate({name: value for name, value in typed.items() if name not in errors})
    return await _shown(visit, look, typed, errors, _nothing())


async def _shown(
    visit: Visit, look: Look, typed: Mapping[str, str], errors: Mapping[str, str], content: Mapping[str, Any]
) -> web.Response:
    return visit.page(
        ROWS if visit.by_script else SCREEN,
        422 if errors else 200,
        look=look,
        values={**look.model_dump(mode="json"), **typed},
        errors=errors,
        kinds=("csv", "xlsx", "pdf", "json"),
        **await _choices(visit),
        **content,
    )


def errors_of(error: ValidationError, visit: Visit) -> dict[str, str]:
    """What is wrong with each field, in a sentence."""
    gettext = words_of(visit).gettext
    return {
        field_name(one["loc"]): gettext(one["msg"].removeprefix("Value error, "))
        for one in error.errors(include_url=False)
    }


async def statement(visit: Visit) -> web.StreamResponse:
    """One revision: amounts, the baseline's rule, its intervals, other revisions, booking and record."""
    number = visit.request.match_info["number"]
    if not (number.isascii() and number.isdigit() and len(number) <= LONGEST_NUMBER):
        raise UnknownObject(f"there is no statement {number[:80]}")
    programme = visit.desk.settings.programme
    async with visit.desk.db.read() as conn:
        found = await statement_view.view(conn, int(number))
    return visit.page(
        "settlement/statement.html",
        **vars_of(found),
        outcomes=OUTCOMES,
        cap=programme.adjustment_cap,
    )


def vars_of(found: statement_view.View) -> dict[str, Any]:
    """The parts of a view by name, for a template."""
    return {name: getattr(found, name) for name in found.__slots__}


async def _choices(visit: Visit) -> dict[str, Any]:
    async with visit.desk.db.read() as conn:
        months = await sums_of(visit.desk).months(conn)
    pairs = [(month, month) for month in months]
    return {"months": months, "month_pairs": pairs, "views": VIEWS, "outcomes": OUTCOMES}


async def _content(visit: Visit, look: Look) -> dict[str, Any]:
    calendar, sums = visit.desk.portfolio.calendar, sums_of(visit.desk)
    async with visit.desk.db.read() as conn:
        totals = await sums.totals(conn, look)
        count = sum(total.statements for total in totals)
        if look.by is By.STATEMENT:
            lines: list[Any] = await statement_list.rows(conn, look, calendar, page=look.page)
        else:
            lines, count = await sums.grouped(conn, look, look.by, look.page)
    return {"totals": totals, "lines": lines, "count": count, "pages": statement_list.pages_of(count)}


def _nothing() -> dict[str, Any]:
    return {"totals": [], "lines": [], "count": 0, "pages": 1}


def _get(path: str, name: str, handle: Callable[[Visit], Awaitable[web.StreamResponse]]) -> Page:
    return Page(
        method=hdrs.METH_GET, path=path, name=name, permission=Permission.SETTLEMENT_READ, handle=handle
    )


PAGES = (
    _get("/settlement", "settlement", screen),
    _get("/settlement/{number}", "statement", statement),
)
