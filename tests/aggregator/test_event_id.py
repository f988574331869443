"""An event by hand may have any id, also the one that a request would get next: both can be taken back."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.access.permission import Role
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.test_api_serve import Caller, token_of

NEXT = "event-20260120T170000Z-1"
DELTA: dict[str, Any] = {
    "signal_name": "LOAD_DISPATCH",
    "signal_type": "delta",
    "unit": {"kind": "powerReal", "scale": "k"},
    "intervals": [{"value": -1}],
}
BY_HAND = {"vens": ["node-1"], "start": "2026-01-21T21:00:00Z", "duration": "PT1H", "signals": [DELTA]}
ASKED = {"start": "2026-01-20T17:00:00Z", "end": "2026-01-20T19:00:00Z", "nodes": {"node-1": 1}}


@pytest.mark.goal(34)
async def test_a_request_never_shares_the_id_of_an_event_by_hand(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house, Role.ADMIN))
    answer, made = await program.ask("POST", "/events", {**BY_HAND, "event_id": NEXT})
    assert (answer.status, made["event_id"]) == (201, NEXT), made
    answer, sent = await program.ask("POST", "/requests", ASKED)
    assert (answer.status, sent["event_id"]) == (201, f"{NEXT[:-1]}2"), sent
    for path, body in ((f"/requests/{sent['request_id']}/cancel", None), (f"/events/{NEXT}/cancel", {})):
        answer, said = await program.ask("POST", path, body)
        assert answer.status == 200, said
    _, left = await program.ask("GET", f"/events/{NEXT}")
    assert [ven["status"] for ven in left["vens"]] == ["cancelled"]
