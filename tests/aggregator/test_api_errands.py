"""What is ordered over the API and outlives its request: a key orders once, whatever fails afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import func, select

from aggregator.access.action import trail
from aggregator.access.permission import Role
from aggregator.api_contracts import ACCOUNT_EXAMPLE, OFFER_EXAMPLE
from aggregator.api_repeat import ORDERED, Once
from aggregator.chain_book import ChainBook
from aggregator.errors import RequestRefusedError
from aggregator.schema import api_answer_table
from aggregator.server import Aggregator
from aggregator.settings import AggregatorSettings
from aggregator.web_settings import WebSettings
from ledger.agreement_schema import agreement_table
from ledger.chain_key import ChainKey
from tests.aggregator.access.conftest import House
from tests.aggregator.access.people import WallClock
from tests.aggregator.conftest import START, HandClock, node_settings, write_settings
from tests.aggregator.test_api_serve import Caller, token_of

KEY = "order-1"
SILENT = "http://127.0.0.1:9"
"""A chain that does not answer: orders are kept for it."""


class Houses:
    """Aggregators one after another over one database."""

    def __init__(self, settings: AggregatorSettings, http: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._http = http
        self._wall, self._clock = WallClock(), HandClock(START)
        self._running: Aggregator | None = None

    async def start(self) -> House:
        """The next one."""
        await self.stop()
        self._running = Aggregator(self._settings, self._clock, self._clock.sleep, self._wall)
        await self._running.start()
        return House(self._settings, self._running, self._http, self._wall, self._clock)

    async def stop(self) -> None:
        """End the one that runs."""
        if self._running is not None:
            await self._running.stop()
        self._running = None


@pytest.fixture
async def houses(state: Path) -> AsyncIterator[Houses]:
    """With agreements on a chain that does not answer."""
    for name in ("chain", "aggregator"):
        ChainKey.create(state / f"{name}.key")
    chain = {"rpc_url": SILENT, "contract": ACCOUNT_EXAMPLE, "key_file": state / "chain.key"}
    agreements = {"contract": ACCOUNT_EXAMPLE, "key_file": state / "aggregator.key"}
    settings = write_settings(state, [node_settings(1)], chain=chain, agreements=agreements)
    settings = settings.model_copy(update={"web": WebSettings(port=0, insecure_dev=True)})
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        opened = Houses(settings, http)
        try:
            yield opened
        finally:
            await opened.stop()


async def offers(house: House) -> int:
    """How many agreements there are."""
    async with house.desk.db.read() as conn:
        return int((await conn.execute(select(func.count()).select_from(agreement_table))).scalar_one())


async def lines(house: House) -> list[tuple[str, str]]:
    """What the trail says of offers."""
    async with house.desk.db.read() as conn:
        return [(line.outcome, line.detail) for line in await trail(conn, what="offerAgreement")]


def failing(error: Exception) -> Callable[..., Awaitable[Any]]:
    """In place of what fails."""

    async def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


async def offered(house: House, token: str) -> tuple[int, Any]:
    """An offer with the key, and how it was answered."""
    answer, said = await Caller(house, token).ask("POST", "/agreements", OFFER_EXAMPLE, Idempotency_Key=KEY)
    return answer.status, said


async def test_an_order_whose_answer_fails_is_not_ordered_again_by_its_key(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await houses.start()
    token = await token_of(house, Role.ADMIN)
    with monkeypatch.context() as patch:
        patch.setattr(ChainBook, "agreement", failing(RuntimeError("no answer can be made")))
        assert (await offered(house, token))[0] == 500
    assert await lines(house) == [("done", "ordered")]
    house = await houses.start()
    status, said = await offered(house, token)
    assert (status, said["errors"][0]["field"]) == (409, "Idempotency-Key")
    assert "is kept: look at it" in said["errors"][0]["detail"]
    assert await offers(house) == 1


async def test_a_killed_process_loses_no_line_of_what_was_ordered(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await houses.start()
    token, db = await token_of(house, Role.ADMIN), house.desk.db
    seen = []

    async def look(*_: Any) -> None:
        seen.append((await offers(house), await lines(house)))
        async with db.read() as conn:
            seen.append(list((await conn.execute(select(api_answer_table.c.status))).scalars()))

    monkeypatch.setattr(ChainBook, "look", look)
    status, made = await offered(house, token)
    assert seen == [(1, [("done", "ordered")]), [ORDERED]]
    assert (status, await offered(house, token)) == (201, (201, made))
    assert len(await lines(house)) == 2  # the repeat has a line of its own


async def test_a_key_whose_process_ended_before_the_order_may_be_sent_again(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await houses.start()
    token = await token_of(house, Role.ADMIN)
    with monkeypatch.context() as patch:
        patch.setattr(ChainBook, "propose", failing(RuntimeError("killed")))
        patch.setattr(Once, "forget", failing(RuntimeError("killed")))
        assert (await offered(house, token))[0] == 500
    assert (await offered(house, token))[0] == 409
    house = await houses.start()
    assert ((await offered(house, token))[0], await offers(house)) == (201, 1)


async def test_an_order_that_is_refused_after_it_was_kept_frees_its_key(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await houses.start()
    token = await token_of(house, Role.ADMIN)
    with monkeypatch.context() as patch:
        patch.setattr(ChainBook, "agreement", failing(RequestRefusedError("the contract says no")))
        assert (await offered(house, token))[0] == 422
    status, said = await offered(house, token)
    assert (status, "has an agreement that is not over" in said["detail"]) == (422, True)
