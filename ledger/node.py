"""A chain node, spoken to with web3: reading the contract's slot, sending, proving, deploying.

Every call has a short timeout and no retry of its own; whoever calls tries again at his next turn.
CCIP-Read is off and redirects are not followed, so a contract cannot make us fetch an address of its
choice.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast

import aiohttp
from eth_typing import BlockNumber, HexStr
from hexbytes import HexBytes
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import BlockNotFound, ContractLogicError, Web3Exception, Web3RPCError
from web3.types import BlockIdentifier, FilterParams, RPCEndpoint, TxParams, Wei

from ledger import contracts
from ledger.chain_key import ChainKey
from ledger.errors import ChainError, ChainUnavailableError, VerificationError
from ledger.receipt import AGGREGATOR, SLOT, VALIDATORS, Anchor
from ledger.seal import SealedHeader
from ledger.stack import restore_recursion_limit
from ledger.state import keccak256, prove_storage, rlp_decode, rlp_encode

restore_recursion_limit()

Result = TypeVar("Result")

GWEI = 10**9
PUBLISHED = keccak256(b"Published(uint64,bytes32)")
LOG_BLOCKS = 5000
"""Blocks that one question for events spans; nodes refuse more than they like, and few like less."""
_HEADER_BYTES = (
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
)
_HEADER_NUMBERS = ("difficulty", "number", "gasLimit", "gasUsed", "timestamp")


@dataclass(frozen=True, slots=True)
class Head:
    """What the contract holds in the newest block, with the proof of it."""

    number: int
    word: bytes
    anchor: Anchor
    base_fee: int

    @property
    def fees(self) -> dict[str, Wei]:
        """The fee fields of a transaction that the next blocks should take; all zero where gas is free."""
        return transaction_fees(self.base_fee)


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint that the contract made its newest, and the block."""

    size: int
    root: bytes
    block: int


