"""The README of a network's folder."""

from __future__ import annotations

from importlib import resources
from string import Template

from ledger.network.plan import Network

TEMPLATE = "README.template.md"


def guide(network: Network, owner: tuple[int, int]) -> str:
    """How this network is started, checked, changed, saved and brought back; containers run as `owner`."""
    text = resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    rules, first = network.rules, network.validators[0]
    return Template(text).substitute(
        chain_id=rules.chain_id,
        besu=network.besu_version,
        count=len(network.validators),
        quorum=network.quorum,
        may_lie=network.may_lie,
        may_rest=network.may_rest,
        stop=network.may_rest + 1,
        votes=len(network.validators) // 2 + 1,
        period=rules.block_period_s,
        timeout=rules.request_timeout_s,
        epoch=rules.epoch,
        rpc=first.site.rpc_url,
        owner=f"{owner[0]}:{owner[1]}",
        peers_hex=f"{len(network.validators) - 1:x}",
        alarm=10 * rules.block_period_s,
        next=len(network.validators) + 1,
        contract=f"0x{network.contract.hex()}",
        admin=network.admin.text,
        publisher=network.publisher.text,
        settler=network.settler.text,
        validators="\n".join(
            f"| {validator.name} | `{validator.key.text}` | {validator.site.host}:{validator.site.p2p_port} |"
            f" {validator.site.rpc_port} |"
            for validator in network.validators
        ),
        warnings="".join(f"\n> **Warning.** {warning}.\n" for warning in network.warnings()),
    )
