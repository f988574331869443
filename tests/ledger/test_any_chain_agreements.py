"""What a chain must do to carry agreements: registry, token and agreements, from joining to the tokens.

`pytest tests/ledger --rpc-url URL` asks it of the chain there, on the terms of `test_any_chain.py`. Windows
are none and terms last seconds, because nobody can move the time of such a chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hexbytes import HexBytes
from web3 import AsyncWeb3

from flexpact.pki import identity
from ledger.agreement import Booking, Outcome, Settled, Standing, State, Status, Suspender
from ledger.agreement_contract import AgreementContract, book_call, call, refusal
from ledger.binding import Role, bind, check_binding
from ledger.chain import EmbeddedChain
from ledger.contract_node import ContractNode, RevertedCallError
from ledger.interface import interface
from ledger.rpc import RpcServer
from ledger.settler import SettlerStatus
from ledger.setup import Deployed
from openadr.certificate import KeyKind
from tests.ledger.conftest import SteppedClock, fund
from tests.ledger.parties import AnyProgramme, copy_chain, deploy_programme, make_keys, make_programme
from vtn.store import Database

TOKEN = interface("EnergyToken")
PATIENCE_S = 60
GAS = 500_000
HASHES = ("signal_hash", "response_hash", "measurement_hash")
REQUESTED_WH, DELIVERED_WH, INCENTIVE = 1000, 900, 27  # 30 minor units for each kWh


@dataclass
class DistantProgramme(AnyProgramme):
    """A programme on a chain about which nothing is known but its URL."""

    place: str
    number: int
    is_stepped: bool
    """Whether the chain's time is the test's clock; else it is the world's."""

    @property
    def url(self) -> str:
        return self.place

    @property
    def chain_id(self) -> int:
        return self.number

    async def tick(self) -> None:
        """A second passes, here and there."""
        self.clock.advance(1)
        if not self.is_stepped:
            await asyncio.sleep(1)

    async def rested(self) -> None:
        """Steps until the chain has mined what the settler sent."""
        settler = self.settler()
        for _ in range(PATIENCE_S):
            state = await self.step(settler)
            if state.status is not SettlerStatus.WAITING:
                break
            await self.tick()
        assert state.status is SettlerStatus.IDLE, state.text

    async def paid(self) -> Settled:
        """The event's money by the contract once the window is over, by its clock and by ours."""
        for _ in range(PATIENCE_S):
            await self.rested()
            found = await self.settled()
            assert found is not None
            if found.status is not Status.OPEN:
                break
            await self.tick()
        return found

    async def agreed(self, **changes: int) -> bytes:
        """An agreement that is active, of which anything is final at once."""
        terms = {"dispute_window_s": 0, "notice_s": 0, "capacity_w": 3600 * REQUESTED_WH, **changes}
        agreement_id = await self.propose(**terms)
        await self.rested()
        await self.accept(agreement_id)
        await self.rested()
        return agreement_id

    async def standing(self, agreement_id: bytes) -> Standing:
        """The agreement as the contract shows it."""
        async with ContractNode.open(self.url, 30) as node:
            found = await AgreementContract(node, self.deployed.agreement).standing(agreement_id)
        assert found is not None
        return found

    async def refused(self, who: str, place: bytes, data: bytes) -> str:
        """The clause that stands against a call; empty if it would be taken."""
        async with ContractNode.open(self.url, 30) as node:
            try:
                await node.rehearse_call(place, self.key(who).address, data, 30 * GAS)
            except RevertedCallError as error:
                return refusal(error.data)[0]
        return ""

    async def against_booking(self, agreement_id: bytes, event_key: bytes, booking: Booking) -> str:
        """The clause that stands against a booking once its event is over by the chain's own time."""
        data = book_call(agreement_id, event_key, booking)
        for _ in range(PATIENCE_S):
            said = await self.refused("aggregator", self.deployed.agreement, data)
            if said != "EventNotOver":
                break
            await self.tick()
        return said

    async def insist(self, data: bytes) -> int:
        """The status of a transaction that is sent whatever stands against it."""
        key = self.key("aggregator")
        async with ContractNode.open(self.url, 30) as node:
            base_fee = (await node.newest()).base_fee
            eth = node._web3.eth
            transaction: Any = {
                "type": 2,
                "chainId": self.chain_id,
                "to": AsyncWeb3.to_checksum_address(self.deployed.agreement),
                "nonce": await eth.get_transaction_count(AsyncWeb3.to_checksum_address(key.address)),
                "gas": GAS,
                "value": 0,
                "maxFeePerGas": 2 * base_fee + (10**9 if base_fee else 0),
                "maxPriorityFeePerGas": 10**9 if base_fee else 0,
                "data": HexBytes(data),
            }
            digest = await eth.send_raw_transaction(key.sign(transaction))
            return (await eth.wait_for_transaction_receipt(digest, timeout=PATIENCE_S))["status"]


