"""Shares of homes in a statement's detail: each committed to by itself, so that one can go."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from aggregator.share import ERASED, SALTS, erased, in_one_piece, salted, same, sealed

MADE: dict[str, Any] = {"intervals": [1], "shares_minor": {"home-01": 62, "home-02": 38}}


def test_the_commitments_stay_what_they_were_when_a_home_is_erased() -> None:
    kept = salted(MADE)
    rest, gone = erased(kept, "home-01")
    assert sealed(rest) == sealed(kept)
    assert "home-01" not in json.dumps(rest)
    assert (rest["shares_minor"], rest[ERASED]) == ({"home-02": 38}, [gone])
    nobody, _ = erased(rest, "home-02")
    assert sealed(nobody) == sealed(kept)


def test_a_commitment_is_what_the_documents_say() -> None:
    kept = salted({**MADE, "shares_minor": {"home-01": 62}})
    said = b"\x00" + bytes.fromhex(kept[SALTS]["home-01"]) + b'["home-01",62]'
    assert sealed(kept) == ({"intervals": [1]}, [sha256(said).hexdigest()])


@pytest.mark.parametrize(
    "change", [{"home-01": 63, "home-02": 37}, {"home-01": 62}, {"home-01": 62, "home-03": 38}]
)
def test_no_other_shares_have_these_commitments(change: dict[str, int]) -> None:
    kept = salted(MADE)
    salts = dict.fromkeys(change, kept[SALTS]["home-01"]) | kept[SALTS]
    assert sealed({**kept, "shares_minor": change, SALTS: salts})[1] != sealed(kept)[1]


def test_equal_amounts_have_commitments_of_their_own_each_time() -> None:
    first, second = (sealed(salted(MADE))[1] for _ in range(2))
    assert first is not None
    assert second is not None
    assert not set(first) & set(second)


def test_a_detail_that_is_made_again_is_the_same_whatever_its_salts_are() -> None:
    kept = salted(MADE)
    assert same(kept, MADE)
    assert not same(kept, {**MADE, "shares_minor": {"home-01": 61, "home-02": 39}})
    assert not same(kept, {**MADE, "intervals": [2]})


def test_what_the_others_got_stays_when_a_home_was_erased() -> None:
    rest, _ = erased(salted(MADE), "home-01")
    assert same(rest, {**MADE, "shares_minor": {"home-02": 100}})
    assert not same(rest, {**MADE, "intervals": [2], "shares_minor": {"home-02": 100}})


def test_a_detail_from_before_salts_is_sealed_as_it_was() -> None:
    assert in_one_piece(MADE)
    assert sealed(MADE) == (MADE, None)
