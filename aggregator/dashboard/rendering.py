"""HTML of templates, for one user: his language, zone and permissions.

Rules: everything is escaped unless a macro of ours made it; a name that nobody set is an error, not an empty
place; filters take instants, kilowatts and minor units, never texts that were made before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.bccache import Bucket
from jinja2.runtime import Context
from markupsafe import Markup, escape

from aggregator.access.permission import Permission
from aggregator.dashboard import navigation, sentences
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.sentences import Told
from aggregator.dashboard.static_files import StaticFiles
from aggregator.dashboard.wording import UNKNOWN, Wording, languages, words_of

TEMPLATES = Path(__file__).parent / "templates"
AT_START = ("macros/", "overview/", "sign_in/")
_SHORT = 12  # characters of an id that are shown

_visit: ContextVar[Visit] = ContextVar("visit")
_words: ContextVar[Wording] = ContextVar("words")


class _Compiled(BytecodeCache):
    """What templates were compiled to, for all renderings of this process."""

    _code: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Lay what is there into the bucket."""
        if (code := self._code.get(bucket.key)) is not None:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it."""
        self._code[bucket.key] = bucket.bytecode_to_string()


class Rendering:
    """A `page.Renderer`; templates are compiled once, those of every page and of the first ones at its start.
    The navigation shows what of it is among `pages`.
    """

    def __init__(self, static: StaticFiles, pages: Sequence[Page]) -> None:
        self._paths = frozenset(page.path for page in pages if not page.writes)
        self._environment = _environment(static)
        for name in self._environment.list_templates():
            if "/" not in name or name.startswith(AT_START):
                self._environment.get_template(name)

    def __call__(self, visit: Visit, template: str, values: Mapping[str, Any]) -> str:
        """The HTML."""
        words = words_of(visit)
        visit_token, words_token = _visit.set(visit), _words.set(words)
        try:
            return self._environment.get_template(template).render(
                {
                    "visit": visit,
                    "principal": visit.principal,
                    "now": visit.now,
                    "path": visit.request.path,
                    "nav": navigation.sections(visit.principal, self._paths),
                    "words": words,
                    **values,
                }
            )
        finally:
            _visit.reset(visit_token)
            _words.reset(words_token)


def _environment(static: StaticFiles) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        bytecode_cache=_Compiled(),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # the extension adds it
        lambda message: _words.get().gettext(message),
        lambda one, many, count: _words.get().ngettext(one, many, count),
        newstyle=True,
    )
    environment.globals["ngettext"] = _counted(environment.globals["ngettext"])
    environment.filters.update(FILTERS)
    environment.globals.update(
        static=static.url,
        icon=lambda name: _icon(static.url("icons.svg"), name),
        may=lambda permission: _visit.get().principal.may(Permission(permission)),
        csrf_token=lambda: _visit.get().principal.csrf,
        is_here=lambda place: navigation.is_here(place, _visit.get().request.path),
        span=lambda start, end: Markup('<span class="nowrap">{}</span>').format(
            _words.get().span(start, end)
        ),
        languages=languages,
        own_zone=lambda: _words.get().zone.key,
        unknown=UNKNOWN,
        brand=_brand,
    )
    return environment


def _counted(ngettext: Any) -> Any:
    """The same, with its %(num)s as the language writes numbers: 1,000 nodes."""

    @pass_context
    def counted(context: Context, one: str, many: str, number: int, /, **values: Any) -> Any:
        return ngettext(context, one, many, number, **{"num": _words.get().number(number), **values})

    return counted


def _brand() -> str:
    display = _visit.get().desk.display
    return display.now.brand if display else "flexpact"


def _icon(sprite: str, name: str) -> Markup:
    use = Markup('<use href="{}#{}"></use>').format(sprite, name)
    return Markup('<svg class="icon" aria-hidden="true" focusable="false">{}</svg>').format(use)


_DASH = Markup("&ndash;")  # what UNKNOWN is in HTML


def _time(instant: datetime | None, text: str, *, kept: bool = False) -> Markup:
    """A text with the instant behind it, for programs and for the mouse; `kept`: live.js keeps it right."""
    if instant is None:
        return _DASH
    utc = instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
    title = escape(_words.get().moment(instant, seconds=True))
    kind = " data-ago" if kept else ""
    # put together by hand, because a page has thousands; nothing in it is unescaped
    return Markup(f'<time datetime="{utc}" title="{title}"{kind}>{escape(text)}</time>')  # noqa: S704


def moment(instant: datetime | None, *, seconds: bool = False) -> Markup:
    """Day, time and zone."""
    return _time(instant, "" if instant is None else _words.get().moment(instant, seconds=seconds))


def clock(instant: datetime | None, *, seconds: bool = False) -> Markup:
    """Time of the day; the day and the zone stand in the title."""
    return _time(instant, "" if instant is None else _words.get().clock(instant, seconds=seconds))


def day(value: datetime | date | None) -> str:
    """The local day."""
    return UNKNOWN if value is None else _words.get().day(value)


def weekday(value: datetime | date | None) -> str:
    """The local day with its name, without the year."""
    return UNKNOWN if value is None else _words.get().weekday(value)


def month(value: datetime | date | None) -> str:
    """The month and its year."""
    return UNKNOWN if value is None else _words.get().month(value)


def ago(instant: datetime | None) -> Markup:
    """How long ago or ahead; live.js keeps it right while the page is open."""
    return _time(instant, "" if instant is None else _words.get().ago(instant), kept=True)


def duration(length: timedelta | float | None) -> str:
    """The two largest parts of a length."""
    return UNKNOWN if length is None else _words.get().duration(length)


def kw(value: float | Decimal | None, *, signed: bool = False) -> str:
    """Power, from 1000 kW on in MW."""
    return _words.get().power(value, signed=signed)


def kwh(value: float | Decimal | None, *, signed: bool = False) -> str:
    """Energy, from 1000 kWh on in MWh."""
    return _words.get().energy(value, signed=signed)


def money(minor: int | Decimal | None, currency: str) -> str:
    """An amount in minor units."""
    return _words.get().money(minor, currency)


def number(value: float | Decimal | None, digits: int | None = None) -> str:
    """A number as the user's language writes it."""
    return _words.get().number(value, digits)


def percent(share: float | Decimal | None, digits: int = 0) -> str:
    """A share as percent."""
    return _words.get().percent(share, digits)


def short_id(text: str | None, length: int = _SHORT) -> Markup:
    """A long id cut in the middle; the whole of it in the title."""
    if text is None:
        return _DASH
    if len(text) <= length:
        return Markup('<span class="id">{}</span>').format(text)
    head, tail = text[: length * 2 // 3], text[len(text) - length // 3 :]
    return Markup('<span class="id" title="{}">{}…{}</span>').format(text, head, tail)


def said(what: str | Told) -> str:
    """What is wrong with a field, or stands against an event, as a sentence of the user's language. Not by
    `_`: that is for texts of ours alone, it does not escape.
    """
    return sentences.said(what, _words.get())


def all_said(text: str) -> str:
    """The same of several sentences with semicolons between them, as a breaker's reason is."""
    return sentences.several(text, _words.get())


FILTERS: Mapping[str, Any] = {
    function.__name__: function
    for function in (
        moment,
        clock,
        day,
        weekday,
        month,
        ago,
        duration,
        kw,
        kwh,
        money,
        number,
        percent,
        short_id,
        said,
        all_said,
    )
}
