"""A prosumer's pages, on a telephone: what comes, what his home did and got, and that it can be proved."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from sqlalchemy import func, select

from aggregator import share
from aggregator.access import cookie, session
from aggregator.access.access import wall_clock
from aggregator.access.action import Action, Outcome
from aggregator.access.permission import Role
from aggregator.access.principal import Principal
from aggregator.schema import statement_table
from aggregator.topic import Changed, Topic
from aggregator.web_settings import WebSettings
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.trust import Trust
from ledger.verify import verify_receipt
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import END, START, Prepared, node_settings, running, write_settings
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled
from vtn.schema import reading_table
from vtn.store import after_commit

HOME, NEIGHBOUR = "home-01", "home-02"
PLACES = ("/home", "/home/next", "/home/earned", "/home/load.json", "/home/events", "/home/money")
OPERATIONS = ("/api/v1/home", "/api/v1/home/events", "/api/v1/home/money")
DAY = "/api/v1/home/readings?start=2026-01-20T00:00:00Z&end=2026-01-21T00:00:00Z"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def module_site(
    prepared: Prepared, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """As everywhere, and with a chain: receipts are to be had."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "chain").mkdir()
    chain = Chain(folder / "chain")
    boxes = prepared.copy(folder)
    nodes = [node_settings(n) for n in (1, 2, 3)]
    settings = write_settings(folder, nodes, chain=await chain.start()).model_copy(
        update={"web": WebSettings(port=0, insecure_dev=True)}
    )
    async with running(settings, boxes) as platform:
        aggregator = platform.aggregator
        assert aggregator is not None and aggregator.web is not None and aggregator._db is not None
        yield Site(platform, aggregator._db, aggregator.web.address, browser)
    await chain.close()


async def cookie_of(site: Site, home: str | None = HOME, node: str = "node-1") -> dict[str, str]:
    """What a browser sends of somebody who lives in this home."""
    user = await site.user(
        Role.PROSUMER,
        f"{home} behind {node}",
        scope=frozenset({site.platform.boxes[node].ven_id}),
        home=home,
    )
    async with site.db.write() as conn:
        token = await session.begin(conn, user.user_id, "a test", wall_clock())
    return {"Cookie": f"{cookie.SESSION}={token}", "Origin": site.address}


async def asked(site: Site, headers: dict[str, str], path: str, status: int = 200) -> bytes:
    """What he is answered."""
    async with aiohttp.ClientSession() as http, http.get(site.address + path, headers=headers) as answer:
        content = await answer.read()
        assert answer.status == status, (path, content[:500])
        return content


async def said(site: Site, headers: dict[str, str], path: str) -> Any:
    """The same as JSON."""
    return json.loads(await asked(site, headers, path))


async def prosumer(site: Site) -> Page:
    """A tab on a telephone of somebody who lives behind the first node."""
    await cookie_of(site)
    return await site.sign_in(Role.PROSUMER, f"{HOME} behind node-1", phone=True)


