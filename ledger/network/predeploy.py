"""The contract that the chain begins with: what its constructor leaves, found by running it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from eth_account import Account

from ledger import contracts
from ledger.chain import CHAIN_ID, EmbeddedChain
from ledger.errors import ChainError
from ledger.network.key import Key
from ledger.receipt import SLOT
from ledger.state import contract_address

DEPLOY_GAS = 2_000_000


@dataclass(frozen=True, slots=True)
class Deployed:
    """A contract's code and the word in its one slot."""

    code: bytes
    word: bytes


def checkpoint_log(admin: Key, publisher: bytes, now: datetime) -> Deployed:
    """The CheckpointLog of that publisher, as the admin's first transaction makes it on an embedded chain."""
    raw = _creation(admin, publisher)
    with TemporaryDirectory(prefix="flexpact-") as folder:
        chain = EmbeddedChain(Path(folder), lambda: now)
        try:
            chain.send(raw)
            state = chain.state(chain.head())
            address = contract_address(admin.address, 0)
            made = Deployed(
                bytes(state.get_code(address)), state.get_storage(address, SLOT).to_bytes(32, "big")
            )
        finally:
            chain.close()
    if not made.code:
        raise ChainError("the constructor of CheckpointLog left no code")
    return made


def _creation(admin: Key, publisher: bytes) -> bytes:
    code = bytes.fromhex(contracts.load("CheckpointLog").bytecode.removeprefix("0x"))
    transaction = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": 0,
        "gas": DEPLOY_GAS,
        "maxFeePerGas": 0,
        "maxPriorityFeePerGas": 0,
        "value": 0,
        "data": code + publisher.rjust(32, b"\0"),
    }
    return bytes(Account.sign_transaction(transaction, admin.secret.secret).raw_transaction)
