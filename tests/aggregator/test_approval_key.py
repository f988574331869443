"""The keys under which approvals send are theirs alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aggregator.access.permission import Role
from aggregator.clearance import Rules
from aggregator.limit_settings import LimitSettings
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.test_api_serve import Caller, token_of

TEXT = "keys that begin with approval/ are those of approvals"


@pytest.fixture
def asked(house: House) -> dict[str, Any]:  # noqa: F811
    """A request that needs a second person."""
    portfolio = house.aggregator._portfolio
    limits = LimitSettings.model_validate({"approval_above_kw": 2, "max_concurrent_kw": 20})
    portfolio.rules = Rules(limits, portfolio.calendar)
    start = (house.aggregator._clock() + timedelta(hours=4)).replace(minute=0, second=0, microsecond=0)
    end = start + timedelta(hours=1)
    return {"start": start.isoformat(), "end": end.isoformat(), "nodes": {"node-1": 3}}


async def test_nobody_takes_the_key_under_which_an_approval_sends(
    house: House,  # noqa: F811
    asked: dict[str, Any],
) -> None:
    program = Caller(house, await token_of(house))
    answer, made = await program.ask("POST", "/approvals", asked)
    assert answer.status == 201
    key = f"approval/{made['approval_id']}"
    for path in ("/requests", "/approvals"):
        small = {**asked, "nodes": {"node-1": 1}, "idempotency_key": key}
        answer, said = await program.ask("POST", path, small)
        (error,) = said["errors"]
        assert (answer.status, error["field"], TEXT in error["detail"]) == (422, "idempotency_key", True)
    operator, start = await house.person(Role.OPERATOR), asked["start"]
    form = {"day": start[:10], "start": start[11:16], "end": "23:00", "nodes": "node-1 = 1"}
    answer = await operator.post("/events", {**form, "power_kw": "", "idempotency_key": key})
    assert (answer.status, TEXT in answer.text) == (400, True), answer.text
    admin = await house.person(Role.ADMIN)
    answer = await admin.ask("POST", f"/api/v1/approvals/{made['approval_id']}/approve")
    assert answer.status < 300, answer.text
