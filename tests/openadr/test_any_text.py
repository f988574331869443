"""Any text of a message comes back as it was, in what an XML parser and the schema take for right (GOALS 18).

Every text of every message is put to the test, but those that the schema restricts: which these are is found
out by writing one that is as odd as XML allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from openadr import Message, decode, encode
from openadr.parser import schema
from tests.openadr.samples import MESSAGES

Path = tuple[str | int, ...]
PROBE = "<&>\"']]>é\U0001f50c"
# every character that XML 1.0 can carry through a parser unchanged
CHARS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff")
TEXTS = st.text(CHARS, min_size=1, max_size=128).filter(lambda text: text == text.strip())


def texts_of(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where plain texts stand in a message."""
    if type(value) is str:
        yield path
    elif is_dataclass(value):
        for each in fields(value):
            yield from texts_of(getattr(value, each.name), (*path, each.name))
    elif isinstance(value, tuple):
        for number, part in enumerate(value):
            yield from texts_of(part, (*path, number))


def with_text(value: Any, path: Path, text: str) -> Any:
    """The same with another text at this place."""
    if not path:
        return text
    first, rest = path[0], path[1:]
    if isinstance(first, int):
        return (*value[:first], with_text(value[first], rest, text), *value[first + 1 :])
    return replace(value, **{first: with_text(getattr(value, first), rest, text)})


def is_free(message: Message, path: Path) -> bool:
    """Whether the schema lets any text stand there."""
    try:
        raw = encode(with_text(message, path, PROBE))
    except ValueError:
        return False
    return bool(schema().validate(etree.fromstring(raw)))


@cache
def free_texts(name: str) -> tuple[Path, ...]:
    return tuple(path for path in texts_of(MESSAGES[name]) if is_free(MESSAGES[name], path))


@pytest.mark.goal(18)
@pytest.mark.criterion("GEN-01", who="both")
@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(MESSAGES)), text=TEXTS, odd=st.integers(0, 999))
@example(name=min(MESSAGES), text=PROBE, odd=0)
def test_any_text_is_written_as_xml_that_says_it(name: str, text: str, odd: int) -> None:
    places = free_texts(name)
    if not places:
        assert name in WITHOUT
        return
    message = with_text(MESSAGES[name], places[odd % len(places)], text)
    raw = encode(message)
    root = etree.fromstring(raw)
    assert schema().validate(root), schema().error_log
    said = {element.text for element in root.iter()} | {v for e in root.iter() for v in e.attrib.values()}
    assert text in said
    assert decode(raw) == message


@pytest.mark.goal(18)
def test_ids_names_comments_and_descriptions_are_free() -> None:
    """The test above would say nothing of a text that it takes for restricted."""
    found = {str(path[-1]) for name in MESSAGES for path in free_texts(name)}
    assert found >= {
        "request_id", "ven_id", "vtn_id", "ven_name", "registration_id", "event_id", "opt_id", "description",
        "report_request_id", "report_specifier_id", "r_id", "signal_id", "vtn_comment", "report_id",
    }  # fmt: skip
    assert {name for name in MESSAGES if not free_texts(name)} == WITHOUT


@pytest.mark.goal(18)
@pytest.mark.parametrize("text", ["\x00", "a\x0bb", "\x1f", "\ufffe", "\ud800"], ids=ascii)
def test_what_xml_cannot_hold_is_not_written(text: str) -> None:
    for name, message in MESSAGES.items():
        for path in free_texts(name)[:3]:
            with pytest.raises(ValueError, match=r".*") as caught:
                encode(with_text(message, path, text))
            assert str(caught.value)


WITHOUT: set[str] = set()
"""Messages without a text of their sender's choice."""
