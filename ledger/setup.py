"""The contracts of a programme, made once: registry, token and agreements, with the parties registered and
the agreements allowed to mint.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from ledger.binding import PrivateKey, Role, bind
from ledger.contract_node import ContractNode
from ledger.interface import interface
from ledger.node import ChainKey

REGISTRY, TOKEN, AGREEMENT = "ParticipantRegistry", "EnergyToken", "DRAgreement"


@dataclass(frozen=True, slots=True)
class Party:
    """Who is registered: an account in its role, with the certificate whose key signs that it is his."""

    account: bytes
    role: Role
    certificate: x509.Certificate
    key: PrivateKey


@dataclass(frozen=True, slots=True)
class Deployed:
    """Where the contracts are."""

    registry: bytes
    token: bytes
    agreement: bytes


async def deploy_agreements(node: ContractNode, admin: ChainKey, currency: str, decimals: int) -> Deployed:
    """New contracts whose admin is the key's account; the token counts minor units of a currency."""
    registry = await node.create(admin, REGISTRY, [admin.address])
    token = await node.create(admin, TOKEN, [f"{currency} incentives", currency, decimals, admin.address])
    agreement = await node.create(admin, AGREEMENT, [registry, token])
    await node.transact(admin, token, interface(TOKEN).encode("setMinter", agreement, True))
    return Deployed(registry, token, agreement)


async def register(node: ContractNode, admin: ChainKey, registry: bytes, party: Party) -> None:
    """Register a party, or do nothing if its account is registered already in that role."""
    known = interface(REGISTRY)
    asked = known.encode("participantOf", party.account)
    ((role, *_),) = known.decode("participantOf", await node.ask_contract(registry, asked))
    if role == party.role:
        return
    bound = bind(
        party.certificate,
        party.key,
        chain_id=await node.chain_id(),
        registry=registry,
        account=party.account,
        role=party.role,
    )
    values = (party.account, party.role, bound.certificate, bound.key, bound.signature)
    await node.transact(admin, registry, known.encode("register", *values))
