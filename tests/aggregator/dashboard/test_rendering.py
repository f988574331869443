"""Templates as they are set up, without a page around them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from jinja2 import Environment

from aggregator.dashboard import rendering
from aggregator.dashboard.static_files import StaticFiles
from aggregator.dashboard.wording import Wording


@pytest.fixture
def environment() -> Iterator[Environment]:
    """Templates for somebody who reads English."""
    token = rendering._words.set(Wording("en", ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC)))
    yield rendering._environment(StaticFiles({"icons.svg": b"<svg/>"}))
    rendering._words.reset(token)


@pytest.mark.parametrize(("count", "shown"), [(1, "1 node"), (2, "2 nodes"), (1000, "1,000 nodes")])
def test_a_count_is_written_as_all_numbers_are(environment: Environment, count: int, shown: str) -> None:
    template = environment.from_string('{{ ngettext("%(num)s node", "%(num)s nodes", count) }}')
    assert template.render(count=count) == shown


@pytest.mark.parametrize(
    ("status", "waiting", "badge"),
    [
        ("not asked yet", 3, "idle, No anchor"),
        ("idle", 0, "ok, Anchored"),
        ("idle", 3, "wait, Waiting for the chain"),
        ("waiting", 3, "wait, Waiting for the chain"),
        ("chain down", 3, "warn, The chain does not answer"),
        ("chain down for long", 3, "bad, The chain does not answer"),
        ("failed", 3, "bad, Anchoring has failed"),
    ],
)
def test_how_anchoring_stands_is_told_by_its_state_and_never_as_worse(
    environment: Environment, status: str, waiting: int, badge: str
) -> None:
    kind, shown = badge.split(", ")
    alarm, status = status.endswith(" for long"), status.removesuffix(" for long")
    chain = {"status": status, "ok": status in {"idle", "waiting"}, "alarm": alarm, "text": "what it said"}
    counts = {"leaves": 5, "anchored": 2, "checkpoints": 1, "statements": 0}
    page = environment.get_template("overview/evidence.html")
    said = page.render(chain=chain, waiting=waiting, counts=counts)
    assert f'<span class="badge {kind}">{shown}</span>' in said
    assert ("what it said" in said) == (status in {"chain down", "failed"})
    assert "nothing is lost" in said or status != "chain down"
