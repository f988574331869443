"""No message that the schema allows makes the package fail (GOALS 10)."""

from dataclasses import replace
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from openadr import DistributeEvent, ProtocolError, decode, encode
from openadr.checker import Outcome, check_bytes
from openadr.codec import messages
from openadr.errors import TooLarge, TransportError
from openadr.parser import DEFAULT_LIMITS, parse, validate
from tests.openadr.schema_walk import Schema


@cache
def the_schema() -> Schema:
    return Schema()


READ, REFUSED = "read", "refused"
RIGHT = (READ, REFUSED)


def course(tag: str, seed: int) -> str:
    """What became of a random message: READ, REFUSED by an application error, or else what is wrong."""
    raw = etree.tostring(the_schema().message(Random(seed), tag))
    validate(parse(raw))
    if check_bytes(raw).outcome not in (Outcome.OK, Outcome.RULE):
        return "the checker says otherwise"
    try:
        message = decode(raw)
    except TooLarge:  # the schema knows no limit, ours is on bytes
        return REFUSED if len(raw) > DEFAULT_LIMITS.max_bytes else "too large, and it is not"
    except TransportError:
        return "refused although the schema allows it"
    except ProtocolError as error:
        return REFUSED if error.rule and error.message_name else "refused by no rule"
    if isinstance(message, DistributeEvent):
        if not all(event.rule and event.description for event in message.unreadable):
            return "an event that nobody can read, by no rule"
        message = replace(message, unreadable=())  # what could not be read is not written
    written = encode(message)
    validate(parse(written))
    # as text: NaN, which the schema allows, is not equal to itself
    return READ if repr(decode(written)) == repr(message) else "written otherwise than read"


@pytest.mark.goal(10)
@pytest.mark.parametrize("tag", sorted(messages()), ids=lambda tag: tag.rpartition("}")[2])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_a_random_message_is_read_or_refused_by_a_rule(tag: str, seed: int) -> None:
    assert course(tag, seed) in RIGHT


@pytest.mark.goal(10)
@pytest.mark.long
@pytest.mark.parametrize("tag", sorted(messages()), ids=lambda tag: tag.rpartition("}")[2])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=2000)
def test_many_random_messages_are_read_or_refused_by_a_rule(tag: str, seed: int) -> None:
    assert course(tag, seed) in RIGHT


@pytest.mark.parametrize("tag", sorted(messages()), ids=lambda tag: tag.rpartition("}")[2])
def test_most_kinds_of_random_messages_are_read(tag: str) -> None:
    assert any(course(tag, seed) == READ for seed in range(60))
