"""The contract's money is the product's: the same deliveries settled by both, on the embedded chain and by
`aggregator.settlement`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

import pytest
from web3.types import Wei

from aggregator.agreement import Agreement
from aggregator.performance import IntervalPerformance, Performance
from aggregator.profile import Period
from aggregator.sent_event import event_of
from aggregator.settlement import Outcome, Statement, settle
from aggregator.store import StoredCall
from ledger.chain import CHAIN_ID, MAX_TRANSACTION_GAS, EmbeddedChain
from ledger.chain_key import ChainKey
from ledger.interface import interface
from ledger.node import publish_transaction
from tests.aggregator.test_settlement import AGREEMENT, CASES
from tests.ledger.conftest import START
from tests.ledger.parties import ROLES, make_programme

ON_CHAIN = interface("DRAgreement")
OUTCOMES = {
    Outcome.MEASURED: 0,
    Outcome.LATE_OPT_OUT: 1,
    Outcome.TEST: 2,
    Outcome.NOT_DELIVERED: 3,
    Outcome.OPTED_OUT: 4,
    Outcome.UNMEASURED: 5,
}
MICRO = 10**6
REQUESTED_WH = 8000
"""What every case asks for."""
NOTICE = timedelta(hours=1)


@dataclass
class Bench:
    """The contract with its parties, driven without a server between."""

    chain: EmbeddedChain
    contract: bytes
    keys: dict[str, ChainKey]

    def propose(self, agreement_id: bytes, agreement: Agreement) -> None:
        at = int(START.timestamp())
        aggregator, node, arbiter = (self.keys[name].address for name in ("aggregator", "node", "arbiter"))
        terms = (
            *(aggregator, at, at + 86_400, node, agreement.capacity_w(), 3600),
            *(int(agreement.threshold * MICRO), arbiter, 2, 1, 0),
            *(int(agreement.price_minor_per_kwh * MICRO), int(agreement.penalty_minor_per_kwh * MICRO), 1),
        )
        key = self.keys["aggregator"]
        transaction = publish_transaction(
            CHAIN_ID,
            self.contract,
            nonce=self.chain.state(self.chain.head()).get_nonce(key.address),
            gas=1_000_000,
            fees={"maxFeePerGas": Wei(0), "maxPriorityFeePerGas": Wei(0)},
            data=ON_CHAIN.encode("propose", agreement_id, terms),
        )
        found = self.chain.transaction(self.chain.send(key.sign(transaction)))
        assert found is not None
        assert found[2].state_root == b"\x01"  # it had its effect

    def amounts(
        self, agreement_id: bytes, outcome: Outcome, requested_wh: int, delivered_wh: int
    ) -> tuple[int, int]:
        data = ON_CHAIN.encode("amountsOf", agreement_id, OUTCOMES[outcome], requested_wh, delivered_wh)
        head = self.chain.head()
        call = self.chain.unsigned(
            self.keys["node"].address, self.contract, 0, data=data, gas=MAX_TRANSACTION_GAS, header=head
        )
        incentive, penalty = ON_CHAIN.decode("amountsOf", self.chain.call(call, head))
        return incentive, penalty


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("programme")
    made = asyncio.run(make_programme(folder))
    keys = {name: ChainKey.load(folder / f"{name}.key") for name in ROLES}
    chain = EmbeddedChain(folder, lambda: START)
    yield Bench(chain, made.agreement, keys)
    chain.close()


def some_price(draw: random.Random) -> Decimal:
    """A price for a kWh; every second one so that half minor units are common."""
    if draw.random() < 0.5:
        return Decimal(draw.randrange(0, 400)) / 4
    return Decimal(draw.randrange(0, 1000 * MICRO)) / MICRO


def some_agreement(draw: random.Random) -> Agreement:
    threshold = draw.choice(["0", "1", "0.8", "0.75", str(Decimal(draw.randrange(MICRO)) / MICRO)])
    return Agreement(
        capacity_kw=Decimal(draw.randrange(1, 100_000_000)) / 1000,
        price_minor_per_kwh=some_price(draw),
        penalty_minor_per_kwh=some_price(draw),
        threshold=Decimal(threshold),
        max_calls_per_day=1,
        notice=NOTICE,
        currency="EUR",
    )


def some_statement(draw: random.Random, agreement: Agreement) -> Statement:
    """What the product settles of a random event that a node answered, or not, and did, or not."""
    power_w = draw.choice([draw.randrange(1, 20), draw.randrange(1, agreement.capacity_w() + 1)])
    if draw.random() < 0.5:
        power_w = max(1, power_w // 1000) * 1000
    period = Period(START + 2 * NOTICE, START + 2 * NOTICE + timedelta(minutes=15 * draw.randrange(1, 96)))
    call = StoredCall("event-1", "ven-1", 1, period, power_w, draw.random() < 0.1, START)
    requested_wh = power_w * (period.end - period.start) // timedelta(hours=1)
    delivered_wh = draw.choice(
        [
            draw.randrange(-requested_wh - 1, 2 * requested_wh + 1),
            requested_wh * draw.randrange(-4, 9) // 4,
            int(agreement.threshold * requested_wh) + draw.randrange(-2, 3),
        ]
    )
    chance = draw.random()
    performance = Performance(
        "event-1",
        "ven-1",
        "none" if 0.1 < chance < 0.2 else "10-of-10",
        (IntervalPerformance(period.start, 0, -delivered_wh),),
        START + draw.choice([0.5, 1.5]) * NOTICE if chance > 0.85 else None,
        reached=chance > 0.1,
    )
    return settle(event_of(call, "http://example/peak"), performance, agreement)


def same_amounts(bench: Bench, seed: int, agreements: int, statements: int) -> set[Outcome]:
    draw = random.Random(seed)
    seen = set()
    for number in range(agreements):
        agreement = some_agreement(draw)
        agreement_id = seed.to_bytes(16, "big") + number.to_bytes(16, "big")
        bench.propose(agreement_id, agreement)
        for _ in range(statements):
            statement = some_statement(draw, agreement)
            expected = (statement.incentive_minor, statement.penalty_minor)
            energy = (statement.requested_wh, statement.delivered_wh)
            assert bench.amounts(agreement_id, statement.outcome, *energy) == expected, (agreement, statement)
            seen.add(statement.outcome)
    return seen


def test_the_contracts_amounts_are_those_of_the_product(bench: Bench) -> None:
    assert same_amounts(bench, 1, agreements=7, statements=16) == set(OUTCOMES)


def test_the_contract_settles_the_cases_worked_by_hand(bench: Bench) -> None:
    cases = [case for case in CASES["case"] if not case.get("cancelled")]  # a cancelled event is no call
    for number, case in enumerate(cases):
        agreement_id = b"case".ljust(31) + bytes([number])
        bench.propose(agreement_id, replace(AGREEMENT, price_minor_per_kwh=Decimal(case.get("price", 35))))
        delivered_wh = case.get("counted_wh", sum(case["delivered_wh"]))
        amounts = bench.amounts(
            agreement_id, Outcome(case.get("outcome", "measured")), REQUESTED_WH, delivered_wh
        )
        assert amounts == (case["incentive"], case["penalty"]), case["id"]


@pytest.mark.long
def test_the_contracts_amounts_are_those_of_the_product_for_many_values(bench: Bench) -> None:
    assert same_amounts(bench, 2, agreements=200, statements=100) == set(OUTCOMES)
