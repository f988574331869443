"""A node's message as it is shown: nothing in it is hidden, and nothing turns the line."""

from __future__ import annotations

import pytest

from aggregator.dashboard.node import _pretty


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("<a><b>x</b></a>", "<a>\n  <b>x</b>\n</a>\n"),
        ("<a>opt\u202eIn</a>", "<a>opt\\u202eIn</a>\n"),
        ("no XML\u200b\x1b[2J\n<", "no XML\\u200b\\x1b[2J\n<"),
        ("<a><!-- \u2066 --></a>", "<a><!-- \\u2066 --></a>"),
    ],
)
def test_what_nobody_sees_in_a_message_is_written_out(body: str, shown: str) -> None:
    assert _pretty(body.encode()) == shown