class Node:
    """One JSON-RPC node."""

    def __init__(self, url: str, timeout_s: float) -> None:
        provider = AsyncHTTPProvider(
            url,
            request_kwargs={"timeout": aiohttp.ClientTimeout(total=timeout_s), "allow_redirects": False},
            exception_retry_configuration=None,
        )
        provider.global_ccip_read_enabled = False
        self._provider = provider
        # No middleware: nothing is looked up by name, no gas price guessed, no call added to ours.
        self._web3 = AsyncWeb3(provider, middleware=[])
        self._url = url

    @classmethod
    async def connect(cls, url: str, timeout_s: float) -> Self:
        """A node whose connections are kept; `close` it."""
        node = cls(url, timeout_s)
        async with contextlib.AsyncExitStack() as unless_kept:  # who connects may be cancelled meanwhile
            # web3's own session would open a connection for each call.
            session = await unless_kept.enter_async_context(aiohttp.ClientSession(raise_for_status=True))
            await node._provider.cache_async_session(session)
            unless_kept.pop_all()
        return node

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, timeout_s: float) -> AsyncIterator[Self]:
        """A node whose connections are closed at the end."""
        node = await cls.connect(url, timeout_s)
        try:
            yield node
        finally:
            await node.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._provider.disconnect()

    async def chain_id(self) -> int:
        """The id of the node's chain."""
        return await self._ask(whole(self._web3.eth.chain_id))

    async def head(self, chain_id: int, contract: bytes, number: int | None = None) -> Head:
        """What the contract holds in the newest block, or in that block. The word is what the node's proof
        shows, checked here against the block's own hash; VerificationError if the proof does not hold.
        """
        wanted: BlockIdentifier = "latest" if number is None else BlockNumber(number)
        return await self._ask(self._head(chain_id, contract, wanted))

    async def _head(self, chain_id: int, contract: bytes, wanted: BlockIdentifier) -> Head:
        block = cast("dict[str, Any]", await self._web3.eth.get_block(wanted))
        # web3's asynchronous interface has no method for this call. Not every node takes a shorter slot.
        proof: Any = await self._web3.manager.coro_request(
            RPCEndpoint("eth_getProof"), [_address(contract), [f"0x{SLOT:064x}"], hex(block["number"])]
        )
        anchor = Anchor(
            chain_id,
            contract,
            SLOT,
            tuple(_raw(node) for node in proof["accountProof"]),
            tuple(_raw(node) for node in proof["storageProof"][0]["proof"]),
            *encode_header(block),
        )
        return Head(block["number"], proven_word(anchor), anchor, block.get("baseFeePerGas") or 0)

    async def block_hash(self, number: int) -> bytes | None:
        """The hash of the chain's block of that number; None if there is none."""
        return await self._ask(self._hash_or_none(number))

    async def _hash_or_none(self, number: int) -> bytes | None:
        try:
            return bytes((await self._web3.eth.get_block(BlockNumber(number)))["hash"])
        except BlockNotFound:
            return None

    async def published(self, contract: bytes, first: int, last: int) -> list[Published]:
        """What the contract published in the blocks `first` to `last`, in its order."""
        found: list[Published] = []
        for start in range(first, last + 1, LOG_BLOCKS):
            query: FilterParams = {
                "address": _address(contract),
                "topics": [HexStr("0x" + PUBLISHED.hex())],
                "fromBlock": BlockNumber(start),
                "toBlock": BlockNumber(min(start + LOG_BLOCKS - 1, last)),
            }
            found += await self._ask(self._published(query))
        return found

    async def _published(self, query: FilterParams) -> list[Published]:
        return [
            Published(int.from_bytes(entry["topics"][1], "big"), bytes(entry["data"]), entry["blockNumber"])
            for entry in await self._web3.eth.get_logs(query)
        ]

    async def nonce(self, account: bytes, head: Head) -> int:
        """An account's next nonce after the block of `head`."""
        return await self._ask(whole(self._web3.eth.get_transaction_count(_address(account), head.number)))

    async def rehearse(self, contract: bytes, publisher: bytes, data: bytes, gas: int) -> None:
        """Nothing if a transaction with this call data and gas would succeed now, else ChainError."""
        call: TxParams = {
            "from": _address(publisher),
            "to": _address(contract),
            "data": HexBytes(data),
            "gas": gas,
        }
        try:
            await self._ask(self._web3.eth.call(call))
        except NodeRefusedError as error:
            raise ChainError(f"the checkpoint would not be taken: {error}") from error

    async def send(self, raw: bytes) -> None:
        """Hand a signed transaction to the node. What came of it is read from the chain's state, so that a
        node's refusal (in whatever words) is no error here; ChainUnavailableError if it did not answer.
        """
        with contextlib.suppress(NodeRefusedError):
            await self._ask(self._web3.eth.send_raw_transaction(HexBytes(raw)))

    async def deploy(self, key: ChainKey, publisher: bytes) -> bytes:
        """The address of a new CheckpointLog for that publisher, once the chain holds it."""
        artefact = contracts.load("CheckpointLog")
        constructor = self._web3.eth.contract(
            abi=artefact.abi, bytecode=HexBytes(artefact.bytecode)
        ).constructor(_address(publisher))
        maker = _address(key.address)
        block = await self._ask(self._web3.eth.get_block("latest"))
        transaction: TxParams = {
            "chainId": await self.chain_id(),
            "from": maker,
            "nonce": await self._ask(self._web3.eth.get_transaction_count(maker)),
            **transaction_fees(block.get("baseFeePerGas") or 0),  # type: ignore[typeddict-item] # a TypedDict of these two keys
        }
        transaction["gas"] = await self._ask(constructor.estimate_gas(transaction))
        raw = key.sign(await self._ask(constructor.build_transaction(transaction)))
        await self._ask(self._web3.eth.send_raw_transaction(HexBytes(raw)))
        receipt = await self._ask(
            self._web3.eth.wait_for_transaction_receipt(
                HexBytes(keccak256(raw)), timeout=60, poll_latency=0.2
            )
        )
        if receipt["status"] != 1 or receipt["contractAddress"] is None:
            raise ChainError("the chain did not accept the contract")
        return bytes.fromhex(receipt["contractAddress"][2:])

    async def _ask(self, answer: Awaitable[Result]) -> Result:
        """What a node answered, read: what cannot be read is no answer."""
        try:
            return await answer
        except (Web3RPCError, ContractLogicError) as error:
            raise NodeRefusedError(f"the node refuses: {error}") from error
        except (KeyError, IndexError, TypeError) as error:
            raise ChainUnavailableError(
                f"the chain at {self._url} gives an answer that cannot be read: {error!r}"
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, Web3Exception) as error:
            raise ChainUnavailableError(
                f"the chain at {self._url} does not answer: {error or type(error).__name__}"
            ) from error


