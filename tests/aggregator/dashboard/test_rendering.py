"""Templates as they are set up."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from aggregator.dashboard import rendering
from aggregator.dashboard.static_files import StaticFiles
from aggregator.dashboard.wording import Wording


@pytest.mark.parametrize(("count", "shown"), [(1, "1 node"), (2, "2 nodes"), (1000, "1,000 nodes")])
def test_a_count_is_written_as_all_numbers_are(count: int, shown: str) -> None:
    environment = rendering._environment(StaticFiles({}))
    token = rendering._words.set(Wording("en", ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC)))
    try:
        template = environment.from_string('{{ ngettext("%(num)s node", "%(num)s nodes", count) }}')
        assert template.render(count=count) == shown
    finally:
        rendering._words.reset(token)
