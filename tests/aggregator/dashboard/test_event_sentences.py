"""What stands against an event is said in the user's language, with the hours of his zone."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from aggregator import errors, mirror
from aggregator.agreement import Agreement, Call, broken_clauses
from aggregator.baseline import NO_QUARTER, TOO_FEW_DAYS
from aggregator.budget import Excess, Limit
from aggregator.dashboard import sentences
from aggregator.dashboard.wording import Wording
from aggregator.profile import Calendar, Period
from aggregator.told import in_english
from tests.aggregator.test_mirror import ACTIVE, held

NOW = datetime(2026, 1, 20, 16, tzinfo=UTC)
MODULES = (
    *("agreement", "mirror", "dispatch", "change_plan", "portfolio", "budget", "clearance", "request"),
    *("sent_event", "approval", "event_template"),
)
FIRST = {
    "RequestRefusedError",
    "UnknownObjectError",
    "ApprovalError",
    "StaleVersionError",
    "TemplateNameError",
}
SECOND = {"NotAdmitted", "ClauseHit"}
BARE = (errors.KeyReusedError, errors.PreviewChangedError, errors.StaleEventError, errors.ApprovalNeededError)


def words(language: str, zone: str = "Asia/Seoul") -> Wording:
    """How somebody in Seoul reads."""
    return Wording(language, ZoneInfo(zone), NOW)


def written() -> Iterator[tuple[str, str]]:
    """Every sentence that stands against an event, and where it is written; values stand as 7."""
    for name in (*(f"aggregator.{one}" for one in MODULES), "vtn.publication", "vtn.revision"):
        path = Path(str(importlib.import_module(name).__file__))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ""
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "%(" in node.value:
                text = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                at = 0 if node.func.id in FIRST else 1 if node.func.id in SECOND else len(node.args)
                text = "".join(_parts(node.args[at])) if at < len(node.args) else ""
            if text and isinstance(node, ast.expr):
                yield f"{name}:{node.lineno}", re.sub(r"%\(\w+\)s", "7", text)
    for one in BARE:
        yield one.__name__, str(one())


def _parts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield str(part.value) if isinstance(part, ast.Constant) else "7"


@pytest.mark.parametrize("language", ["de", "ko"])
def test_every_sentence_against_an_event_has_a_translation(language: str) -> None:
    found = dict(written())
    assert len(found) > 45
    told = {where: sentences.said(text, words(language)) for where, text in found.items()}
    assert [f"{where}: {found[where]}" for where in found if told[where] == found[where]] == []


def test_a_clause_says_the_hours_of_its_readers_zone() -> None:
    agreed = Agreement(Decimal("5.5"), Decimal(35), Decimal(20), Decimal("0.8"), 1, timedelta(hours=1), "EUR")
    period = Period(NOW, NOW + timedelta(hours=1))
    other = Period(NOW - timedelta(minutes=30), NOW + timedelta(minutes=30))
    hits = broken_clauses(agreed, Call(period, 9000), [other], Calendar(ZoneInfo("Asia/Seoul")), NOW)
    assert [hit.text for hit in hits] == [
        "9000 W asked, 5500 W agreed",
        "starts in 0 min, 60 min of notice agreed",
        "1 calls on 2026-01-21, 1 agreed",
        "is called already: 2026-01-20T15:30:00Z to 2026-01-20T16:30:00Z",
    ]
    german = [sentences.said(hit, words("de")) for hit in hits]
    assert german == [
        "9,00\u00a0kW angefragt, 5,50\u00a0kW vereinbart",
        "beginnt in 0 min, 60 min Vorlauf sind vereinbart",
        "1 Abrufe am 21.01.2026, 1 vereinbart",
        "ist schon abgerufen: 21.01.2026, 00:30\u201301:30\u00a0KST",
    ]
    assert [sentences.said(hit.text, words("de")) for hit in hits] == german  # as an error has them


def test_what_the_chain_has_against_a_call_is_said_in_the_readers_zone() -> None:
    unpaid = replace(ACTIVE, earliest_due_at=int(NOW.timestamp()))
    late = Call(Period(NOW + timedelta(days=300), NOW + timedelta(days=300, hours=1)), 1000)
    state, expiry = mirror.standing_hits(held(unpaid), late, [], NOW, required=True)
    assert "2026-01-20T16:00:00Z" in state.text
    assert sentences.said(state, words("de")) == (
        "ist ausgesetzt (eine Zahlung fehlt seit 21.01.2026, 01:00\u00a0KST), nötig ist aktiv"
    )
    assert "17.11.2026, 02:00\u00a0KST" in sentences.said(expiry, words("de"))


def test_what_the_budget_says_is_said_in_every_language() -> None:
    power, events = Excess(Limit.POWER, 6000, 5000), Excess(Limit.EVENTS, 3, 2)
    assert str(power) == "6 kW at once, the budget is 5 kW"
    german = "6,00\u00a0kW gleichzeitig, das Budget ist 5,00\u00a0kW"
    assert sentences.said(power, words("de")) == german
    reason = f"{power}; {events}"
    both = f"{german}; 3 Abrufe an diesem Tag, das Budget ist 2"
    assert sentences.several(reason, words("de")) == both
    opened = f"the breaker is open since {NOW.isoformat()}: {reason}"
    said = f"Der Schutzschalter ist offen seit 21.01.2026, 01:00\u00a0KST: {both}"
    assert sentences.said(opened, words("de")) == said


def test_the_reasons_of_all_nodes_are_said_with_their_names() -> None:
    text = "no node can give anything; node-1: 9000 W asked, 5500 W agreed; node-2: offers nothing"
    assert sentences.said(text, words("ko")) == (
        "줄일 수 있는 노드가 없습니다; node-1: 9.00\u00a0kW 요청, 계약은 5.50\u00a0kW; node-2: offers nothing"
    )


@pytest.mark.parametrize("text", ["2026-13-40", "2026-02-30T99:99:00Z", "node 6 kW"])
def test_a_name_that_looks_like_a_time_stays_as_it_is(text: str) -> None:
    assert sentences.said(f"there is no node {text}", words("en")) == f"there is no node {text}"


def test_why_there_is_no_baseline_is_told_in_the_users_language_and_zone() -> None:
    at = datetime(2026, 1, 20, 17, tzinfo=UTC)
    period = Period(at, at + timedelta(minutes=10))
    words = Wording("de", ZoneInfo("Europe/Berlin"), at)
    few = in_english(TOO_FEW_DAYS, {"count": 3, "start": at, "needed": 5})
    assert few == "3 complete like days before 2026-01-20T17:00:00Z, needed 5"
    told = sentences.said(few, words)
    assert told.startswith("3 vollständige ähnliche Tage vor 20.01.2026, 18:00")
    none = in_english(NO_QUARTER, {"period": period})
    assert "18:00" in sentences.said(none, words) and "Viertelstunde" in sentences.said(none, words)
