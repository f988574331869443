"""What is said of a field that cannot be taken, in the user's language.

Forms are checked by pydantic and by our own rules, which speak English. A sentence of theirs is known again
by its pattern, whatever values stand in it, and said as people say it; one that is not known stays as it is.
Instants, days and power in it are said as the user reads them, in his zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import cache, lru_cache
from typing import Protocol

from pydantic_core import PydanticKnownError

from aggregator.dashboard.event_sentences import NESTED, OF_EVENTS
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.wording import Wording
from aggregator.profile import Period
from aggregator.told import Value, Values

_EMPTY = _("It is empty.")
_WHOLE, _NUMBER = _("It is no whole number."), _("It is no number.")
_DAY, _TIME = _("A day is written such as 2026-01-20."), _("A time has 24 hours, such as 17:00.")
_INSTANT = _("It is no day and time with a zone, such as 2026-01-20T17:00:00Z.")
OF_PYDANTIC: Mapping[str, str] = {
    "missing": _EMPTY,
    "string_type": _("It is no text."),
    "string_unicode": _("It is no text."),
    "string_too_short": _("At least %(min_length)s characters are needed."),
    "string_too_long": _("At most %(max_length)s characters are taken."),
    "string_pattern_mismatch": _("It is not written as it has to be."),
    "too_short": _("At least %(min_length)s are needed, not %(actual_length)s."),
    "too_long": _("At most %(max_length)s are taken, not %(actual_length)s."),
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _("The number is too large."),
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "decimal_max_digits": _("At most %(max_digits)s digits are taken."),
    "decimal_max_places": _("At most %(decimal_places)s digits after the point are taken."),
    "greater_than_equal": _("It has to be %(ge)s or more."),
    "greater_than": _("It has to be more than %(gt)s."),
    "less_than_equal": _("It has to be %(le)s or less."),
    "less_than": _("It has to be less than %(lt)s."),
    "multiple_of": _("It has to be a multiple of %(multiple_of)s."),
    "bool_type": _("It is neither yes nor no."),
    "bool_parsing": _("It is neither yes nor no."),
    "date_type": _DAY,
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "date_from_datetime_inexact": _DAY,
    "time_type": _TIME,
    "time_parsing": _TIME,
    "datetime_type": _INSTANT,
    "datetime_parsing": _INSTANT,
    "datetime_from_date_parsing": _INSTANT,
    "timezone_aware": _INSTANT,
    "enum": _("It is none of these: %(expected)s."),
    "literal_error": _("It is none of these: %(expected)s."),
    "extra_forbidden": _("There is no such field."),
    "list_type": _("It is no list."),
    "tuple_type": _("It is no list."),
}
"""Our sentences by pydantic's names of errors; the first whose pattern fits is said."""
OF_OURS = (
    _("name or password is not right"),
    _("this code is not right, or was used already"),
    _("this link was used already, or is too old: ask for another one"),
    _("too many tries failed: wait %(count)s seconds and try again"),
    _("too many tries failed: wait %(count)s minutes and try again"),
    _("too many people sign in at once, try again"),
    _("it is not your password"),
    _("it is not the same"),
    _("it is empty"),
    _("it has %(count)s characters, at least %(least)s are needed"),
    _("it has %(count)s characters, at most %(most)s are taken"),
    _("it has %(count)s letters, at most %(most)s are taken"),
    _("it holds the invisible character %(character)s"),
    _("it is a row or a repetition, which is guessed first"),
    _("it is little more than a name or a word that is guessed first"),
    _("there are no texts in this language"),
    _("there is no such time zone"),
    _("%(name)s is a user already"),
    _("a prosumer's account is for one VEN at least"),
    _("the role %(role)s sees the whole fleet, not single VENs"),
    _("the role %(role)s needs a second factor"),
    _("this is the last admin who can sign in: make another one first"),
    _("%(name)s is suspended: let him in again first"),
    _("at most %(most)s ids of at most 128 characters are taken"),
    _("the settings let only admins sign in with a password"),
    _("the identity provider cannot be reached now: use your password, or try again later"),
    _("the identity provider did not confirm this sign-in: begin again"),
    _("what the provider said of you could not be verified: you are not signed in"),
    _("you were not signed in at the identity provider"),
    _("this sign-in took too long, or was begun in another browser: begin again"),
    _("the identity provider gives you no role here: ask for one there"),
    _("the second factor was begun too long ago, or elsewhere: begin again"),
    _("this account may not sign in: ask an admin"),
    _("the first admin sets a password: the provider may be out of reach one day"),
    _("your account at the provider belongs to no user here: give an admin this name"),
    _("this account at the provider signs in as another user already"),
    _("it is empty, too long, or holds what cannot be seen"),
    _("your session has ended: sign in again"),
    _("sign in first"),
    _("this form is not of your session any more: load the page again"),
    _("this was sent by a page of another site"),
    _("this does not say which page it was sent by: Origin is missing"),
    _("this token is not known, has expired or was revoked"),
    _("it lies between now and %(last)s"),
    _("you have %(count)s tokens: revoke one first"),
    _("%(value)s is none of %(known)s"),
    _("choose one of %(known)s"),
    _("there is no identity provider in the settings"),
    _("your role does not have the permission %(permission)s before your second factor is set up"),
    _("your role does not have the permission %(permission)s"),
)
"""Sentences of accounts and of signing in; what stands between brackets is a value."""
_EXAMPLES: Mapping[str, Mapping[str, int | str]] = {
    "string_too_short": {"min_length": 2},
    "string_too_long": {"max_length": 2},
    "string_pattern_mismatch": {"pattern": "x"},
    "too_short": {"field_type": "Tuple", "min_length": 2, "actual_length": 1},
    "too_long": {"field_type": "Tuple", "max_length": 2, "actual_length": 3},
    "decimal_max_digits": {"max_digits": 2},
    "decimal_max_places": {"decimal_places": 2},
    "greater_than": {"gt": 2},
    "greater_than_equal": {"ge": 2},
    "less_than": {"lt": 2},
    "less_than_equal": {"le": 2},
    "multiple_of": {"multiple_of": 2},
    "date_parsing": {"error": "x"},
    "date_from_datetime_parsing": {"error": "x"},
    "time_parsing": {"error": "x"},
    "datetime_parsing": {"error": "x"},
    "datetime_from_date_parsing": {"error": "x"},
    "enum": {"expected": "x"},
    "literal_error": {"expected": "x"},
}
"""Values without which pydantic does not say its sentence."""
_PLACE = re.compile(r"\{(\w+)\}|%\((\w+)\)s")
_AT = r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|\+00:00)"
_INSTANT_TEXT, _SPAN_TEXT = re.compile(_AT, re.ASCII), re.compile(f"({_AT}) to ({_AT})", re.ASCII)
_DAY_TEXT = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_POWER_TEXT = re.compile(r"(-?\d+(?:\.\d+)?(?:e[+-]?\d\d)?) (k?)W", re.ASCII)
_FIRST = "String should have at least 1 character"  # people say that it is empty


