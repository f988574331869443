"""What a demo came to, in numbers, and the checks that decide whether everything held."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from flexpact.demo.agreements import Money
from flexpact.demo.errors import DemoError
from flexpact.demo.plan import Plan
from flexpact.demo.receipts import Verdict

AGGREGATOR_LIMIT_MB = 300.0
FEID_LIMIT_MB = 90.0


@dataclass(frozen=True, slots=True)
class Summary:
    """The content of `summary.json`.

    `delivered` and `opted_in` count nodes; `reports` and `readings` leave the history out; `anchored` are
    leaves under an anchored checkpoint. `delivered_kwh` is None where no baseline says it, `true_kwh` where
    nobody knows. `incentive_total` is in units of the currency. `forecast_nmae` is sum of absolute errors
    over sum of loads, beside weekly naive. `booked` are events in the contract, `paid_minor` what it paid.
    """

    vens: int
    households: int
    events: int
    delivered: int
    opted_in: int
    reports: int
    readings: int
    requested_kwh: float
    delivered_kwh: float | None
    true_kwh: float | None
    statements: int
    incentive_total: Decimal
    leaves: int
    checkpoints: int
    anchored: int
    receipts: int
    receipts_verified: int
    aggregator_rss_mb: float
    feid_rss_mb_max: float
    wall_s: float
    forecast_nmae: Mapping[str, float | None]
    booked: int
    paid_minor: int

    def write(self, path: Path) -> None:
        """Write the summary as JSON: money as text with its decimals, other numbers with three of them."""
        fields = {name: _shown(value) for name, value in asdict(self).items()}
        try:
            path.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise DemoError(f"{path} cannot be written: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold at the end of a demo, and the sentence that is said when it does not."""

    name: str
    held: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the aggregator, the simulator and the processes tell at the end of a demo."""

    counts: Mapping[str, Any]  # GET /summary
    nodes_called: int
    true_kwh: float | None
    money: Money
    forecast_nmae: Mapping[str, float | None]
    aggregator_rss_mb: float
    feid_rss_mb_max: float


def summarise(plan: Plan, facts: Facts, verdict: Verdict, wall_s: float) -> Summary:
    """Return the summary of a demo that took `wall_s` real seconds."""
    counts = facts.counts
    return Summary(
        vens=plan.options.vens,
        households=plan.households,
        events=counts["events"],
        delivered=counts["delivered"],
        opted_in=counts["opted_in"],
        reports=counts["reports"],
        readings=counts["readings"],
        requested_kwh=counts["requested_kwh"],
        delivered_kwh=counts["delivered_kwh"],
        true_kwh=facts.true_kwh,
        statements=counts["statements"],
        incentive_total=Decimal(counts["incentive_total"]),
        leaves=counts["leaves"],
        checkpoints=counts["checkpoints"],
        anchored=counts["anchored"],
        receipts=verdict.receipts,
        receipts_verified=verdict.verified,
        aggregator_rss_mb=facts.aggregator_rss_mb,
        feid_rss_mb_max=facts.feid_rss_mb_max,
        wall_s=wall_s,
        forecast_nmae=facts.forecast_nmae,
        booked=facts.money.booked,
        paid_minor=facts.money.paid_minor,
    )


def money_checks(summary: Summary, facts: Facts) -> list[Check]:
    """Return what must hold of the money, from the statements over the contract to the nodes' accounts."""
    money = facts.money
    return [
        same("every statement is booked on the chain", summary.statements, money.booked),
        Check("the contract's amounts are the statements'", not money.trouble, money.trouble),
        same("every booking is paid", money.booked, money.paid),
        same("the nodes' tokens are what was paid", money.paid_minor, money.balance_minor),
    ]


def event_checks(summary: Summary, facts: Facts) -> list[Check]:
    """Return what must hold of the day's event, from the registration to the money."""
    called = facts.nodes_called
    # whoever signed in as admin may have sent events of his own: the aggregator counts them all
    reached = same if summary.events == 1 else _as_many
    return [
        same("every node registered", summary.vens, facts.counts["vens"]),
        Check("the request called nodes", 0 < called <= summary.vens, f"called {called} nodes"),
        reached("the event reached every called node", called, summary.delivered),
        reached("every called node opted in", called, summary.opted_in),
        reached("every called node has a statement", called, summary.statements),
        _above("reports came in", summary.reports, 0, ""),
        _above("devices changed the load", summary.true_kwh, 0.5 * summary.requested_kwh, "kWh"),
        _above("the baseline saw the reduction", summary.delivered_kwh, 0.0, "kWh"),
    ]


def evidence_checks(summary: Summary, receipts_trouble: str) -> list[Check]:
    """Return what must hold of the evidence, and of the memory that it all took."""
    verified, receipts = summary.receipts_verified, summary.receipts
    return [
        _above("there is a log", summary.leaves, 0, "leaves"),
        same("every leaf is under an anchored checkpoint", summary.leaves, summary.anchored),
        same("every leaf has a receipt", summary.leaves, receipts),
        Check(
            "every receipt verifies offline",
            verified == receipts,
            f"{verified} of {receipts} receipts verify; {receipts_trouble}",
        ),
        _below("the aggregator's memory", summary.aggregator_rss_mb, AGGREGATOR_LIMIT_MB),
        _below("a FEID's memory", summary.feid_rss_mb_max, FEID_LIMIT_MB),
    ]


def same(name: str, expected: int, got: int) -> Check:
    """Return the check that two counts are equal."""
    return Check(name, expected == got, f"expected {expected}, got {got}")


def _as_many(name: str, expected: int, got: int) -> Check:
    return Check(name, got >= expected, f"expected {expected} or more, got {got}")


def _above(name: str, got: float | None, limit: float, unit: str) -> Check:
    found = "nothing" if got is None else f"{got:.1f}"
    return Check(name, got is not None and got > limit, f"expected more than {limit:.1f} {unit}, got {found}")


def _below(name: str, got_mb: float, limit_mb: float) -> Check:
    return Check(name, 0 < got_mb < limit_mb, f"expected below {limit_mb:.0f} MB, got {got_mb:.0f}")


def _shown(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Mapping):
        return {name: _shown(item) for name, item in value.items()}
    return value
