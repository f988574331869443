"""What a contract answers that is not ours, or not of this version."""

from __future__ import annotations

from typing import Any, cast

import pytest
from eth_abi.abi import encode
from eth_utils.abi import get_abi_output_types

from ledger import contracts
from ledger.agreement_contract import NAME, AgreementContract
from ledger.contract_node import ContractNode
from ledger.errors import ChainError
from ledger.interface import interface

ABI: dict[str, Any] = {
    entry["name"]: entry for entry in contracts.load(NAME).abi if entry["type"] == "function"
}
ID = bytes(32)
NOBODY = "0x" + "00" * 20
TERMS = (NOBODY, 0, 0, NOBODY, 0, 0, 0, NOBODY, 0, 0, 0, 0, 0, 0)


class Answering:
    """A node that answers each function with these values."""

    def __init__(self, answers: dict[str, tuple[Any, ...]]) -> None:
        self._raw = {
            interface(NAME).encode(name, *arguments)[:4]: encode(get_abi_output_types(ABI[name]), values)
            for name, values in answers.items()
            for arguments in [(ID,) * len(ABI[name]["inputs"])]
        }

    async def ask_contract(self, _: bytes, data: bytes, block: int | None = None) -> bytes:
        return self._raw[data[:4]]


def contract(**answers: tuple[Any, ...]) -> AgreementContract:
    return AgreementContract(cast("ContractNode", Answering(answers)), bytes(20))


@pytest.mark.parametrize(("outcome", "status"), [(99, 1), (0, 99)])
async def test_an_outcome_or_a_status_that_nobody_knows_is_named(outcome: int, status: int) -> None:
    settled = (ID, ID, 1, 1, 1, 1, 0, 1, outcome, status, False)
    with pytest.raises(ChainError, match=r"DRAgreement\.settlementOf cannot be read: 99 is not a valid"):
        await contract(settlementOf=(settled, 0, 0, 0, 0)).settled(ID, ID)


async def test_a_suspender_that_nobody_knows_is_named() -> None:
    asked = contract(agreementOf=((TERMS, 1, 0, 0, 0),), standingOf=((2, 99, True, 0),))
    with pytest.raises(ChainError, match=r"DRAgreement\.standingOf cannot be read: 99 is not a valid"):
        await asked.standing(ID)
