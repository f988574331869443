"""Limits of events over the network: what binds, and who may be stricter than the settings file."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.permission import Role
from aggregator.clearance import Rules
from aggregator.limit_settings import LimitSettings
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.test_api_serve import Caller, token_of


async def test_an_admin_is_stricter_than_the_file_and_a_token_is_not(house: House) -> None:  # noqa: F811
    portfolio = house.aggregator._portfolio
    portfolio.file_limits = LimitSettings(max_concurrent_kw=Decimal(10))
    portfolio.rules = Rules(portfolio.file_limits, portfolio.calendar)
    program = Caller(house, await token_of(house, Role.ADMIN))
    answer, _ = await program.ask("PUT", "/limits", {"version": 0, "max_concurrent_kw": 5})
    assert answer.status == 403
    admin = await house.person(Role.ADMIN)
    browser, csrf = Caller(house, person=admin), {"X_CSRF_Token": admin.csrf}
    answer, said = await browser.ask("PUT", "/limits", {"version": 0, "max_concurrent_kw": 11}, **csrf)
    assert (answer.status, said["errors"][0]["field"]) == (422, "max_concurrent_kw")
    answer, said = await browser.ask("PUT", "/limits", {"version": 0, "max_concurrent_kw": -1}, **csrf)
    assert (answer.status, said["errors"][0]["field"]) == (422, "max_concurrent_kw")
    stricter = {"version": 0, "max_concurrent_kw": 5, "max_events_per_day": 2}
    answer, said = await browser.ask("PUT", "/limits", stricter, **csrf)
    assert (answer.status, said["version"]) == (200, 1), said
    assert (said["in_force"]["max_concurrent_kw"], said["file"]["max_concurrent_kw"]) == (5.0, 10.0)
    answer, said = await browser.ask("PUT", "/limits", stricter, **csrf)
    assert answer.status == 409
    assert portfolio.rules.limits.max_events_per_day == 2
    viewer = Caller(house, await token_of(house, Role.VIEWER))
    answer, said = await viewer.ask("GET", "/limits")
    assert (answer.status, said["own"]["max_events_per_day"]) == (200, 2)


async def test_what_is_undone_does_not_bind(house: House, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The unit of work that changed the limits fails at its end."""
    admin = await house.person(Role.ADMIN)
    browser = Caller(house, person=admin)

    def broken(*_values: object) -> list[str]:
        raise RuntimeError("at the end")

    monkeypatch.setattr("aggregator.limit_rules.loosened", broken)
    answer, _ = await browser.ask(
        "PUT", "/limits", {"version": 0, "max_events_per_day": 1}, X_CSRF_Token=admin.csrf
    )
    assert answer.status == 500
    assert house.aggregator._portfolio.rules.limits.max_events_per_day is None


@pytest.mark.parametrize("number", [1, 10_000], ids=["stricter", "looser"])
async def test_what_the_database_did_not_take_does_not_bind(
    house: House,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """The unit of work goes well, and the COMMIT that holds it fails."""
    admin = await house.person(Role.ADMIN)
    browser, csrf = Caller(house, person=admin), {"X_CSRF_Token": admin.csrf}
    answer, _ = await browser.ask("PUT", "/limits", {"version": 0, "max_events_per_day": 2}, **csrf)
    assert answer.status == 200

    async def full(_conn: AsyncConnection) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(AsyncConnection, "commit", full)
    answer, _ = await browser.ask("PUT", "/limits", {"version": 1, "max_events_per_day": number}, **csrf)
    monkeypatch.undo()
    assert answer.status >= 500
    assert house.aggregator._portfolio.rules.limits.max_events_per_day == 2
    viewer = Caller(house, await token_of(house, Role.VIEWER))
    _, said = await viewer.ask("GET", "/limits")
    assert (said["version"], said["in_force"]["max_events_per_day"]) == (1, 2)
