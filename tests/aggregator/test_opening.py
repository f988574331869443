"""A home's share of a statement can be shown from the record alone, and nobody else's with it."""

from __future__ import annotations

import json
from typing import Any

from aggregator.share import commitment, erased, opening, salted, sealed

MADE: dict[str, Any] = {"intervals": [1], "shares_minor": {"home-01": 62, "home-02": 38}}


def test_an_opening_is_of_one_of_the_commitments_and_names_no_other_home() -> None:
    kept = salted(MADE)
    shown = opening(kept, "home-01")
    _, commitments = sealed(kept)
    assert shown is not None
    assert commitments is not None
    assert shown["commitment"] in commitments
    assert shown["commitment"] == commitment("home-01", 62, shown["salt"])
    assert "home-02" not in json.dumps(shown)
    assert kept["share_salts"]["home-02"] not in json.dumps(shown)


def test_a_share_without_a_salt_of_its_own_or_that_was_erased_cannot_be_shown() -> None:
    rest, _ = erased(salted(MADE), "home-01")
    assert opening(rest, "home-01") is None
    assert opening(MADE, "home-01") is None
