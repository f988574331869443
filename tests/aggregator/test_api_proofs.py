"""Evidence below /api/v1: what a node has on the chain, a record verified, an archive; as on the pages."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from aggregator.access.permission import Role
from aggregator.web_settings import WebSettings
from ledger.setup import Deployed
from tests.aggregator.access.people import Person, sign_in
from tests.aggregator.agreed import WINDOW_S, Agreed
from tests.aggregator.conftest import END, Prepared, agreed_platform
from tests.aggregator.test_api_exports import V1, raw

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agreed(
    prepared: Prepared, programme: tuple[Path, Deployed], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Agreed]:
    """A platform with a dashboard whose statements are settled on a chain."""
    web = WebSettings(port=0, insecure_dev=True)
    async with agreed_platform(prepared, programme, tmp_path_factory.mktemp("agreed"), web=web) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def auditor(agreed: Agreed) -> AsyncIterator[Person]:
    """Somebody who reads and verifies only."""
    aggregator = agreed.platform.aggregator
    assert aggregator is not None and aggregator.web is not None
    web = aggregator.web
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield await sign_in(web.desk.access, http, web.address, Role.AUDITOR)


async def settled(agreed: Agreed) -> tuple[str, int]:
    """An agreement, and what its node was paid for an event and has withdrawn."""
    agreement_id, platform = await agreed.agree(), agreed.platform
    await platform.ask(3)
    await platform.jump(END)
    statements = {one["ven_id"]: one for one in await platform.settled(2)}
    await platform.post("/seal", {"timeout_s": 60})
    booked = await platform.get(f"/agreements/{agreement_id}")
    await platform.clock.move(END + timedelta(seconds=WINDOW_S + 300))
    await platform.post("/agreements/look")
    await agreed.act("node", "withdraw", bytes.fromhex(agreement_id))
    return agreement_id, statements[booked["ven_id"]]["amount_minor"]


async def test_the_balance_is_what_the_chain_says_and_without_it_nobody_guesses(
    agreed: Agreed, auditor: Person
) -> None:
    agreement_id, amount = await settled(agreed)
    path = f"/agreements/{agreement_id}/tokens"
    answer, shown = await asked(auditor, path)
    assert (answer.status, shown["minor"], shown["currency"]) == (200, amount, "EUR")
    assert (shown["account"], await agreed.balance()) == (agreed.account("node"), amount > 0 and amount)
    page = (await auditor.get(f"/ledger{path}")).text
    assert f"<strong>€{amount / 100:.2f}</strong>" in page
    assert agreed.account("node") in page
    await agreed.server.stop()
    assert (await asked(auditor, path))[0].status == 503
    assert "The chain does not answer now." in (await auditor.get(f"/ledger{path}")).text


async def asked(who: Person, path: str) -> tuple[aiohttp.ClientResponse, dict[str, object]]:
    """The answer and its JSON."""
    answer, _ = await raw(who, V1 + path)
    return answer, await answer.json()


async def verified(who: Person, index: str, trust: str = "") -> tuple[int, dict[str, object]]:
    """What the server says of a record."""
    headers = {"Cookie": "; ".join(f"{name}={text}" for name, text in who.jar.items())}
    headers |= {"Origin": who.address, "X-CSRF-Token": who.csrf}
    address = f"{who.address}{V1}/records/{index}/verify"
    async with who.http.post(address, json={"trust": trust}, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_a_record_is_verified_step_by_step_and_a_wrong_trust_file_names_the_step(
    agreed: Agreed, auditor: Person
) -> None:
    status, good = await verified(auditor, "0")
    steps = good["steps"]
    assert (status, good["verified"], good["own_trust"]) == (200, True, True)
    assert isinstance(steps, list)
    assert {"inclusion", "checkpoint", "storage"} <= {one["name"] for one in steps}
    _, trust = await asked(auditor, "/trust")
    other = str(trust["trust"]).replace("test.example/log", "other.example/log")
    status, bad = await verified(auditor, "0", other)
    assert (status, bad["verified"], bad["own_trust"]) == (200, False, False)
    assert isinstance(bad["failure"], dict)
    assert bad["failure"]["text"]
    assert (await verified(auditor, "0", "x" * 65_537))[0] == 422
    assert (await verified(auditor, "999999"))[0] == 404


async def test_the_archive_of_a_choice_is_the_one_of_the_page(agreed: Agreed, auditor: Person) -> None:
    answer, content = await raw(auditor, f"{V1}/records/receipts.zip", kind="statement")
    _, on_page = await raw(auditor, "/ledger/receipts.zip", kind="statement")
    assert (answer.status, answer.content_type) == (200, "application/zip")
    assert content == on_page
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".receipt")]) == 2
    assert (await asked(auditor, "/records/receipts.zip?kind=nothing"))[0].status == 422
