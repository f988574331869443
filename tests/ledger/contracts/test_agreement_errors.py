"""Every refusal of the contract is met by one of its tests. forge does not count the branches of
`require(condition, Error())`; each error is such a branch.
"""

from __future__ import annotations

import re

from ledger import contracts
from ledger.contracts import build

UNREACHED = {"CheckpointUnorderedInsertion", "SafeCastOverflowedIntToUint", "SafeCastOverflowedUintDowncast"}
"""OpenZeppelin's own guards: time does not run backwards, and no sum or time needs so many bits."""


def test_every_error_is_expected_by_a_test_of_the_contract() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in build.HERE.glob("test/DRAgreement*.t.sol"))
    expected = set(re.findall(r"(\w+)\.selector", tests))
    errors = {entry["name"] for entry in contracts.load("DRAgreement").abi if entry["type"] == "error"}
    assert errors - UNREACHED <= expected, errors - UNREACHED - expected
    assert errors >= UNREACHED
