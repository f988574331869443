"""How one user reads words, times and numbers: his language, his time zone, the present.

Rules: the clock has 24 hours; an instant is always shown with its zone, so that the hour that comes twice
when summer time ends is told apart; money is never a float; what is unknown is a dash, never a zero.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale
from babel.dates import format_date, format_skeleton, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision
from babel.support import NullTranslations, Translations

from aggregator.dashboard.page import Visit

LOCALES: Mapping[str, Locale] = {
    "en": Locale("en", "GB"),  # the 24-hour clock's English
    "de": Locale("de", "DE"),
    "ko": Locale("ko", "KR"),
}
FALLBACK = "en"
CATALOGUES = Path(__file__).parent / "locale"
UNKNOWN = EN_DASH = "\u2013"
_NBSP, _MINUS = "\u00a0", "\u2212"
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_MEGA = 1000  # from so many kW on, people think in MW


@dataclass(frozen=True, slots=True)
class Wording:
    """Makes the texts; `now` is the aggregator's clock."""

    language: str
    zone: ZoneInfo
    now: datetime

    @property
    def locale(self) -> Locale:
        """The locale of numbers and dates."""
        return LOCALES[self.language]

    @property
    def locale_tag(self) -> str:
        """The same as browsers write it: de-DE."""
        return str(self.locale).replace("_", "-")

    def gettext(self, message: str) -> str:
        """The message in this language."""
        return str(catalogue(self.language).ugettext(message))

    def ngettext(self, one: str, many: str, count: int) -> str:
        """The message for a count in this language."""
        return str(catalogue(self.language).ungettext(one, many, count))

    def local(self, instant: datetime) -> datetime:
        """The instant in the user's zone; ValueError if it has no zone of its own."""
        if instant.tzinfo is None:
            raise ValueError(f"an instant without a zone cannot be shown: {instant}")
        return instant.astimezone(self.zone)

    def instant(self, day: str, clock: str) -> datetime:
        """The instant (UTC) of a day (2026-01-20) and a time (17:00) of the user's zone, as forms have them.

        Of the hour that comes twice in autumn the first one; ValueError says what is wrong, also of a time
        that is left out in spring.
        """
        found = _CLOCK.fullmatch(clock.strip())
        if found is None:
            raise ValueError(self.gettext("a time has 24 hours, such as 17:00"))
        try:
            local = datetime.combine(
                date.fromisoformat(day.strip()), time(int(found[1]), int(found[2])), self.zone
            )
            instant = local.astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError(self.gettext("a day is written such as 2026-01-20")) from None
        if instant.astimezone(self.zone).replace(tzinfo=None) != local.replace(tzinfo=None):
            raise ValueError(self.gettext("this time does not exist: the clocks are put forward over it"))
        return instant

    def day(self, instant: datetime | date) -> str:
        """20 Jan 2026."""
        return _day(self.locale, self.local(instant).date() if isinstance(instant, datetime) else instant)

    def weekday(self, instant: datetime | date) -> str:
        """Tue, 20 Jan."""
        local = self.local(instant) if isinstance(instant, datetime) else instant
        return str(format_skeleton("MMMEd", local, locale=self.locale))

    def month(self, instant: datetime | date) -> str:
        """January 2026."""
        local = self.local(instant) if isinstance(instant, datetime) else instant
        return str(format_skeleton("yMMMM", local, locale=self.locale))

    def clock(self, instant: datetime, *, seconds: bool = False) -> str:
        """14:05, or 14:05:09."""
        return f"{self.local(instant):%H:%M:%S}" if seconds else f"{self.local(instant):%H:%M}"

    def zone_name(self, instant: datetime) -> str:
        """CET or CEST; UTC+05:45 where the zone has no letters."""
        name = f"{self.local(instant):%Z}"
        return name if name[:1].isalpha() else f"UTC{name[:3]}:{name[3:] or '00'}"

    def moment(self, instant: datetime, *, seconds: bool = False) -> str:
        """20 Jan 2026, 14:05 CET."""
        return f"{self.day(instant)}, {self.clock(instant, seconds=seconds)}{_NBSP}{self.zone_name(instant)}"

    def span(self, start: datetime, end: datetime) -> str:
        """20 Jan 2026, 17:00-19:00 CET; both days and zones where they differ."""
        first, last = self.local(start), self.local(end)
        if first.date() == last.date() and first.utcoffset() == last.utcoffset():
            return f"{self.day(start)}, {first:%H:%M}{EN_DASH}{last:%H:%M}{_NBSP}{self.zone_name(start)}"
        return f"{self.moment(start)} {EN_DASH} {self.moment(end)}"

    def ago(self, instant: datetime) -> str:
        """3 minutes ago, in 2 hours."""
        passed = instant - self.now
        if abs(passed) < timedelta(seconds=1):
            return self.gettext("now")
        return _ago(self.locale, round(passed.total_seconds()))

    def duration(self, length: timedelta | float) -> str:
        """1 h 30 min, 45 s, 2 d 3 h: the two largest parts."""
        seconds = int(length.total_seconds() if isinstance(length, timedelta) else length)
        parts = []
        rest = abs(seconds)
        for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
            count, rest = divmod(rest, size)
            if count:
                parts.append(f"{count}{_NBSP}{unit}")
        text = " ".join(parts[:2]) or f"0{_NBSP}s"
        return f"{_MINUS}{text}" if seconds < 0 else text

    def number(self, value: float | Decimal | None, digits: int | None = None) -> str:
        """1,234.5; with `digits` behind the point if they are given."""
        if value is None or not math.isfinite(value):
            return UNKNOWN
        form = None if digits is None else f"#,##0{'.' + '0' * digits if digits else ''}"
        return str(format_decimal(_no_minus(value, digits), format=form, locale=self.locale))

    def percent(self, share: float | Decimal | None, digits: int = 0) -> str:
        """87 % of a share of 0.87."""
        if share is None or not math.isfinite(share):
            return UNKNOWN
        form = None if not digits else f"#,##0.{'0' * digits}\u00a0%"
        return str(format_percent(_no_minus(share, digits + 2), format=form, locale=self.locale))

    def power(self, kw: float | Decimal | None, *, signed: bool = False) -> str:
        """12.4 kW, 1.24 MW."""
        return self._with_unit(kw, "W", signed=signed)

    def energy(self, kwh: float | Decimal | None, *, signed: bool = False) -> str:
        """12.4 kWh, 1.24 MWh."""
        return self._with_unit(kwh, "Wh", signed=signed)

    def money(self, minor: int | Decimal | None, currency: str) -> str:
        """An amount in minor units (cents), in its currency. TypeError for floats: money is exact."""
        if minor is None:
            return UNKNOWN
        if isinstance(minor, bool) or not isinstance(minor, int | Decimal):
            raise TypeError(f"money is an int or a Decimal of minor units, not {type(minor).__name__}")
        amount = Decimal(minor).scaleb(-get_currency_precision(currency))
        return str(format_currency(amount, currency, locale=self.locale))

    def _with_unit(self, kilo: float | Decimal | None, unit: str, *, signed: bool) -> str:
        if kilo is None or not math.isfinite(kilo):
            return UNKNOWN
        value, name = Decimal(kilo), f"k{unit}"
        if abs(value) >= _MEGA:
            value, name = value / _MEGA, f"M{unit}"
        digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
        plus = "+" if signed and value > 0 else ""
        return f"{plus}{self.number(value, digits)}{_NBSP}{name}"


