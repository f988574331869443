"""The state table and the page that shows it are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from openadr import Message
from ven.states import ANSWERS, OWN, TRANSITIONS, Next, State

PAGE = Path(__file__).parents[2] / "docs" / "ven-session.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def wire_name(message: type[Message]) -> str:
    return f"oadr{message.__name__}"


def cell(following: Next) -> str:
    return following.good if following.good is following.bad else f"{following.good}, else {following.bad}"


def table() -> str:
    """The page's table: one row for each answer that a request may have in a state."""
    lines = ["| state | what is sent | answer | next state |", "|---|---|---|---|"]
    for state, requests in TRANSITIONS.items():
        for asked, answers in requests.items():
            told_below = asked in ANSWERS or (asked in OWN and state is not State.UNREGISTERED)
            if told_below:  # the same in every state
                continue
            for answer, following in answers.items():
                cells = (state, wire_name(asked), wire_name(answer), cell(following))
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def test_the_page_shows_the_table() -> None:
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == table(), f"put this between the marks of {PAGE}:\n{table()}"


def test_the_page_names_every_state() -> None:
    text = PAGE.read_text()
    assert [state for state in State if f"`{state}`" not in text] == []


@pytest.mark.criterion("POLL-04")
def test_answers_to_polled_messages_are_posted_wherever_they_may_wait_and_change_no_state() -> None:
    waiting = {state for state, requests in TRANSITIONS.items() if set(ANSWERS) <= set(requests)}
    assert waiting == {State.OFFERING, State.SYNCING, State.READY, State.REREGISTERING, State.LEAVING}
    for state, requests in TRANSITIONS.items():
        for asked in set(ANSWERS) & set(requests):
            assert set(requests[asked].values()) == {Next(state, state)}
