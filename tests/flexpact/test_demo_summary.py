import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from flexpact.demo.agreements import Money
from flexpact.demo.control import Control
from flexpact.demo.day import Day
from flexpact.demo.errors import DemoError
from flexpact.demo.layout import Layout
from flexpact.demo.peer import PeerDay
from flexpact.demo.plan import Options, make_plan
from flexpact.demo.processes import Fleet
from flexpact.demo.receipts import Verdict
from flexpact.demo.summary import Facts, Summary, event_checks, evidence_checks, money_checks, summarise
from flexpact.demo.view import PlainView

FACTS = Facts(
    counts={
        "vens": 6, "events": 1, "delivered": 4, "opted_in": 4, "reports": 600, "readings": 6336,
        "requested_kwh": 100.0, "delivered_kwh": 96.5, "statements": 4, "incentive_total": "31.20",
        "leaves": 800, "checkpoints": 90, "anchored": 800,
    },
    nodes_called=4,
    true_kwh=97.25,
    money=Money(booked=4, paid=4, paid_minor=3120, balance_minor=3120),
    forecast_nmae={"load": 0.1, "load_weekly_naive": 0.2, "portfolio": None},
    aggregator_rss_mb=250.0,
    feid_rss_mb_max=80.0,
)  # fmt: skip
SUMMARY = summarise(make_plan(Options(out=Path("out"))), FACTS, Verdict(800, 800), 321.12345)


def _failed(summary: Summary, facts: Facts = FACTS) -> list[str]:
    evidence = evidence_checks(summary, "000007.receipt.txt: broken")
    checks = [*event_checks(summary, facts), *evidence, *money_checks(summary, facts)]
    return [f"{check.name}: {check.sentence}" for check in checks if not check.held]


def test_a_day_on_which_everything_held_fails_no_check() -> None:
    assert _failed(SUMMARY) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"delivered": 3}, "the event reached every called node: expected 4, got 3"),
        ({"opted_in": 5}, "every called node opted in: expected 4, got 5"),
        ({"true_kwh": 49.0}, "devices changed the load: expected more than 50.0 kWh, got 49.0"),
        ({"delivered_kwh": 0.0}, "the baseline saw the reduction: expected more than 0.0 kWh, got 0.0"),
        ({"anchored": 799}, "every leaf is under an anchored checkpoint: expected 800, got 799"),
        ({"receipts_verified": 799}, "799 of 800 receipts verify; 000007.receipt.txt: broken"),
        ({"aggregator_rss_mb": 300.0}, "the aggregator's memory: expected below 300 MB, got 300"),
        ({"feid_rss_mb_max": 0.0}, "a FEID's memory: expected below 90 MB, got 0"),
    ],
)
def test_a_check_that_fails_says_what_was_expected_and_what_came(
    change: dict[str, int | float], says: str
) -> None:
    failed = _failed(replace(SUMMARY, **change))  # type: ignore[arg-type]  # the fields are of two types
    assert len(failed) == 1
    assert says in failed[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"booked": 3, "paid": 3}, "every statement is booked on the chain: expected 4, got 3"),
        ({"trouble": "other money"}, "the contract's amounts are the statements': other money"),
        ({"paid": 3}, "every booking is paid: expected 4, got 3"),
        ({"balance_minor": 3119}, "the nodes' tokens are what was paid: expected 3120, got 3119"),
    ],
)
def test_money_that_does_not_arrive_fails_the_day(change: dict[str, object], says: str) -> None:
    facts = replace(FACTS, money=replace(FACTS.money, **change))  # type: ignore[arg-type]  # by name
    assert _failed(SUMMARY, facts) == [says]


def test_a_statement_that_is_missing_is_missed_in_both_places() -> None:
    assert _failed(replace(SUMMARY, statements=0)) == [
        "every called node has a statement: expected 4, got 0",
        "every statement is booked on the chain: expected 0, got 4",
    ]


def test_what_nobody_knows_is_none_and_fails_the_day(tmp_path: Path) -> None:
    unknown = replace(SUMMARY, delivered_kwh=None, true_kwh=None)
    unknown.write(tmp_path / "summary.json")
    written = json.loads((tmp_path / "summary.json").read_text())
    assert (written["delivered_kwh"], written["true_kwh"]) == (None, None)
    assert _failed(unknown) == [
        "devices changed the load: expected more than 50.0 kWh, got nothing",
        "the baseline saw the reduction: expected more than 0.0 kWh, got nothing",
    ]


async def test_a_strangers_event_is_told_by_what_was_asked(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path)
    parts = (
        make_plan(Options(out=tmp_path)),
        layout,
        Fleet(layout.logs),
        Control(layout.control_socket),
        PlainView(Console()),
    )
    asked = replace(SUMMARY, requested_kwh=2 / 30, delivered_kwh=None, true_kwh=None, opted_in=1)
    assert (
        PeerDay(*parts).sentence(asked).startswith("2.0 kW asked for two minutes, 67 Wh: the stranger opted")
    )
    assert "did not opt in" in PeerDay(*parts).sentence(replace(asked, opted_in=0))
    assert Day(*parts).sentence(SUMMARY) == (
        "100.0 kWh asked, 96.5 kWh delivered by the baseline, 97.2 kWh in truth"
    )


def test_events_that_a_visitor_sends_from_the_dashboard_fail_no_check_and_hide_no_node() -> None:
    visited = replace(SUMMARY, events=3, delivered=9, opted_in=9, statements=6)
    facts = replace(FACTS, money=replace(FACTS.money, booked=6, paid=6))
    assert _failed(visited, facts) == []
    assert _failed(replace(visited, opted_in=3), facts) == [
        "every called node opted in: expected 4 or more, got 3"
    ]


def test_a_node_that_did_not_register_fails_the_day() -> None:
    assert _failed(SUMMARY, replace(FACTS, counts={**FACTS.counts, "vens": 5})) == [
        "every node registered: expected 6, got 5"
    ]


def test_the_summary_is_written_with_numbers_and_money_as_text(tmp_path: Path) -> None:
    SUMMARY.write(tmp_path / "summary.json")
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["incentive_total"] == "31.20"
    assert written["wall_s"] == 321.123
    assert written["forecast_nmae"] == {"load": 0.1, "load_weekly_naive": 0.2, "portfolio": None}
    assert SUMMARY.incentive_total == Decimal("31.20")


def test_a_summary_that_cannot_be_written_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="nowhere"):
        SUMMARY.write(tmp_path / "nowhere" / "summary.json")


@pytest.mark.parametrize("minor", [10, 4850, 10**17 + 1])
def test_money_keeps_every_digit_from_the_aggregator_to_the_file(minor: int, tmp_path: Path) -> None:
    total = str(Decimal(minor).scaleb(-2))
    counts = {**FACTS.counts, "incentive_total": total}
    summarise(make_plan(Options(out=Path("out"))), replace(FACTS, counts=counts), Verdict(1, 1), 1.0).write(
        tmp_path / "summary.json"
    )
    assert json.loads((tmp_path / "summary.json").read_text())["incentive_total"] == total
