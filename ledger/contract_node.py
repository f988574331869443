"""A chain node, asked for more than the log: calls of any contract at a block, its events, transactions to
it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from eth_typing import BlockNumber, HexStr
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3.exceptions import TransactionNotFound
from web3.types import BlockIdentifier, FilterParams, TxParams

from ledger import contracts
from ledger.chain_key import ChainKey
from ledger.errors import ChainError
from ledger.node import GWEI, LOG_BLOCKS, Node, NodeRefusedError, whole
from ledger.state import keccak256

Result = TypeVar("Result")

_REVERTED = re.compile(r"0x[0-9a-fA-F]{8}(?:[0-9a-fA-F]{2})*")
"""A selector at least."""

MINED_WITHIN_S = 60.0
"""Real seconds that a person's own transaction is waited for."""


class RevertedCallError(ChainError):
    """The contract reverted a call; `data` is what it returned: the name of a clause and its values."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        super().__init__(f"the contract reverted with 0x{data.hex()}")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the chain; `base_fee` is in wei."""

    number: int
    hash: bytes
    timestamp: int
    base_fee: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An event that a contract wrote."""

    topics: tuple[bytes, ...]
    data: bytes
    block: int


class ContractNode(Node):
    """A node for contracts of any kind."""

    async def newest(self) -> Block:
        """The newest block."""
        return await self._ask(self._newest())

    async def _newest(self) -> Block:
        block = cast("dict[str, Any]", await self._web3.eth.get_block("latest"))
        fee = block.get("baseFeePerGas") or 0
        return Block(block["number"], bytes(block["hash"]), block["timestamp"], fee)

    async def ask_contract(self, contract: bytes, data: bytes, block: int | None = None) -> bytes:
        """What a call answers after that block, the newest without one. RevertedCallError with the
        contract's error; ChainError if there is no contract.
        """
        at: BlockIdentifier = "latest" if block is None else BlockNumber(block)
        answer = await self._call({"to": _address(contract), "data": HexBytes(data)}, at)
        if not answer:
            raise ChainError(f"there is no contract at 0x{contract.hex()}")
        return answer

    async def rehearse_call(self, contract: bytes, sender: bytes, data: bytes, gas: int) -> None:
        """Nothing if such a transaction would succeed in the block to come, else RevertedCallError."""
        call: TxParams = {
            "from": _address(sender),
            "to": _address(contract),
            "data": HexBytes(data),
            "gas": gas,
        }
        await self._call(call, "pending")

    async def nonce_after(self, account: bytes, block: int) -> int:
        """An account's next nonce after a block."""
        asked = self._web3.eth.get_transaction_count(_address(account), BlockNumber(block))
        return await self._ask(whole(asked))

    async def events(self, contract: bytes, topic: bytes, first: int, last: int) -> list[Entry]:
        """The events of a contract with that first topic in the blocks `first` to `last`, in their order."""
        found: list[Entry] = []
        for start in range(first, last + 1, LOG_BLOCKS):
            query: FilterParams = {
                "address": _address(contract),
                "topics": [HexStr("0x" + topic.hex())],
                "fromBlock": BlockNumber(start),
                "toBlock": BlockNumber(min(start + LOG_BLOCKS - 1, last)),
            }
            found += await self._ask(self._entries(query))
        return found

    async def named(self, places: Sequence[bytes], first: int, last: int) -> frozenset[bytes]:
        """What events of some contracts in the blocks `first` to `last` name first: their second topic."""
        found: set[bytes] = set()
        for start in range(first, last + 1, LOG_BLOCKS):
            query: FilterParams = {
                "address": [_address(contract) for contract in places],
                "fromBlock": BlockNumber(start),
                "toBlock": BlockNumber(min(start + LOG_BLOCKS - 1, last)),
            }
            entries = await self._ask(self._entries(query))
            found |= {entry.topics[1] for entry in entries if len(entry.topics) > 1}
        return frozenset(found)

    async def _entries(self, query: FilterParams) -> list[Entry]:
        return [
            Entry(tuple(map(bytes, entry["topics"])), bytes(entry["data"]), entry["blockNumber"])
            for entry in await self._web3.eth.get_logs(query)
        ]

    async def mined(self, raw: bytes) -> tuple[bool, int, bytes] | None:
        """Whether a signed transaction had its effect, and the block with its hash; None while the chain has
        none such.
        """
        return await self._ask(self._outcome(HexBytes(keccak256(raw))))

    async def _outcome(self, digest: HexBytes) -> tuple[bool, int, bytes] | None:
        try:
            receipt = await self._web3.eth.get_transaction_receipt(digest)
        except TransactionNotFound:
            return None
        return receipt["status"] == 1, receipt["blockNumber"], bytes(receipt["blockHash"])

    async def transact(self, key: ChainKey, contract: bytes, data: bytes) -> None:
        """Send a call and wait until it is mined, with effect. RevertedCallError with the contract's error if
        it would be refused; nothing is sent then.
        """
        call: TxParams = {
            "from": _address(key.address),
            "to": _address(contract),
            "data": HexBytes(data),
        }
        await self._mined(key, call)

    async def create(self, key: ChainKey, name: str, arguments: Sequence[Any]) -> bytes:
        """The address of a new contract from its artefact, once the chain holds it."""
        artefact = contracts.load(name)
        values = [_address(value) if isinstance(value, bytes) else value for value in arguments]
        made = self._web3.eth.contract(abi=artefact.abi, bytecode=HexBytes(artefact.bytecode))
        code = HexBytes(made.constructor(*values).data_in_transaction)
        receipt = await self._mined(key, {"from": _address(key.address), "data": code})
        if receipt["contractAddress"] is None:
            raise ChainError(f"the chain did not accept the contract {name}")
        return bytes.fromhex(receipt["contractAddress"][2:])

    async def _mined(self, key: ChainKey, call: TxParams) -> dict[str, Any]:
        """The receipt of a transaction that had its effect."""
        base_fee = (await self.newest()).base_fee
        tip = GWEI if base_fee else 0
        gas = await self._or_reverted(self._web3.eth.estimate_gas(call, "pending"))
        transaction = {
            **call,
            "type": 2,
            "value": 0,
            "chainId": await self.chain_id(),
            "nonce": await self._ask(self._web3.eth.get_transaction_count(_address(key.address))),
            "maxFeePerGas": 2 * base_fee + tip,
            "maxPriorityFeePerGas": tip,
            # A block later what is stored can be more, such as a lift in another second than its suspension.
            "gas": gas + gas // 2,
        }
        del transaction["from"]
        raw = key.sign(cast("TxParams", transaction))
        await self._ask(self._web3.eth.send_raw_transaction(HexBytes(raw)))
        waited = self._web3.eth.wait_for_transaction_receipt(
            HexBytes(keccak256(raw)), timeout=MINED_WITHIN_S, poll_latency=0.2
        )
        receipt = cast("dict[str, Any]", await self._ask(waited))
        if receipt["status"] != 1:
            raise ChainError("the transaction was mined and did not change the contract")
        return receipt

    async def _call(self, call: TxParams, at: BlockIdentifier) -> bytes:
        return await self._or_reverted(self._answer(call, at))

    async def _answer(self, call: TxParams, at: BlockIdentifier) -> bytes:
        return bytes(await self._web3.eth.call(call, at))

    async def _or_reverted(self, answer: Awaitable[Result]) -> Result:
        try:
            return await self._ask(answer)
        except NodeRefusedError as error:
            data = getattr(error.__cause__, "data", None)
            if isinstance(data, str) and _REVERTED.fullmatch(data):
                raise RevertedCallError(bytes.fromhex(data[2:])) from error
            raise


def _address(raw: bytes) -> Any:
    return to_checksum_address("0x" + raw.hex())