class Told(Protocol):
    """A sentence that has kept its values, such as a `ClauseHit`."""

    @property
    def message(self) -> str:
        """The sentence with the places of its values."""

    @property
    def values(self) -> Values:
        """The values by the names of their places."""


def said(what: str | Told, words: Wording) -> str:
    """The sentence in the user's language; a text that is no known sentence as the catalogue has it."""
    if not isinstance(what, str):
        values = {name: _value(name, value, words) for name, value in what.values.items()}
        return words.gettext(what.message) % values if values else words.gettext(what.message)
    found = _known(what)
    if found is None:
        return words.gettext(what) if what else ""
    message, texts = found
    return words.gettext(message) % {name: _text(name, text, words) for name, text in texts.items()}


def several(text: str, words: Wording) -> str:
    """Sentences with semicolons between them, each in the user's language; a name may stand before one."""
    return "; ".join(_named(part, words) for part in text.split("; "))


def _named(text: str, words: Wording) -> str:
    name, colon, rest = text.partition(": ")
    return f"{name}: {said(rest, words)}" if colon and _known(rest) else said(text, words)


def _value(name: str, value: Value, words: Wording) -> str:
    if isinstance(value, Period):
        return words.span(value.start, value.end)
    if isinstance(value, datetime):
        return words.moment(value)
    if isinstance(value, date):
        return words.day(value)
    if isinstance(value, str):
        return _text(name, value, words)
    if name.endswith("_w"):
        return words.power(value / 1000)
    return words.power(value) if name.endswith("_kw") else words.number(value)


def _text(name: str, text: str, words: Wording) -> str:
    """A value that stands in a text, as the user reads it."""
    if name in NESTED:
        return several(text, words)
    if power := _POWER_TEXT.fullmatch(text):
        return words.power(float(power[1]) / (1 if power[2] else 1000))
    try:
        return _time(text, words)
    except ValueError:  # looks like a day, and is none
        return text


def _time(text: str, words: Wording) -> str:
    if span := _SPAN_TEXT.fullmatch(text):
        return words.span(datetime.fromisoformat(span[1]), datetime.fromisoformat(span[2]))
    if _INSTANT_TEXT.fullmatch(text):
        return words.moment(datetime.fromisoformat(text))
    return words.day(date.fromisoformat(text)) if _DAY_TEXT.fullmatch(text) else text


@lru_cache(maxsize=512)
def _known(text: str) -> tuple[str, Mapping[str, str]] | None:
    if text == _FIRST:
        return _EMPTY, {}
    for pattern, message in _patterns():
        if match := pattern.fullmatch(text):
            values = match.groupdict()
            if not values.get("expected", "'").startswith("'"):
                continue  # no list of values: a sentence that we do not know
            return message, {name: value.replace("' or '", "', '") for name, value in values.items()}
    return None


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple(_all())


def _all() -> Iterator[tuple[re.Pattern[str], str]]:
    for name, message in OF_PYDANTIC.items():
        known = PydanticKnownError(name, dict(_EXAMPLES.get(name, {})) or None)  # type: ignore[arg-type]
        yield _pattern(known.message_template), message
    for message in (*OF_OURS, *OF_EVENTS):
        yield _pattern(message), message


def _pattern(template: str) -> re.Pattern[str]:
    """What fits a sentence with any values in its places."""
    parts, at = [], 0
    for place in _PLACE.finditer(template):
        name = place[1] or place[2]
        most = 4000 if name in NESTED else 200
        parts += [re.escape(template[at : place.start()]), f"(?P<{name}>.{{0,{most}}}?)"]
        at = place.end()
    return re.compile("".join([*parts, re.escape(template[at:])]), re.DOTALL)