class NodeRefusedError(ChainError):
    """The node answered with an error; its words decide nothing."""


def publish_call(expected_size: int, expected_root: bytes, size: int, root: bytes) -> bytes:
    """The call data of `publish(expectedSize, expectedRoot, size, root)`: a selector and four words."""
    words = (expected_size.to_bytes(32, "big"), expected_root, size.to_bytes(32, "big"), root)
    return keccak256(b"publish(uint64,bytes32,uint64,bytes32)")[:4] + b"".join(words)


def publish_transaction(
    chain_id: int, contract: bytes, *, nonce: int, gas: int, fees: dict[str, Wei], data: bytes
) -> TxParams:
    """An unsigned transaction to the contract."""
    return cast(
        "TxParams",
        {
            "type": 2,
            "chainId": chain_id,
            "to": _address(contract),
            "value": 0,
            "nonce": nonce,
            "gas": gas,
            "data": data,
            **fees,
        },
    )


def proven_word(anchor: Anchor) -> bytes:
    """The word that the contract holds by this proof; VerificationError if the proof does not hold."""
    state_root = anchor.block().state_root
    return prove_storage(state_root, anchor.contract, anchor.slot, anchor.account_proof, anchor.storage_proof)


def transaction_fees(base_fee: int) -> dict[str, Wei]:
    """The fee fields of a transaction after a block with that base fee, in wei."""
    tip = GWEI if base_fee else 0
    return {"maxFeePerGas": Wei(2 * base_fee + tip), "maxPriorityFeePerGas": Wei(tip)}


def raised_fees(raw: bytes, base_fee: int) -> dict[str, Wei] | None:
    """Fees for a transaction in place of this signed one, which pays too little for the next blocks; None if
    it pays enough.
    """
    fields = rlp_decode("transaction", raw[1:])
    tip, most = (int.from_bytes(cast("bytes", fields[place]), "big") for place in (2, 3))
    if most >= base_fee:
        return None
    # A node takes a transaction in place of another only if both fees are higher by an eighth or less.
    return {
        "maxFeePerGas": Wei(2 * base_fee + 2 * tip),
        "maxPriorityFeePerGas": Wei(tip + tip // 8 + 1),
    }


def encode_header(fields: Mapping[str, Any]) -> tuple[bytes, str]:
    """A block's header in RLP and who vouches for it: under QBFT the validators, whose seals are in it.
    ChainError if its hash is not the block's, as with a fork that adds unknown fields.
    """
    items = [_raw(fields[name]) for name in _HEADER_BYTES]
    items += [_number(fields[name]) for name in _HEADER_NUMBERS]
    items += [_raw(fields[name]) for name in ("extraData", "mixHash", "nonce")]
    for name, encode in (
        ("baseFeePerGas", _number),
        ("withdrawalsRoot", _raw),
        ("blobGasUsed", _number),
        ("excessBlobGas", _number),
        ("parentBeaconBlockRoot", _raw),
        ("requestsHash", _raw),
    ):
        if fields.get(name) is not None:
            items.append(encode(fields[name]))
    header, digest = rlp_encode(items), _raw(fields["hash"])
    if keccak256(header) == digest:
        return header, AGGREGATOR
    with contextlib.suppress(VerificationError):  # a header of another consensus
        if SealedHeader.decode(header).header.hash == digest:
            return header, VALIDATORS
    raise ChainError(f"the header of block {fields['number']} does not hash to the block's hash")


async def whole(answer: Awaitable[int]) -> int:
    """The number in an answer; TypeError if there is none."""
    return int(await answer)


def _raw(value: object) -> bytes:
    return bytes(HexBytes(cast("bytes | str", value)))


def _number(value: object) -> bytes:
    number = value if isinstance(value, int) else int(cast("str", value), 16)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _address(raw: bytes) -> Any:
    return AsyncWeb3.to_checksum_address("0x" + raw.hex())
