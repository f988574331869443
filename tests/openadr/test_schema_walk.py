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


def keeps_every_promise(tag: str, seed: int) -> bool:
    """Whether the random message was read; refusing it by an application error is the other right answer."""
    raw = etree.tostring(the_schema().message(Random(seed), tag))
    validate(parse(raw))
    assert check_bytes(raw).outcome in (Outcome.OK, Outcome.RULE)
    try:
        message = decode(raw)
    except TooLarge:
        assert len(raw) > DEFAULT_LIMITS.max_bytes, "the schema knows no limit, ours is on bytes"
        return False
    except ProtocolError as error:
        assert not isinstance(error, TransportError), "the schema allows it"
        assert error.rule
        assert error.message_name
        return False
    if isinstance(message, DistributeEvent):
        assert all(event.rule and event.description for event in message.unreadable)
        message = replace(message, unreadable=())  # what could not be read is not written
    written = encode(message)
    validate(parse(written))
    # as text: NaN, which the schema allows, is not equal to itself
    assert repr(decode(written)) == repr(message)
    return True


@pytest.mark.goal(10)
@pytest.mark.parametrize("tag", sorted(messages()), ids=lambda tag: tag.rpartition("}")[2])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_a_random_message_is_read_or_refused_by_a_rule(tag: str, seed: int) -> None:
    keeps_every_promise(tag, seed)


@pytest.mark.goal(10)
@pytest.mark.long
@pytest.mark.parametrize("tag", sorted(messages()), ids=lambda tag: tag.rpartition("}")[2])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=2000)
def test_many_random_messages_are_read_or_refused_by_a_rule(tag: str, seed: int) -> None:
    keeps_every_promise(tag, seed)


@pytest.mark.parametrize("tag", sorted(messages()), ids=lambda tag: tag.rpartition("}")[2])
def test_most_kinds_of_random_messages_are_read(tag: str) -> None:
    assert any(keeps_every_promise(tag, seed) for seed in range(60))