def a_second(notified_at: int) -> Booking:
    """An event of a second, from its notification on."""
    hashes = (b"\1" * 32, b"\2" * 32, b"\3" * 32)
    return Booking(*hashes, notified_at, notified_at, 1, REQUESTED_WH, DELIVERED_WH, Outcome.MEASURED)


@pytest.fixture(scope="module")
def made() -> dict[str, tuple[Path, Deployed]]:
    """By chain, what was deployed there: it takes seconds, and the tests share it."""
    return {}


@pytest.fixture
async def any_programme(
    request: pytest.FixtureRequest,
    made: dict[str, tuple[Path, Deployed]],
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    database_path: Path,
) -> AsyncIterator[DistantProgramme]:
    """Contracts and parties on one of the chains, with a database of their own."""
    name, clock = request.param, SteppedClock()
    is_stepped = name == "embedded"
    url = request.getfixturevalue("anvil_url") if name == "anvil" else name
    if name not in made:
        folder = tmp_path_factory.mktemp("programme")
        made[name] = folder, await (make_programme(folder) if is_stepped else deploy(folder, url))
    folder, deployed = made[name]
    if is_stepped:
        clock.advance(60)
        copy_chain(folder, tmp_path)
        chain = EmbeddedChain(tmp_path, clock)
        server = RpcServer(chain)
        await server.start()
        url = server.url
    async with ContractNode.open(url, 30) as node:
        chain_id = await node.chain_id()
        if not is_stepped:
            clock.now = datetime.fromtimestamp((await node.newest()).timestamp, UTC)
    database = await Database.open(database_path)
    programme = DistantProgramme(folder, database, clock, deployed, url, chain_id, is_stepped)
    yield programme
    for settler in programme.settlers:
        await settler.close()
    await database.close()
    if is_stepped:
        await server.stop()
        chain.close()


async def deploy(folder: Path, url: str) -> Deployed:
    """The contracts there, with the parties' keys in the folder."""
    accounts = make_keys(folder)
    async with ContractNode.open(url, 30) as node:
        for account in accounts:
            await fund(node, account)
    return await deploy_programme(folder, url, KeyKind.EC)


async def test_a_party_joins_by_the_signature_of_its_certificates_key(
    any_programme: DistantProgramme,
) -> None:
    registry, known = any_programme.deployed.registry, interface("ParticipantRegistry")
    account, stranger = any_programme.key("node").address, bytes([9] * 20)
    async with ContractNode.open(any_programme.url, 30) as node:
        answer = await node.ask_contract(registry, known.encode("participantOf", account))
    ((role, suspended, digest, key_hash),) = known.decode("participantOf", answer)
    issued = identity(any_programme.folder / "pki", "node", KeyKind.EC)
    certificate = x509.load_pem_x509_certificates(issued.cert.read_bytes())[0]
    check_binding(certificate, digest, key_hash)
    assert (role, suspended) == (Role.VIRTUAL_NODE, False)
    key: Any = load_pem_private_key(issued.key.read_bytes(), None)
    where = {"chain_id": any_programme.chain_id, "registry": registry}
    bound = bind(certificate, key, account=account, role=Role.VIRTUAL_NODE, **where)  # type: ignore[arg-type] # by name
    for who, joining, hashed, clause in (
        ("admin", stranger, b"\7" * 32, "SignatureInvalid"),
        ("admin", stranger, digest, "CertificateUsed"),
        ("admin", account, b"\7" * 32, "AlreadyRegistered"),
        ("node", stranger, b"\7" * 32, "OwnableUnauthorizedAccount"),
    ):
        data = known.encode("register", joining, Role.VIRTUAL_NODE, hashed, bound.key, bound.signature)
        assert await any_programme.refused(who, registry, data) == clause


