"""What flexpact itself needs to know of a network: the aggregator's `[chain]` and the auditors' trust."""

from __future__ import annotations

from ledger.network.besu import toml
from ledger.network.plan import Network
from ledger.trust import ChainTrust


def aggregator(network: Network, key_file: str) -> str:
    """The `[chain]` section of an aggregator's settings, beside the first validator."""
    return toml(
        "# Goes into the aggregator's settings; key_file counts from their folder.\n[chain]",
        {
            "rpc_url": network.validators[0].site.rpc_url,
            "chain_id": network.rules.chain_id,
            "contract": f"0x{network.contract.hex()}",
            "key_file": key_file,
        },
    )


def trust(network: Network) -> str:
    """The `[chain]` section of `trust.toml`, in the one form that it is read in."""
    chain = ChainTrust(network.rules.chain_id, network.contract, validators=network.addresses)
    return "\n".join(chain.lines()) + "\n"