async def fits(page: Page) -> bool:
    """Whether nobody has to scroll sideways."""
    return bool(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


async def statements(site: Site) -> list[dict[str, Any]]:
    """The statements' bodies, with number and detail."""
    t = statement_table
    async with site.db.read() as conn:
        rows = await conn.execute(select(t.c.seq, t.c.body, t.c.detail).order_by(t.c.seq))
        return [{**json.loads(body), "number": seq, "detail": json.loads(text)} for seq, body, text in rows]


async def test_before_the_first_event_the_pages_say_what_will_stand_there(site: Site) -> None:
    tab = await prosumer(site)
    for place, text in (
        ("/home", "Nothing is planned"),
        ("/home/events", "no event yet"),
        ("/home/money", "no money yet"),
        ("/home/data", "Everything that is kept of you"),
    ):
        await tab.goto(place)
        await settled(tab)
        await expect(tab.get_by_role("main")).to_contain_text(text)
        assert await fits(tab), place
    await tab.goto("/login")
    await tab.wait_for_url("**/home")


async def test_an_event_is_announced_runs_and_is_paid_while_the_page_is_open(
    site: Site, screens: Screens
) -> None:
    tab, uncalled = await prosumer(site), await cookie_of(site, HOME, "node-3")
    await tab.goto("/home")
    await settled(tab)
    coming = tab.locator("#home-next")
    async with aiohttp.ClientSession() as http:
        socket = await http.ws_connect(f"{site.address}/live", headers=uncalled)
        await site.platform.ask(5)
        await expect(coming).to_contain_text("Today, 17:00 to 19:00 UTC")
        await expect(coming).to_contain_text("Planned")
        await expect(tab.locator("#home-load.drawn")).to_be_visible()
        await screens(tab, "home-coming-phone", whole=True)
        await site.platform.jump(START + timedelta(hours=17, minutes=45))
        await expect(coming).to_contain_text("Running now")
        await site.platform.jump(END)
        await site.platform.settled(2)
        await site.platform.post("/seal", {"timeout_s": 60})
        await expect(tab.locator("#home-earned .sum")).to_contain_text("€")
        await expect(coming).to_contain_text("Nothing is planned")
        # who was not called hears of nobody's money and of nobody's records
        async with site.db.write() as conn:
            after_commit(conn, Changed(Topic.ALARMS, site.platform.boxes["node-3"].ven_id))
        heard: set[str] = set()
        async with asyncio.timeout(20):
            while Topic.ALARMS not in heard:
                heard |= set((await socket.receive_json())["topics"])
        assert Topic.REPORTS in heard
        assert not heard & {Topic.STATEMENTS, Topic.LEDGER}
        await socket.close()
    await tab.reload()
    await settled(tab)
    assert await fits(tab)
    await screens(tab, "home-phone", whole=True)
    await tab.get_by_role("navigation", name="My home").get_by_role("link", name="Money").click()
    await settled(tab)
    await expect(tab.get_by_text("January 2026")).to_be_visible()
    assert await fits(tab)
    await screens(tab, "home-money-phone")
    await tab.goto("/home/data")
    await settled(tab)
    assert await fits(tab)
    await screens(tab, "home-data-phone", whole=True)


async def test_what_the_home_did_and_got_is_shown_with_its_receipt(site: Site, screens: Screens) -> None:
    tab = await prosumer(site)
    await tab.goto("/home/events")
    await settled(tab)
    await screens(tab, "home-events-phone")

    async def no_barrier(theme: str) -> None:
        assert await site.violations(tab) == []

    await tab.get_by_role("link", name="17:00 to 19:00").click()
    await settled(tab)
    await expect(tab.get_by_text("2.00 kWh less than usual")).to_be_visible()
    assert await fits(tab)
    await screens(tab, "home-event-phone", whole=True)
    await both_themes(tab, no_barrier)
    await tab.get_by_role("link", name="First calculation").click()
    await settled(tab)
    await expect(tab.get_by_text("nobody has changed it since")).to_be_visible()
    await expect(tab.get_by_text("not checked")).to_have_count(0)
    assert await fits(tab)
    await screens(tab, "home-receipt-phone", whole=True)
    await both_themes(tab, no_barrier)
    async with tab.expect_download() as waiting:
        await tab.get_by_role("button", name="Download the receipt").click()
    with zipfile.ZipFile(await (await waiting.value).path()) as files:
        record = Record.from_file(files.read("record.json"))
        receipt = Receipt.from_file(files.read("receipt.txt"))
        opening = json.loads(files.read("share.json"))
        assert verify_receipt(record, receipt, Trust.from_file(files.read("trust.toml"))).complete
    made = share.commitment(opening["home"], opening["minor"], opening["salt"])
    assert made in record.body["shares"]  # type: ignore[operator] # a list of texts


@pytest.mark.goal(25, 88)
async def test_two_homes_see_their_own_alone_on_pages_in_answers_and_in_files(site: Site) -> None:
    (first, *others) = await statements(site)
    foreign = next(one for one in others if one["ven_id"] != first["ven_id"])
    of_first = next(name for name, box in site.platform.boxes.items() if box.ven_id == first["ven_id"])
    for home, neighbour in ((HOME, NEIGHBOUR), (NEIGHBOUR, HOME)):
        me = await cookie_of(site, home, of_first)
        event = f"{first['event_id']}/{first['ven_id']}"
        own = (f"/home/events/{event}", f"/home/statements/{first['number']}", f"/api/v1/home/events/{event}")
        seen = b"".join([await asked(site, me, path) for path in (*PLACES, *OPERATIONS, DAY, *own)])
        receipt = await said(site, me, f"/api/v1/home/statements/{first['number']}/receipt")
        assert receipt["holds"]
        with zipfile.ZipFile(io.BytesIO(await asked(site, me, "/home/data.zip"))) as files:
            seen += b"".join(files.read(name) for name in files.namelist())
        seen += json.dumps(receipt).encode()
        salts = first["detail"]["share_salts"]
        assert salts[home].encode() in seen
        for secret in (neighbour, "home-03", salts[neighbour], foreign["ven_id"]):
            assert secret.encode() not in seen, secret
        (month,) = (await said(site, me, "/api/v1/home/money"))["months"]
        assert month["amount_minor"] == first["detail"]["shares_minor"][home]
        theirs = f"{foreign['event_id']}/{foreign['ven_id']}"
        for path in (
            f"/home/events/{theirs}",
            f"/api/v1/home/events/{theirs}",
            f"/home/statements/{foreign['number']}",
            f"/home/statements/{foreign['number']}/receipt.zip",
            f"/api/v1/home/statements/{foreign['number']}/receipt",
            "/home/statements/9999999999999999999",
            "/home/statements/-1",
            "/home/statements/%E2%80%AE1",
        ):
            await asked(site, me, path, 404)
        for path in (
            "/overview/tiles",
            "/events",
            "/users",
            "/api/v1/vens",
            "/api/v1/statements",
            "/api/v1/receipts/0",
        ):
            await asked(site, me, path, 403)


@pytest.mark.goal(88)
async def test_the_file_with_all_data_is_complete(site: Site) -> None:
    me, t = await cookie_of(site), reading_table.c
    user, other = await site.user(Role.PROSUMER, f"{HOME} behind node-1"), await site.user(Role.VIEWER)
    async with site.db.write() as conn:
        for who, what in ((user, "mine"), (other, "another's")):
            done = Action(what=what, principal=Principal(user_id=who.user_id))
            await done.record(conn, Outcome.DONE, START)
    async with site.db.read() as conn:
        of_home = (t.ven_id == site.platform.boxes["node-1"].ven_id, t.r_id == HOME)
        kept = (await conn.execute(select(func.count()).where(*of_home))).scalar_one()
    with zipfile.ZipFile(io.BytesIO(await asked(site, me, "/home/data.zip"))) as files:
        content = {name: files.read(name) for name in files.namelist()}
    values = [json.loads(text) for name, text in content.items() if name.startswith("values/reading-")]
    assert sum(map(len, values)) == kept > 1000
    assert json.loads(content["account/user.json"])[0]["home"] == HOME
    assert json.loads(content["account/session.json"])
    assert [one["body"]["what"] for one in json.loads(content["account/actions.json"])] == ["mine"]
    assert not [name for name, text in content.items() if b"token_hash" in text or b'"password"' in text]
    events, shares = json.loads(content["events.json"]), json.loads(content["shares.json"])
    assert [one["number"] for one in events] == [one["number"] for one in shares]
    assert {name for name in content if name.startswith("receipts/")} == {
        f"receipts/{one['number']}/{name}"
        for one in shares
        for name in ("record.json", "receipt.txt", "trust.toml", "how-to-check.txt", "share.json")
    }


@pytest.mark.goal(25, 88)
async def test_an_account_for_a_whole_node_sees_its_sums_and_no_single_home(site: Site) -> None:
    me = await cookie_of(site, None)
    own = site.platform.boxes["node-1"].ven_id
    (mine,) = [one for one in await statements(site) if one["ven_id"] == own]
    (month,) = (await said(site, me, "/api/v1/home/money"))["months"]
    assert month["amount_minor"] == mine["amount_minor"]
    assert (await said(site, me, f"/api/v1/home/statements/{mine['number']}/receipt"))["holds"]
    home, whole = (
        await said(site, await cookie_of(site), "/api/v1/home"),
        await said(site, me, "/api/v1/home"),
    )
    assert whole["today"]["kw"][0] == pytest.approx(2 * home["today"]["kw"][0], rel=0.01)
    seen = await asked(site, me, DAY)
    with zipfile.ZipFile(io.BytesIO(await asked(site, me, "/home/data.zip"))) as files:
        seen += b"".join(files.read(name) for name in files.namelist())
    assert b'"load"' in seen
    assert b"home-0" not in seen
