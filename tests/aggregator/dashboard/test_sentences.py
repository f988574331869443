"""What is wrong with a field is said in the user's language, by sentences of ours, and never as HTML."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aggregator.access import access
from aggregator.dashboard import sentences
from aggregator.dashboard.wording import Wording

NOW = datetime(2026, 1, 20, 9, tzinfo=UTC)
PACKAGE = Path(access.__file__).parent
SCREENS = ("account", "own_factor", "provider_sign_in", "sign_in", "users")
REFUSALS = {"FieldError", "RefusedError", "ProviderError"}


def words(language: str = "en") -> Wording:
    """How somebody reads."""
    return Wording(language, ZoneInfo("UTC"), NOW)


class Colour(StrEnum):
    """Some values."""

    RED = "red"
    BLUE = "blue"


class Form(BaseModel):
    """A form with fields of every kind."""

    model_config = ConfigDict(extra="forbid")

    missing: str
    short: Annotated[str, Field(min_length=3)] = "abc"
    empty: Annotated[str, Field(min_length=1)] = "a"
    long: Annotated[str, Field(max_length=3)] = ""
    pattern: Annotated[str, Field(pattern="^a$")] = "a"
    whole: int = 1
    number: float = 1
    money: Annotated[Decimal, Field(max_digits=4, decimal_places=2)] = Decimal(1)
    most: Annotated[int, Field(le=5)] = 1
    least: Annotated[int, Field(ge=5)] = 5
    above: Annotated[int, Field(gt=5)] = 6
    below: Annotated[int, Field(lt=5)] = 1
    yes: bool = True
    day: date = date(2026, 1, 20)
    at: datetime = NOW
    colour: Colour = Colour.RED
    kind: Literal["a", "b"] = "a"
    few: Annotated[tuple[str, ...], Field(max_length=1)] = ()


TYPED: dict[str, tuple[Any, str]] = {
    "short": ("ab", "At least 3 characters are needed."),
    "empty": ("", "It is empty."),
    "long": ("abcd", "At most 3 characters are taken."),
    "pattern": ("b", "It is not written as it has to be."),
    "whole": ("1.5", "It is no whole number."),
    "number": ("much", "It is no number."),
    "money": ("1.234", "At most 2 digits after the point are taken."),
    "most": (6, "It has to be 5 or less."),
    "least": (4, "It has to be 5 or more."),
    "above": (5, "It has to be more than 5."),
    "below": (5, "It has to be less than 5."),
    "yes": ("perhaps", "It is neither yes nor no."),
    "day": ("20.01.2026", "A day is written such as 2026-01-20."),
    "at": ("tomorrow", "It is no day and time with a zone, such as 2026-01-20T17:00:00Z."),
    "colour": ("green", "It is none of these: 'red', 'blue'."),
    "kind": ("c", "It is none of these: 'a', 'b'."),
    "few": (("a", "b"), "At most 1 are taken, not 2."),
    "more": ("x", "There is no such field."),
}


def errors_of(typed: dict[str, Any]) -> dict[str, str]:
    """What pydantic says of each field."""
    with pytest.raises(ValidationError) as refused:
        Form.model_validate(typed)
    return {str(one["loc"][0]): one["msg"] for one in refused.value.errors()}


def test_what_a_form_s_check_says_is_said_in_every_language() -> None:
    found = errors_of({name: value for name, (value, _) in TYPED.items()})
    expected = {"missing": "It is empty."} | {name: sentence for name, (_, sentence) in TYPED.items()}
    assert {name: sentences.said(text, words()) for name, text in found.items()} == expected
    for language in ("de", "ko"):
        told = {name: sentences.said(text, words(language)) for name, text in found.items()}
        assert not [name for name in told if told[name] in (found[name], expected[name])], told
    assert sentences.said(found["short"], words("de")) == "Mindestens 3 Zeichen sind nötig."


def test_a_sentence_that_is_not_known_stays_as_it_is() -> None:
    for text in ("Input should be a valid URL, empty host", "100 % of <b>x</b> %(no)s", ""):
        assert sentences.said(text, words("de")) == text


def refusals() -> Iterator[tuple[str, str]]:
    """Every sentence that accounts and signing in refuse something with, and where; values stand as 7."""
    modules = {f"aggregator.access.{path.stem}": path for path in PACKAGE.glob("*.py")}
    modules |= {
        f"aggregator.dashboard.{name}": PACKAGE.parent / "dashboard" / f"{name}.py" for name in SCREENS
    }
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REFUSALS:
                argument = node.args[0 if node.func.id == "ProviderError" else 1]
                if text := _text(argument, name):
                    yield f"{name}:{node.lineno}", text


def _text(node: ast.expr, module: str) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)
    if isinstance(node, ast.Name) and node.id.isupper():
        return str(getattr(importlib.import_module(module), node.id))
    return ""


def test_every_refusal_of_an_account_has_a_translation() -> None:
    found = dict(refusals())
    assert len(found) > 40
    german = {where: sentences.said(text, words("de")) for where, text in found.items()}
    assert [f"{where}: {found[where]}" for where in found if german[where] == found[where]] == []
    waiting = "too many tries failed: wait 31 seconds and try again"
    assert "warten Sie 31 Sekunden" in sentences.said(waiting, words("de"))
