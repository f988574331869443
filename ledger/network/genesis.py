"""The genesis block of a network, as Besu reads it."""

from __future__ import annotations

from typing import Any

from ledger.network.plan import Network
from ledger.network.predeploy import Deployed
from ledger.qbft import ExtraData
from ledger.receipt import SLOT

GAS_LIMIT = 30_000_000
MIX_HASH = "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"
"""By which Besu knows blocks of this family of consensus."""
FORKS_BY_BLOCK = (
    "homesteadBlock",
    "eip150Block",
    "eip155Block",
    "eip158Block",
    "byzantiumBlock",
    "constantinopleBlock",
    "petersburgBlock",
    "istanbulBlock",
    "berlinBlock",
    "londonBlock",
)
FORKS_BY_TIME = ("shanghaiTime", "cancunTime")
"""Up to the rules that the contracts are compiled for."""


def genesis(network: Network, log: Deployed) -> dict[str, Any]:
    """The genesis file's content. Gas is free for ever: the base fee is zero by the chain's own rules."""
    rules = network.rules
    return {
        "config": {
            "chainId": rules.chain_id,
            **dict.fromkeys(FORKS_BY_BLOCK, 0),
            **dict.fromkeys(FORKS_BY_TIME, 0),
            "zeroBaseFee": True,
            "qbft": {
                "blockperiodseconds": rules.block_period_s,
                "epochlength": rules.epoch,
                "requesttimeoutseconds": rules.request_timeout_s,
            },
        },
        "nonce": "0x0",
        "timestamp": hex(int(rules.begins_at.timestamp())),
        "extraData": f"0x{ExtraData(network.addresses).encode().hex()}",
        "gasLimit": hex(GAS_LIMIT),
        "difficulty": "0x1",
        "mixHash": MIX_HASH,
        "coinbase": _address(bytes(20)),
        "baseFeePerGas": "0x0",
        "alloc": _accounts(network, log),
        "number": "0x0",
        "gasUsed": "0x0",
        "parentHash": f"0x{bytes(32).hex()}",
    }


def _accounts(network: Network, log: Deployed) -> dict[str, dict[str, Any]]:
    """The admin with one transaction behind him, which made the CheckpointLog. Nobody owns any coin."""
    return {
        _address(network.admin.address): {"balance": "0x0", "nonce": "0x1"},
        _address(network.contract): {
            "balance": "0x0",
            "nonce": "0x1",  # as every contract begins since EIP-161
            "code": f"0x{log.code.hex()}",
            "storage": {f"0x{SLOT.to_bytes(32, 'big').hex()}": f"0x{log.word.hex()}"},
        },
    }


def _address(raw: bytes) -> str:
    return f"0x{raw.hex()}"
