"""A key of the log from before a rotation, as settings name it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ledger.checkpoint import SigningKey
from ledger.settings import FormerKeySettings

KEY = str(SigningKey("example.org/log", bytes(32)).verifier)


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("9999-12-31T23:59:59-12:00", "out of range"),
        ("0001-01-01T00:00:00+12:00", "out of range"),
        ("2027-01-01T00:00:00", "timezone"),
    ],
)
def test_a_time_that_no_trust_file_can_have_is_refused_in_a_sentence(until: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FormerKeySettings.model_validate({"key": KEY, "valid_until": until})


def test_a_time_of_another_zone_is_taken_as_utc() -> None:
    made = FormerKeySettings.model_validate({"key": KEY, "valid_until": "2027-01-01T02:00:00+02:00"})
    assert "valid_until = 2027-01-01T00:00:00Z" in made.log_key().lines()
