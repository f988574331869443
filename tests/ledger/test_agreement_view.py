"""Times of an agreement, as people see them."""

from __future__ import annotations

import pytest

from ledger.agreement_view import time_or_none


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (0, None),
        (1, "1970-01-01T00:00:01Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (253_402_300_800, "253402300800 s since 1970"),
        (2**48 - 1, "281474976710655 s since 1970"),
    ],
)
def test_every_time_that_the_contract_holds_can_be_shown(at: int, shown: str | None) -> None:
    assert time_or_none(at) == shown
