"""The contracts of a programme, made once: registry, token and agreements, with the parties registered and
the agreements allowed to mint.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from ledger.binding import Binding, PrivateKey, Role, bind, check_binding, check_offered
from ledger.chain_key import ChainKey
from ledger.contract_node import ContractNode
from ledger.interface import interface

REGISTRY, TOKEN, AGREEMENT = "ParticipantRegistry", "EnergyToken", "DRAgreement"


@dataclass(frozen=True, slots=True)
class Party:
    """Who is registered: an account in its role, with the certificate whose key signs that it is his; that
    key, or the binding that it signed elsewhere.
    """

    account: bytes
    role: Role
    certificate: x509.Certificate
    key: PrivateKey | Binding


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
    """Register a party whose binding is of its certificate, or do nothing if it is registered in that role
    with that certificate; VerificationError names what is another's, and nothing is sent.
    """
    known = interface(REGISTRY)
    asked = known.encode("participantOf", party.account)
    ((role, _, certificate, key),) = known.decode("participantOf", await node.ask_contract(registry, asked))
    if role == party.role:
        check_binding(party.certificate, certificate, key)
        return
    bound = await offer(node, registry, party)
    values = (party.account, party.role, bound.certificate, bound.key, bound.signature)
    await node.transact(admin, registry, known.encode("register", *values))


async def offer(node: ContractNode, registry: bytes, party: Party) -> Binding:
    """The binding with which a party is registered, checked against its certificate."""
    where = {"registry": registry, "account": party.account}
    chain_id = await node.chain_id()
    bound = party.key
    if not isinstance(bound, Binding):
        bound = bind(party.certificate, bound, chain_id=chain_id, role=party.role, **where)
    check_offered(party.certificate, bound, chain_id=chain_id, role=party.role, **where)
    return bound