def _no_minus(value: float | Decimal, digits: int | None) -> float | Decimal:
    """The value; 0 where nothing but its sign would be left of it behind so many digits."""
    return 0 if digits is not None and -0.5 * 10.0**-digits <= value <= 0 else value


def words_of(visit: Visit) -> Wording:
    """How this user reads: his own language, else what the browser accepts; his zone, else the one that
    an admin has set, else the programme's.

    For handlers that make texts themselves: `_ = words_of(visit).gettext`.
    """
    language = visit.principal.language
    if language is None or language not in LOCALES:
        language = preferred(visit.request.headers.get("Accept-Language", ""))
    own = visit.principal.time_zone
    house = visit.desk.display.now.time_zone if visit.desk.display else ""
    zone = (own and _named_zone(own)) or ZoneInfo(house or visit.desk.settings.programme.zone)
    return Wording(language, zone, visit.now)


def preferred(accepted: str) -> str:
    """The best of our languages for an Accept-Language header; English if it names none of them."""
    wanted: list[tuple[float, str]] = []
    for part in accepted[:400].split(","):
        name, _, weight = part.partition(";")
        language = name.strip().partition("-")[0].lower()
        if language in LOCALES:
            wanted.append((_weight(weight), language))
    wanted = [found for found in wanted if found[0] > 0]
    return max(wanted, key=lambda found: found[0])[1] if wanted else FALLBACK


@cache
def catalogue(language: str) -> NullTranslations:
    """The messages of a language, read from its text as it stands: nothing has to be compiled."""
    path = CATALOGUES / f"{language}.po"
    if not path.is_file():
        return NullTranslations()
    with path.open("rb") as file:
        messages = read_po(file, locale=language)
    compiled = io.BytesIO()
    write_mo(compiled, messages)
    compiled.seek(0)
    return Translations(compiled)


def languages() -> Sequence[tuple[str, str]]:
    """Code and own name of each language."""
    return [(code, (locale.get_language_name() or code).capitalize()) for code, locale in LOCALES.items()]


@cache
def _named_zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _weight(text: str) -> float:
    name, _, value = text.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


# a thousand rows say the same few things over and over


@lru_cache(maxsize=4096)
def _day(locale: Locale, day: date) -> str:
    return str(format_date(day, "medium", locale=locale))


@lru_cache(maxsize=16384)
def _ago(locale: Locale, passed_s: int) -> str:
    return str(format_timedelta(passed_s, add_direction=True, threshold=1.5, locale=locale))
