"""The demo's agreements on the chain: contracts, registered parties, accepted offers, and what was paid."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flexpact.clock import Clock
from flexpact.demo.control import Control
from flexpact.demo.errors import DemoError
from flexpact.demo.layout import Layout, every_node
from flexpact.demo.plan import Plan
from flexpact.pki import PkiError, issue
from ledger.errors import LedgerError
from openadr.certificate import KeyKind

if TYPE_CHECKING:
    from ledger.chain_key import ChainKey

AGGREGATOR, ARBITER, ADMIN = "aggregator", "arbiter", "admin"
WINDOW, TERM = timedelta(minutes=20), timedelta(hours=2)
EXPIRES_AFTER = timedelta(days=30)
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Money:
    """What the contracts hold at the end: events booked and paid, what was paid, what the nodes' accounts
    have, and the first thing that does not fit the statements.
    """

    booked: int
    paid: int
    paid_minor: int
    balance_minor: int
    trouble: str = ""


@dataclass(slots=True)
class Agreements:
    """The nodes' agreements: set up before the aggregator starts, accepted when it runs."""

    layout: Layout
    plan: Plan
    chain_url: str
    contract: bytes = b""

    async def set_up(self) -> str:
        """Deploy the contracts and register aggregator, arbiter and nodes; the address of the agreements."""
        from flexpact.parties import party  # noqa: PLC0415 - the chain's libraries are loaded only here
        from ledger.chain_key import ChainKey  # noqa: PLC0415
        from ledger.contract_node import ContractNode  # noqa: PLC0415
        from ledger.setup import deploy_agreements, register  # noqa: PLC0415

        pki = self.layout.pki
        try:
            issue(pki, ARBITER, Clock.real()(), server=False, kind=KeyKind.RSA)
            self.layout.keys.mkdir()
            names = [AGGREGATOR, ARBITER, *every_node(self.plan)]
            admin = ChainKey.create(self.layout.keys / f"{ADMIN}.key")
            accounts = {name: ChainKey.create(self.layout.keys / f"{name}.key").address for name in names}
            async with ContractNode.open(self.chain_url, _TIMEOUT_S) as node:
                made = await deploy_agreements(node, admin, "EUR", 2)
                for name, account in accounts.items():
                    role = {AGGREGATOR: "aggregator", ARBITER: "dso"}.get(name, "node")
                    files = {AGGREGATOR: "vtn-rsa", ARBITER: f"{ARBITER}-rsa"}.get(name, name)
                    who = party(account, role, pki / f"{files}.pem", pki / f"{files}.key")
                    await register(node, admin, made.registry, who)
        except (PkiError, LedgerError) as error:
            raise DemoError(str(error)) from None
        self.contract = made.agreement
        return f"0x{made.agreement.hex()}"

    async def agree(self, control: Control) -> None:
        """Have the aggregator offer each node its agreement, and each node accept it with its own key."""
        from ledger.agreement_contract import AgreementContract, call  # noqa: PLC0415
        from ledger.contract_node import ContractNode  # noqa: PLC0415

        offers = {
            name: await control.post("/agreements", self._offer(name)) for name in every_node(self.plan)
        }
        async with ContractNode.open(self.chain_url, _TIMEOUT_S) as node:
            contract = AgreementContract(node, self.contract)
            for name, offer in offers.items():
                if offer["state"] != "proposed":
                    raise DemoError(f"the agreement with {name} is {offer['state']}: {offer['why']}")
                agreement_id = bytes.fromhex(offer["id"])
                data = call("accept", agreement_id, await contract.terms_hash(agreement_id))
                await node.transact(self._key(name), self.contract, data)
        seen = (await control.post("/agreements/look", {}))["agreements"]
        for agreement in seen:
            if agreement["state"] != "active":
                raise DemoError(f"the agreement with {agreement['ven_name']} is {agreement['state']}")

    async def money(self, control: Control) -> Money:
        """Have each node withdraw what it earned, and compare the contract with the statements."""
        from ledger.agreement_contract import AgreementContract, call  # noqa: PLC0415
        from ledger.agreement_view import view  # noqa: PLC0415
        from ledger.contract_node import ContractNode  # noqa: PLC0415

        statements = (await control.get("/statements"))["statements"]
        kept = (await control.post("/agreements/look", {}))["agreements"]
        views, names = [], {}
        async with ContractNode.open(self.chain_url, _TIMEOUT_S) as node:
            contract, now = AgreementContract(node, self.contract), self.plan.end
            for agreement in kept:
                agreement_id = bytes.fromhex(agreement["id"])
                told = await control.get(f"/agreements/{agreement['id']}")
                names.update({e["event_key"]: (told["ven_id"], e["event_id"]) for e in told["events"]})
                if (await view(contract, agreement_id, now))["withdrawable_minor"]:
                    key = self._key(agreement["ven_name"])
                    await node.transact(key, self.contract, call("withdraw", agreement_id))
                views.append(await view(contract, agreement_id, now))
        return await asyncio.to_thread(_compared, statements, views, names)

    def _offer(self, name: str) -> dict[str, Any]:
        peer = self.plan.options.peer
        return {
            "ven_name": name,
            "account": self._account(name),
            "arbiter": self._account(ARBITER),
            "starts_at": self.plan.start.isoformat(),
            "expires_at": (self.plan.end + EXPIRES_AFTER).isoformat(),
            "payment_term_s": int(TERM.total_seconds()),
            "dispute_window_s": 0 if peer else int(WINDOW.total_seconds()),
        }

    def _account(self, name: str) -> str:
        return f"0x{self._key(name).address.hex()}"

    def _key(self, name: str) -> ChainKey:
        from ledger.chain_key import ChainKey  # noqa: PLC0415

        return ChainKey.load(self.layout.keys / f"{name}.key")


def _compared(
    statements: Sequence[Mapping[str, Any]],
    views: Sequence[Mapping[str, Any]],
    names: Mapping[str, tuple[str, str]],
) -> Money:
    """The contract's events beside the newest revision of each statement, to the minor unit."""
    wanted = {(s["ven_id"], s["event_id"]): (s["incentive_minor"], s["penalty_minor"]) for s in statements}
    events = {names[event["event_key"]]: event for shown in views for event in shown["events"]}
    troubles = [f"{event_id} of {ven_id} is not booked" for ven_id, event_id in wanted.keys() - events.keys()]
    for name, event in events.items():
        held = (event["incentive_minor"], event["penalty_minor"])
        if held != wanted[name]:
            troubles.append(f"{name[1]} of {name[0]}: the statement says {wanted[name]}, the contract {held}")
    paid = [event for event in events.values() if event["status"] == "paid"]
    return Money(
        booked=len(events),
        paid=len(paid),
        paid_minor=sum(max(0, shown["paid_minor"]) for shown in views),
        balance_minor=sum(shown["node_token_balance_minor"] for shown in views),
        trouble=troubles[0] if troubles else "",
    )
