"""Numbers without end, and instants at the ends of time, in addresses and forms: refused, never a fault."""

from __future__ import annotations

import pytest

from aggregator.access.permission import Role
from aggregator.dashboard.typed_number import number_of
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.test_api_serve import Caller, token_of

ENDLESS = "9" * 5000
HIDDEN = "0" * 20 + "9" * 22  # its first twenty digits are small
PREVIEW = "/events/preview/load.json?start=2026-01-20T17:00:00Z&end=2026-01-20T19:00:00Z"
YEAR_ONE = "start=0001-01-01T00:00:00%2B14:00&end=0001-01-01T12:00:00%2B14:00"


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), ("100", 100), ("101", None), ("", None), ("-1", None), ("\u00b2", None)],
)
def test_a_number_is_digits_up_to_the_most(text: str, number: int | None) -> None:
    assert number_of(text, 100) == number


@pytest.mark.parametrize("number", [ENDLESS, HIDDEN])
async def test_a_page_refuses_a_number_that_no_database_keeps(house: House, number: str) -> None:  # noqa: F811
    admin = await house.person(Role.ADMIN)
    found = [
        (await admin.get(path)).status
        for path in (
            f"/ledger/{number}",
            f"/ledger/{number}/receipt",
            f"/alarms/history?page={number}",
            f"{PREVIEW}&p10={number}&p50=1&p90=1",
        )
    ]
    assert found == [404, 404, 400, 400]
    typed = {"version": number, "alarm_days": "30", "notice_days": "30"}
    assert (await admin.post("/settings/retention", typed)).status == 409


@pytest.mark.parametrize("number", [ENDLESS, HIDDEN])
async def test_an_operation_refuses_it_too(house: House, number: str) -> None:  # noqa: F811
    program = Caller(house, await token_of(house, Role.ADMIN))
    for path in (f"/receipts/{number}", f"/statements/{number}"):
        answer, problem = await program.ask("GET", path)
        assert (answer.status, problem["status"]) == (422, 422), path
    answer, _ = await program.ask("POST", f"/records/{number}/verify", {})
    assert answer.status == 404


async def test_a_comparison_of_the_first_day_of_all_is_refused(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house))
    answer, problem = await program.ask("GET", f"/vens/node-1/baselines?{YEAR_ONE}")
    assert (answer.status, problem["errors"][0]["field"]) == (422, "start")
