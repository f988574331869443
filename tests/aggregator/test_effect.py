"""What an event will probably give, against fleets whose behaviour is known."""

from __future__ import annotations

import random
from statistics import NormalDist, quantiles

import pytest

from aggregator.effect import PRIOR_MEAN, DeliveryRecord

KW = 1000
EVENTS = 20


def record_of(means: list[float], sd: float, common_sd: float, seed: int = 7) -> DeliveryRecord:
    """A fleet of nodes with these mean rates, over EVENTS events of 1 kWh each."""
    chance, record = random.Random(seed), DeliveryRecord()
    for event in range(EVENTS):
        weather = chance.gauss(0, common_sd)
        for node, mean in enumerate(means):
            given = round(1000 * (mean + weather + chance.gauss(0, sd)))
            record.add(f"e{event}", f"n{node}", 1000, given)
    return record


def test_without_any_record_the_prior_is_expected_and_wide() -> None:
    effect = DeliveryRecord().effect({"a": 10 * KW})
    assert effect.p50_w == round(10 * KW * PRIOR_MEAN)
    assert effect.p10_w < 0.6 * 10 * KW < effect.p50_w < effect.p90_w


def test_the_sum_over_a_known_fleet_is_near_what_a_simulation_gives() -> None:
    """200 nodes that give 70 % with a spread of 10 % of their own and 8 % in common."""
    record = record_of([0.7] * 200, 0.10, 0.08)
    effect = record.effect({f"n{node}": KW for node in range(200)})
    chance = random.Random(11)
    runs = []
    for _ in range(2000):
        weather = chance.gauss(0, 0.08)
        runs.append(sum(KW * (0.7 + weather + chance.gauss(0, 0.10)) for _ in range(200)))
    tenths = quantiles(runs, n=10)
    assert effect.p50_w == pytest.approx(tenths[4], rel=0.04)
    assert effect.p10_w == pytest.approx(tenths[0], rel=0.08)
    assert effect.p90_w == pytest.approx(tenths[8], rel=0.08)


def test_the_band_holds_eight_of_ten_outcomes_of_a_normal_fleet() -> None:
    record = record_of([0.8] * 50, 0.1, 0.1)
    effect = record.effect({f"n{node}": KW for node in range(50)})
    truth = NormalDist(0.8 * 50 * KW, (50 * 0.1**2 + 50**2 * 0.1**2) ** 0.5 * KW)
    inside = truth.cdf(effect.p90_w) - truth.cdf(effect.p10_w)
    assert 0.7 < inside < 0.92


def test_a_node_with_a_long_record_is_judged_by_its_own_and_a_new_one_by_the_fleets() -> None:
    record = record_of([0.2] + [0.9] * 30, 0.02, 0.01)
    bad, new = (record.effect({name: 10 * KW}).p50_w for name in ("n0", "new"))
    assert 2 * KW < bad < 4.5 * KW
    assert new == pytest.approx(record.fleet().mean * 10 * KW, rel=0.01)


def test_silent_nodes_give_nothing() -> None:
    record = DeliveryRecord()
    assert record.effect({"a": KW, "b": KW}, silent=["b"]) == record.effect({"a": KW})
    assert record.effect({"a": KW}, silent=["a"]).p90_w == 0


def test_a_revision_takes_the_place_of_its_statement_and_absurd_rates_are_bounded() -> None:
    record = DeliveryRecord()
    record.add("e", "a", 1000, 0)
    record.add("e", "a", 1000, 1000)
    once = DeliveryRecord()
    once.add("e", "a", 1000, 1000)
    assert record.effect({"a": KW}) == once.effect({"a": KW})
    record.add("e2", "a", 1, 10**12)
    assert record.effect({"a": KW}).p50_w < 2 * KW


def test_where_nothing_was_asked_there_is_no_rate() -> None:
    record = DeliveryRecord()
    record.add("e", "a", 0, 500)
    assert record.effect({"a": KW}) == DeliveryRecord().effect({"a": KW})
