"""What an aggregator gives as records, as far as it can be read at all."""

from __future__ import annotations

import pytest

from feid import records
from feid.errors import RecordsError


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"index": 1e999}',
        b'{"index": NaN}',
        b'{"index": "one"}',
        b'{"index": 1, "record": "r"}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_record_is_refused_in_a_sentence_that_shows_it(line: bytes) -> None:
    with pytest.raises(RecordsError, match="the aggregator gives no record: b'"):
        records._leaf(line)
