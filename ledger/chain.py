"""The embedded chain: an Ethereum chain (Cancun rules) of one node, for sites without a network of
validators.

One transaction is one block, mined when it arrives, at the time of the given clock. Gas costs nothing: the
base fee starts at zero and stays there, because no block may fill more than half of its gas. Whoever runs
this chain vouches for its headers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from eth.abc import BlockAPI, BlockHeaderAPI, ReceiptAPI, SignedTransactionAPI
from eth.chains.base import MiningChain
from eth.consensus.applier import ConsensusApplier
from eth.consensus.noproof import NoProofConsensus
from eth.exceptions import CanonicalHeadNotFound, HeaderNotFound, PyEVMError, TransactionNotFound
from eth.vm.forks.cancun import CancunVM
from eth.vm.spoof import SpoofTransaction
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException
from trie.hexary import HexaryTrie

from ledger.errors import ChainError
from ledger.keyvalue import SqliteStore
from ledger.stack import restore_recursion_limit
from ledger.state import keccak256, rlp_encode

restore_recursion_limit()

CHAIN_ID = 20_260_002
GAS_LIMIT = 30_000_000
MAX_TRANSACTION_GAS = GAS_LIMIT // 2
"""Above half a block the base fee would begin to rise, and accounts hold no money to pay it."""
ZERO_ADDRESS = bytes(20)

Clock = Callable[[], datetime]


class RefusedError(ChainError):
    """The chain does not take this transaction or query."""


class RevertedError(RefusedError):
    """A call was reverted by the contract; `data` is what it returned."""

    def __init__(self, text: str, data: bytes) -> None:
        super().__init__(text)
        self.data = data


class _Rules(MiningChain):
    chain_id = CHAIN_ID
    vm_configuration = ConsensusApplier(NoProofConsensus).amend_vm_configuration(((0, CancunVM),))


class EmbeddedChain:
    """The chain in a directory; it is made there if there is none."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._clock = clock
        self._store = SqliteStore(directory / "chain.db")
        # py-evm's signatures want its own NewTypes of bytes and int everywhere; here they are plain bytes
        # and int.
        self._chain: Any
        try:
            self._chain = _Rules(self._store)
        except CanonicalHeadNotFound:
            self._chain = self._genesis()

    def close(self) -> None:
        """Close its file."""
        self._store.close()

    def head(self) -> BlockHeaderAPI:
        """The newest block's header."""
        return cast("BlockHeaderAPI", self._chain.get_canonical_head())

    def header(self, number: int) -> BlockHeaderAPI:
        """A block's header; RefusedError if there is no such block."""
        try:
            return cast("BlockHeaderAPI", self._chain.get_canonical_block_header_by_number(number))
        except HeaderNotFound as error:
            raise RefusedError(f"there is no block {number}") from error

    def block(self, header: BlockHeaderAPI) -> BlockAPI:
        """A block with its transactions."""
        return cast("BlockAPI", self._chain.get_block_by_header(header))

    def block_by_hash(self, digest: bytes) -> BlockAPI:
        """The block of that hash; RefusedError if there is none."""
        try:
            return cast("BlockAPI", self._chain.get_block_by_hash(digest))
        except HeaderNotFound as error:
            raise RefusedError(f"there is no block 0x{digest.hex()}") from error

    def transaction(self, digest: bytes) -> tuple[SignedTransactionAPI, BlockAPI, ReceiptAPI] | None:
        """A mined transaction, its block and its receipt; None if the chain has none of that hash."""
        try:
            transaction = self._chain.get_canonical_transaction(digest)
            number, _ = self._chain.get_canonical_transaction_index(digest)
        except TransactionNotFound:
            return None
        block = self._chain.get_canonical_block_by_number(number)
        return transaction, block, self.receipt(block)

    def receipt(self, block: BlockAPI) -> ReceiptAPI:
        """The receipt of a block's one transaction."""
        return block.get_receipts(self._chain.chaindb)[0]

    def send(self, raw: bytes) -> bytes:
        """Mine a signed transaction; its hash once the block is durable. RefusedError if it cannot be
        mined.
        """
        transaction = self._decode(raw)
        if self.transaction(transaction.hash) is not None:
            raise RefusedError("already known")
        if transaction.gas > MAX_TRANSACTION_GAS:
            raise RefusedError(f"exceeds block gas limit: at most {MAX_TRANSACTION_GAS} gas in a transaction")
        nonce = self.state(self.head()).get_nonce(transaction.sender)
        if transaction.nonce != nonce:
            fault = "low" if transaction.nonce < nonce else "high"
            raise RefusedError(f"nonce too {fault}: expected {nonce}, got {transaction.nonce}")
        self._mine(transaction)
        return bytes(transaction.hash)

    def call(self, transaction: SpoofTransaction, header: BlockHeaderAPI) -> bytes:
        """What a call returns at a block, without a trace left; RevertedError if the contract reverts."""
        return bytes(self._executed(transaction, header).output)

    def estimate(self, transaction: SpoofTransaction, header: BlockHeaderAPI) -> int:
        """Enough gas for a transaction; RevertedError if it would be reverted."""
        left = self._executed(transaction, header).get_gas_remaining()
        used = int(transaction.gas - left)
        # A caller keeps a 64th of the gas from what it calls, so that somewhat more is needed than is used.
        return min(used + used // 4, MAX_TRANSACTION_GAS)

    def _executed(self, transaction: SpoofTransaction, header: BlockHeaderAPI) -> Any:
        try:
            with self._chain.get_vm(header).in_costless_state() as state:
                if header.hash == self.head().hash:
                    # A call at the head is one in the block to come: here blocks come on demand only.
                    state.execution_context._timestamp = self._next_time(header)
                computation = state.costless_execute_transaction(transaction)
        except (ValidationError, PyEVMError) as error:
            raise RefusedError(f"cannot be executed: {error}") from error
        if computation.is_error:
            raise RevertedError(
                f"execution reverted: {_reason(computation.output)}", bytes(computation.output)
            )
        return computation

    def unsigned(
        self, sender: bytes, to: bytes, value: int, *, data: bytes, gas: int, header: BlockHeaderAPI
    ) -> SpoofTransaction:
        """A transaction that nobody signed, for `call` and `estimate` at a block."""
        nonce = self.state(header).get_nonce(sender)
        plain = self._chain.create_unsigned_transaction(
            nonce=nonce, gas_price=0, gas=gas, to=to, value=value, data=data
        )
        return SpoofTransaction(plain, from_=sender)

    def state(self, header: BlockHeaderAPI) -> Any:
        """Accounts as they were after a block: py-evm's state, for reading."""
        return self._chain.get_vm(header).state

    def account_proof(self, header: BlockHeaderAPI, address: bytes) -> list[bytes]:
        """The trie nodes that prove an account (or its absence) under the block's state root."""
        return self._proof(header.state_root, address)

    def storage_proof(self, storage_root: bytes, slot: int) -> list[bytes]:
        """The trie nodes that prove one storage slot of the account with that storage root."""
        return self._proof(storage_root, slot.to_bytes(32, "big"))

    def storage_root(self, header: BlockHeaderAPI, address: bytes) -> bytes:
        """The root of an account's storage trie."""
        return bytes(self.state(header)._account_db._get_storage_root(address))

    def _proof(self, root: bytes, key: bytes) -> list[bytes]:
        trie: Any = HexaryTrie(self._store, root)
        return [rlp_encode(node) for node in trie.get_proof(keccak256(key))]

    def _decode(self, raw: bytes) -> SignedTransactionAPI:
        try:
            transaction = CancunVM.get_transaction_builder().decode(raw)
            transaction.validate()
        except (RLPException, ValidationError, PyEVMError, ValueError) as error:
            raise RefusedError(f"not a signed transaction: {error}") from error
        if transaction.chain_id != CHAIN_ID:
            raise RefusedError(f"signed for chain {transaction.chain_id}, this is {CHAIN_ID}")
        return transaction

    def _mine(self, transaction: SignedTransactionAPI) -> None:
        parent = self.head()
        timestamp = self._next_time(parent)
        header = self._chain.create_header_from_parent(parent, timestamp=timestamp, gas_limit=GAS_LIMIT)
        self._chain.header = header
        try:
            with self._store.transaction():
                self._chain.mine_all([transaction])
        except (ValidationError, PyEVMError) as error:
            raise RefusedError(f"cannot be executed: {error}") from error

    def _next_time(self, parent: BlockHeaderAPI) -> int:
        return max(int(self._clock().timestamp()), parent.timestamp + 1)

    def _genesis(self) -> Any:
        parameters: Any = {
            "difficulty": 0,
            "gas_limit": GAS_LIMIT,
            "timestamp": int(self._clock().timestamp()),
            "extra_data": b"flexpact",
            "nonce": bytes(8),
            "mix_hash": bytes(32),
            "coinbase": ZERO_ADDRESS,
            "base_fee_per_gas": 0,
        }
        with self._store.transaction():
            return _Rules.from_genesis(self._store, parameters, {})


def _reason(output: bytes) -> str:
    """The text of `require(..., text)`, which Solidity encodes as Error(string)."""
    if output[:4] != b"\x08\xc3y\xa0" or len(output) < 68:
        return "0x" + output.hex()
    length = int.from_bytes(output[36:68], "big")
    return output[68 : 68 + length].decode("utf-8", "replace")
