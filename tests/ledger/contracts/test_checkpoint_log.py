"""The contract, on the embedded chain through web3: each success beside the refusals next to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError

from ledger import contracts
from ledger.merkle import EMPTY_ROOT
from ledger.receipt import SLOT, commitment
from ledger.rpc import RpcServer

FIRST, SECOND = bytes([1] * 32), bytes([2] * 32)

Work = Callable[[], Any]


class Deployed:
    """The contract, its publisher and a stranger."""

    def __init__(self, url: str) -> None:
        self.web3 = Web3(HTTPProvider(url))
        self.publisher, self.stranger = Account.create(), Account.create()
        artefact = contracts.load("CheckpointLog")
        self.factory = self.web3.eth.contract(abi=artefact.abi, bytecode=artefact.bytecode)
        receipt = self.transact(self.factory.constructor(self.publisher.address), self.stranger)
        self.contract = self.web3.eth.contract(receipt["contractAddress"], abi=artefact.abi)

    def transact(self, call: Any, account: Any) -> Any:
        nonce = self.web3.eth.get_transaction_count(account.address)
        fields = {"from": account.address, "nonce": nonce, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
        raw = account.sign_transaction(call.build_transaction(fields)).raw_transaction
        return self.web3.eth.wait_for_transaction_receipt(self.web3.eth.send_raw_transaction(raw))

    def publish(self, *values: object, account: Any = None) -> Any:
        return self.transact(self.contract.functions.publish(*values), account or self.publisher)

    def head(self) -> bytes:
        return bytes(self.contract.functions.head().call())


@pytest.fixture
async def deployed(server: RpcServer, tmp_path: Path) -> Deployed:
    return await asyncio.to_thread(Deployed, server.url)


async def test_the_first_checkpoint_follows_the_empty_tree(deployed: Deployed) -> None:
    def work() -> None:
        assert deployed.head() == commitment(0, EMPTY_ROOT)
        receipt = deployed.publish(0, EMPTY_ROOT, 5, FIRST)
        assert deployed.head() == commitment(5, FIRST)
        (event,) = deployed.contract.events.Published().process_receipt(receipt)
        assert event["args"] == {"size": 5, "root": FIRST}

    await asyncio.to_thread(work)


async def test_the_word_lies_in_the_slot_that_receipts_prove(deployed: Deployed) -> None:
    def work() -> None:
        deployed.publish(0, EMPTY_ROOT, 5, FIRST)
        assert bytes(deployed.web3.eth.get_storage_at(deployed.contract.address, SLOT)) == commitment(
            5, FIRST
        )

    await asyncio.to_thread(work)


async def test_a_later_checkpoint_replaces_the_expected_one(deployed: Deployed) -> None:
    def work() -> None:
        deployed.publish(0, EMPTY_ROOT, 5, FIRST)
        deployed.publish(5, FIRST, 6, SECOND)
        assert deployed.head() == commitment(6, SECOND)

    await asyncio.to_thread(work)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param((0, EMPTY_ROOT, 6, SECOND), "head is not the expected checkpoint", id="the one before"),
        pytest.param(
            (5, SECOND, 6, SECOND), "head is not the expected checkpoint", id="another root of this size"
        ),
        pytest.param(
            (4, FIRST, 6, SECOND), "head is not the expected checkpoint", id="another size of this root"
        ),
        pytest.param((5, FIRST, 5, SECOND), "does not grow the log", id="the same size with another root"),
        pytest.param((5, FIRST, 5, FIRST), "does not grow the log", id="the same checkpoint again"),
        pytest.param((5, FIRST, 4, SECOND), "does not grow the log", id="a smaller one"),
    ],
)
async def test_a_checkpoint_that_does_not_follow_is_refused(
    values: tuple[object, ...], reason: str, deployed: Deployed
) -> None:
    def work() -> None:
        deployed.publish(0, EMPTY_ROOT, 5, FIRST)
        with pytest.raises(ContractLogicError, match=reason):
            deployed.publish(*values)
        assert deployed.head() == commitment(5, FIRST)

    await asyncio.to_thread(work)


async def test_only_the_publisher_may_publish(deployed: Deployed) -> None:
    def work() -> None:
        assert deployed.contract.functions.publisher().call() == deployed.publisher.address
        with pytest.raises(ContractLogicError, match="caller is not the publisher"):
            deployed.publish(0, EMPTY_ROOT, 5, FIRST, account=deployed.stranger)

    await asyncio.to_thread(work)


async def test_a_contract_without_publisher_cannot_be_made(deployed: Deployed) -> None:
    def work() -> None:
        with pytest.raises(ContractLogicError, match="publisher is the zero address"):
            deployed.transact(deployed.factory.constructor("0x" + "00" * 20), deployed.stranger)

    await asyncio.to_thread(work)


async def test_a_checkpoint_costs_less_than_the_budget(deployed: Deployed) -> None:
    def work() -> None:
        deployed.publish(0, EMPTY_ROOT, 5, FIRST)
        assert deployed.publish(5, FIRST, 2**40, SECOND)["gasUsed"] <= 36_000

    await asyncio.to_thread(work)