async def test_an_event_is_booked_once_paid_and_withdrawn(any_programme: DistantProgramme) -> None:
    agreement_id = await any_programme.agreed()
    began = (await any_programme.standing(agreement_id)).accepted_at
    assert await any_programme.against_booking(agreement_id, b"\5" * 32, a_second(began)) == ""
    before = await any_programme.balance("node")
    hashes = {name: getattr(a_second(began), name) for name in HASHES}
    facts = {"notified_at": began, "starts_at": began, "duration_s": 1}
    energy = {"requested_wh": REQUESTED_WH, "delivered_wh": DELIVERED_WH}
    await any_programme.statement(agreement_id, **facts, **energy)
    found = await any_programme.paid()
    kept = await any_programme.account()
    assert (found.status, found.incentive_minor, found.revision) == (Status.PAID, INCENTIVE, 1)
    async with ContractNode.open(any_programme.url, 30) as node:
        contract = AgreementContract(node, any_programme.deployed.agreement)
        (booked,) = await contract.booked(agreement_id, (await node.newest()).number)
    assert asdict(booked) == {"event_key": kept.event_key, **hashes}
    again = book_call(agreement_id, kept.event_key, kept.booking)
    other = book_call(agreement_id, kept.event_key, replace(kept.booking, delivered_wh=1))
    place = any_programme.deployed.agreement
    assert await any_programme.refused("aggregator", place, again) == "AlreadyBooked"
    assert await any_programme.refused("aggregator", place, other) == "BookedDifferently"
    assert await any_programme.insist(again) == 0  # the chain itself, not its rehearsal
    assert (await any_programme.standing(agreement_id)).withdrawable == INCENTIVE
    assert await any_programme.balance("node") == before  # it is fetched, not sent
    await any_programme.act("node", "withdraw", agreement_id)
    assert await any_programme.balance("node") == before + INCENTIVE
    withdraw = call("withdraw", agreement_id)
    assert await any_programme.refused("node", place, withdraw) == "NothingToWithdraw"


async def test_a_payment_that_is_missing_suspends_until_it_is_paid(any_programme: DistantProgramme) -> None:
    agreement_id = await any_programme.agreed(payment_term_s=1, max_calls_per_day=9)
    began = (await any_programme.standing(agreement_id)).accepted_at
    first, second = b"\5" * 32, b"\6" * 32
    assert await any_programme.against_booking(agreement_id, first, a_second(began)) == ""
    await any_programme.act("aggregator", "book", agreement_id, first, astuple(a_second(began)))
    due_at = (await any_programme.standing(agreement_id)).earliest_due_at
    late = a_second(due_at + 1)
    assert await any_programme.against_booking(agreement_id, second, late) == "InArrears"
    assert (await any_programme.standing(agreement_id)).state_at(due_at) is State.SUSPENDED
    await any_programme.act("aggregator", "pay", agreement_id, first)
    standing = await any_programme.standing(agreement_id)
    async with ContractNode.open(any_programme.url, 30) as node:
        paid_at = (await node.newest()).timestamp
    assert (standing.state_at(paid_at), standing.withdrawable) == (State.ACTIVE, INCENTIVE)
    assert await any_programme.against_booking(agreement_id, second, a_second(paid_at)) == ""
    # The arrears are over, and what was notified in them stays forbidden.
    assert await any_programme.against_booking(agreement_id, second, late) == "InArrears"


async def test_what_is_not_a_partys_to_do_is_refused_by_name(any_programme: DistantProgramme) -> None:
    agreement_id = await any_programme.propose(dispute_window_s=0, notice_s=0)
    await any_programme.rested()
    deployed = any_programme.deployed
    for who, place, data, clause in (
        ("node", deployed.agreement, call("accept", agreement_id, b"\1" * 32), "ProposedDifferently"),
        ("arbiter", deployed.agreement, call("accept", agreement_id, b"\1" * 32), "CallerMayNot"),
        ("arbiter", deployed.agreement, call("suspend", agreement_id, 1), "StateForbids"),
        ("aggregator", deployed.token, TOKEN.encode("mint", b"\1" * 20, 1), "NotMinter"),
    ):
        assert await any_programme.refused(who, place, data) == clause
    await any_programme.accept(agreement_id)
    await any_programme.act("arbiter", "suspend", agreement_id, 7)
    assert (await any_programme.standing(agreement_id)).suspender is Suspender.ARBITER
    lift = call("lift", agreement_id)
    assert await any_programme.refused("aggregator", deployed.agreement, lift) == "CallerMayNot"
    await any_programme.act("arbiter", "lift", agreement_id)
    assert (await any_programme.standing(agreement_id)).suspender is Suspender.NOBODY
