"""The files that one Besu node reads: its configuration, its peers, and who is permitted.

Every node permits the same peers and senders. The configuration names absolute paths, the same in a
container and under systemd.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ledger.network.plan import LOOPBACK, Validator

HOME = "/etc/besu"
STATE = "/var/lib/besu"
APIS = ("ETH", "NET", "WEB3", "QBFT")
"""What JSON-RPC offers. QBFT lets who reaches it vote on validators; ADMIN, DEBUG and PERM are left out."""


def home(validator: Validator) -> str:
    """Where a node finds its files."""
    return f"{HOME}/{validator.name}"


def state(validator: Validator) -> str:
    """Where a node keeps its chain."""
    return f"{STATE}/{validator.name}"


def configuration(validator: Validator, chain_id: int) -> str:
    """The node's config.toml."""
    folder, site = home(validator), validator.site
    values: dict[str, object] = {
        "data-path": state(validator),
        "genesis-file": f"{folder}/genesis.json",
        "node-private-key-file": f"{folder}/key",
        "p2p-host": site.host,
        "p2p-interface": site.interface,
        "p2p-port": site.p2p_port,
        "discovery-enabled": False,
        "static-nodes-file": f"{folder}/static-nodes.json",
        "permissions-nodes-config-file-enabled": True,
        "permissions-nodes-config-file": f"{folder}/permissions_config.toml",
        "permissions-accounts-config-file-enabled": True,
        "permissions-accounts-config-file": f"{folder}/permissions_config.toml",
        "rpc-http-enabled": True,
        "rpc-http-host": LOOPBACK,
        "rpc-http-port": site.rpc_port,
        "rpc-http-api": list(APIS),
        "host-allowlist": ["localhost", LOOPBACK],
        "sync-mode": "FULL",
        "sync-min-peers": 1,
        "data-storage-format": "BONSAI",
        "min-gas-price": 0,
        "logging": "INFO",
    }
    return toml(f"# {validator.name} of chain {chain_id}, {validator.key.text}", values)


def permissions(enodes: Sequence[str], accounts: Sequence[str]) -> str:
    """permissions_config.toml: the peers that may connect, and the accounts that may send transactions."""
    return toml(
        "# Alike on all nodes; a node reads it when it starts.",
        {"nodes-allowlist": list(enodes), "accounts-allowlist": list(accounts)},
    )


def static_nodes(enodes: Sequence[str]) -> str:
    """static-nodes.json: the peers that a node calls, all but itself."""
    return json.dumps(list(enodes), indent=2) + "\n"


def toml(title: str, values: dict[str, object]) -> str:
    """Plain values as TOML; JSON writes texts, numbers and booleans in the same way."""
    return "\n".join([title, *(f"{name} = {_value(value)}" for name, value in values.items())]) + "\n"


def _value(value: object) -> str:
    if isinstance(value, list):
        return "[\n" + "".join(f"  {json.dumps(item)},\n" for item in value) + "]"
    return json.dumps(value)
