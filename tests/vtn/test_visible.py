"""Names of VENs as operators give them."""

from __future__ import annotations

import pytest

from vtn.visible import seen


@pytest.mark.parametrize("text", ["node-1", "Straße 5", "노드 1", "é", "e\u0301", "🏠"])
def test_what_can_be_seen_is_taken_as_it_is(text: str) -> None:
    assert seen(text) == text


@pytest.mark.parametrize(
    "hidden",
    ["\u202e", "\u200b", "\u3164", "\u115f", "\ufe0f", "\u2800", "\U000e0100", "\ue000", "\ud800", "\n"],
)
def test_what_nobody_sees_is_refused_by_its_number(hidden: str) -> None:
    with pytest.raises(ValueError, match=rf"invisible character U\+{ord(hidden):04X}"):
        seen(f"node{hidden}1")


@pytest.mark.parametrize("text", ["", " ", "\u00a0"])
def test_nothing_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="it is empty"):
        seen(text)
