"""A chain with registry, token and agreements on it, and parties that act there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from flexpact.pki import issue, make_authority
from ledger import agreement_store as store
from ledger import call_store
from ledger.agreement import Booking, Outcome, Revision, Settled, Terms
from ledger.agreement_contract import AgreementContract, call
from ledger.binding import Role
from ledger.chain import CHAIN_ID, EmbeddedChain
from ledger.chain_key import ChainKey
from ledger.contract_node import ContractNode
from ledger.rpc import RpcServer
from ledger.settings import SettlerSettings
from ledger.settler import Settler, SettlerState
from ledger.setup import Deployed, Party, deploy_agreements, register
from openadr.certificate import KeyKind
from tests.ledger.conftest import START, SteppedClock
from vtn.store import Database

ROLES = {"aggregator": Role.AGGREGATOR, "node": Role.VIRTUAL_NODE, "arbiter": Role.DSO}
WINDOW_S, TERM_S, HOUR_S, DAY_S = 3600, 7200, 3600, 86_400
NODE = "ven-1"


async def make_programme(folder: Path) -> Deployed:
    """Deploy the contracts and register the three parties, each with a key file of its name."""
    chain = EmbeddedChain(folder, lambda: START)
    server = RpcServer(chain)
    await server.start()
    make_keys(folder)
    made = await deploy_programme(folder, server.url, KeyKind.EC)
    await server.stop()
    chain.close()
    return made


def make_keys(folder: Path) -> list[bytes]:
    """A key file for each account; the accounts."""
    return [ChainKey.create(folder / f"{name}.key").address for name in ("admin", *ROLES)]


async def deploy_programme(folder: Path, url: str, node_key: KeyKind) -> Deployed:
    """The contracts on a chain with the parties registered, by the keys in the folder."""
    now = datetime.now(UTC)
    make_authority(folder / "pki", now, [KeyKind.EC, KeyKind.RSA])
    admin = ChainKey.load(folder / "admin.key")
    async with ContractNode.open(url, 30) as node:
        made = await deploy_agreements(node, admin, "EUR", 2)
        for name, role in ROLES.items():
            account = ChainKey.load(folder / f"{name}.key").address
            kind = node_key if name == "node" else KeyKind.RSA  # the chain checks RSA faster
            found = issue(folder / "pki", name, now, server=False, kind=kind)
            certificate = x509.load_pem_x509_certificates(found.cert.read_bytes())[0]
            key = load_pem_private_key(found.key.read_bytes(), None)
            party = Party(account, role, certificate, key)  # type: ignore[arg-type] # as issued
            await register(node, admin, made.registry, party)
    return made


@dataclass
class AnyProgramme:
    """An aggregator's database, a chain somewhere, and its parties."""

    folder: Path
    database: Database
    clock: SteppedClock
    deployed: Deployed
    settlers: list[Settler] = field(default_factory=list, kw_only=True)
    agreement_id: bytes = field(default=b"", kw_only=True)

    @property
    def url(self) -> str:
        """Where the chain is."""
        raise NotImplementedError

    @property
    def chain_id(self) -> int:
        """Which it is."""
        return CHAIN_ID

    def key(self, name: str) -> ChainKey:
        return ChainKey.load(self.folder / f"{name}.key")

    def settler(self, **changes: object) -> Settler:
        """A fresh settler, as after a restart."""
        values: dict[str, object] = {
            "rpc_url": self.url,
            "chain_id": self.chain_id,
            "contract": f"0x{self.deployed.agreement.hex()}",
            "key_file": self.folder / "aggregator.key",
        }
        made = Settler(SettlerSettings.model_validate({**values, **changes}))
        self.settlers.append(made)
        return made

    async def step(self, settler: Settler | None = None) -> SettlerState:
        return await (settler or self.settler()).step(self.database, self.clock())

    def terms(self, **changes: int) -> Terms:
        at = int(self.clock().timestamp())
        accounts = [self.key(name).address for name in ("aggregator", "node", "arbiter")]
        values = {
            "starts_at": at,
            "expires_at": at + 30 * 86_400,
            "capacity_w": 60_000,
            "notice_s": HOUR_S,
            "threshold_ppm": 800_000,
            "payment_term_s": TERM_S,
            "dispute_window_s": WINDOW_S,
            "utc_offset_s": 0,
            "price_micro": 30_000_000,
            "penalty_micro": 20_000_000,
            "max_calls_per_day": 2,
            **changes,
        }
        return Terms(**values, **dict(zip(("aggregator", "node", "arbiter"), accounts, strict=True)))  # type: ignore[arg-type] # by name

    async def propose(self, **changes: int) -> bytes:
        async with self.database.write() as conn:
            return await store.add_agreement(conn, NODE, self.terms(**changes), self.clock())

    async def act(self, who: str, function: str, *arguments: object) -> None:
        """A party's own transaction."""
        async with ContractNode.open(self.url, 30) as node:
            await node.transact(self.key(who), self.deployed.agreement, call(function, *arguments))

    async def accept(self, agreement_id: bytes) -> None:
        async with ContractNode.open(self.url, 30) as node:
            terms_hash = await AgreementContract(node, self.deployed.agreement).terms_hash(agreement_id)
        await self.act("node", "accept", agreement_id, terms_hash)

    async def agree(self, **changes: int) -> bytes:
        """An agreement that is active on the chain and in the mirror."""
        agreement_id = await self.propose(**changes)
        await self.step()
        await self.accept(agreement_id)
        await self.step()
        return agreement_id

    def booking(self, **changes: int) -> Booking:
        """An event of two hours that is just over."""
        over = int(self.clock().timestamp())
        values = {
            "notified_at": over - 5 * HOUR_S,
            "starts_at": over - 2 * HOUR_S,
            "duration_s": 2 * HOUR_S,
            "requested_wh": 80_000,
            "delivered_wh": 70_001,
            "outcome": Outcome.MEASURED,
            **changes,
        }
        return Booking(b"\1" * 32, b"\2" * 32, b"\3" * 32, **values)  # type: ignore[arg-type] # by name

    async def statement(self, agreement_id: bytes, event_id: str = "event-1", **changes: int) -> bool:
        async with self.database.write() as conn:
            booking = self.booking(**changes)
            return await store.add_account(conn, (NODE, event_id), agreement_id, booking, self.clock())

    async def revision(self, number: int, delivered_wh: int, event_id: str = "event-1") -> bool:
        said = Revision(number, Outcome.MEASURED, delivered_wh, bytes([number]) * 32)
        async with self.database.write() as conn:
            return await store.add_revision(conn, NODE, event_id, said, self.clock())

    async def account(self, event_id: str = "event-1") -> store.Account:
        async with self.database.read() as conn:
            found = await store.account(conn, NODE, event_id)
        assert found is not None
        return found

    async def settled(self, event_id: str = "event-1") -> Settled | None:
        """What the contract itself holds."""
        kept = await self.account(event_id)
        async with ContractNode.open(self.url, 30) as node:
            contract = AgreementContract(node, self.deployed.agreement)
            return await contract.settled(kept.agreement_id, kept.event_key)

    async def balance(self, name: str) -> int:
        async with ContractNode.open(self.url, 30) as node:
            contract = AgreementContract(node, self.deployed.agreement)
            return await contract.token_balance(self.key(name).address)

    async def calls(self) -> dict[str, int]:
        async with self.database.read() as conn:
            return await call_store.count_calls(conn)


