"""How the nodes are started: one compose file for all of them, or one systemd unit for each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources

from ledger.network.besu import home, state
from ledger.network.plan import LOOPBACK, Network, Validator

UNIT = "besu@.service"
IMAGE = "hyperledger/besu"

_NOTE = """\
# The network is the host's, so that no port is published: a node listens for its peers and on loopback.
# The image sets JSON-RPC to all addresses, and that wins over config.toml; --rpc-http-host wins over both.
"""


def compose(network: Network, owner: tuple[int, int]) -> str:
    """compose.yaml for all nodes on one machine; `owner` are the user and group that they run as."""
    services = {
        validator.name: _service(validator, f"./{validator.name}", network.besu_version, owner)
        for validator in network.validators
    }
    return _compose("flexpact-chain", services)


def compose_one(validator: Validator, besu_version: str, owner: tuple[int, int]) -> str:
    """compose.yaml for one node, inside its folder."""
    service = _service(validator, ".", besu_version, owner)
    return _compose(f"flexpact-{validator.name}", {validator.name: service})


def unit() -> str:
    """besu@.service, a template for every node."""
    return resources.files(__package__).joinpath(UNIT).read_text(encoding="utf-8")


def _compose(name: str, services: Mapping[str, object]) -> str:
    return _NOTE + "\n".join(_yaml({"name": name, "services": services}, "")) + "\n"


def _service(
    validator: Validator, folder: str, besu_version: str, owner: tuple[int, int]
) -> dict[str, object]:
    return {
        "image": f"{IMAGE}:{besu_version}",
        "user": f"{owner[0]}:{owner[1]}",
        "network_mode": "host",
        "command": [f"--config-file={home(validator)}/config.toml", f"--rpc-http-host={LOOPBACK}"],
        "volumes": [f"{folder}:{home(validator)}:ro", f"{folder}/data:{state(validator)}"],
        "restart": "unless-stopped",
        "stop_grace_period": "1m",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}},
    }


def _yaml(table: Mapping[str, object], indent: str) -> list[str]:
    """As much of YAML as this needs: tables, lists of texts, and texts, written as JSON writes them."""
    lines = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}:", *_yaml(value, indent + "  ")]
        elif isinstance(value, list):
            lines += [f"{indent}{name}:", *(f"{indent}  - {json.dumps(item)}" for item in value)]
        else:
            lines.append(f"{indent}{name}: {json.dumps(value)}")
    return lines