@dataclass
class Programme(AnyProgramme):
    """The same with the embedded chain, in one process."""

    chain: EmbeddedChain
    server: RpcServer

    @property
    def url(self) -> str:
        return self.server.url

    def blocks(self) -> int:
        return self.chain.head().block_number

    async def go_back_to(self, copy: Path) -> None:
        """The chain as it was when its files were copied."""
        await self.server.stop()
        self.chain.close()
        for file in self.folder.glob("chain.db*"):
            file.unlink()
        copy_chain(copy, self.folder)
        await self.open_chain()

    async def keep_chain(self, folder: Path) -> None:
        """Copy the chain's files aside."""
        await self.server.stop()
        self.chain.close()
        copy_chain(self.folder, folder)
        await self.open_chain()

    async def open_chain(self) -> None:
        port = int(self.server.url.rpartition(":")[2])
        self.chain = EmbeddedChain(self.folder, self.clock)
        self.server = RpcServer(self.chain, port)
        await self.server.start()


def copy_chain(source: Path, target: Path, more: Sequence[str] = ()) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for pattern in ("chain.db*", *more):
        for file in source.glob(pattern):
            shutil.copy(file, target / file.name)


@dataclass(frozen=True)
class Template:
    """Contracts, registered parties and one active agreement, made once: it all takes seconds."""

    folder: Path
    deployed: Deployed
    agreement_id: bytes

    @contextlib.asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[Programme]:
        clock = SteppedClock()
        clock.advance(DAY_S)
        copy_chain(self.folder, folder, ["*.key", "flexpact.db"])
        chain = EmbeddedChain(folder, clock)
        server = RpcServer(chain)
        await server.start()
        database = await Database.open(folder / "flexpact.db")
        made = Programme(folder, database, clock, self.deployed, chain, server)
        yield made
        for settler in made.settlers:
            await settler.close()
        await database.close()
        await made.server.stop()
        made.chain.close()


async def made_template(folder: Path, database: Path) -> Template:
    made = Template(folder, await make_programme(folder), b"")
    shutil.copy(database, folder / "flexpact.db")
    async with made.opened(folder / "first") as programme:
        agreement_id = await programme.agree()
    return Template(folder / "first", made.deployed, agreement_id)
