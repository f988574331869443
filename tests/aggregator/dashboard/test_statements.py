"""The settlement in a browser: from the first page to a statement, its filters, revisions and exports."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Page, expect

from aggregator import statement_list
from aggregator.access.permission import Role
from aggregator.settings import ProgrammeSettings
from aggregator.statement_list import Choice, Row
from ledger import agreement_store
from ledger.agreement import Booking, Outcome, Settled, Standing, Status, Suspender, Terms
from ledger.agreement_store import Account
from tests.aggregator.conftest import END, START
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled
from tests.aggregator.test_statement_export import verify

CALENDAR = ProgrammeSettings().calendar()


def content_of(path: Path) -> bytes:
    """What was saved."""
    return path.read_bytes()


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def late_reading(module_site: Site) -> str:
    """One event of two nodes that is settled, and of one of them again after a late reading."""
    platform = module_site.platform
    answer = await platform.ask(5)
    first = str(answer["nodes"][0]["ven_name"])
    await platform.jump(END, silent=frozenset({first}))
    await platform.clock.move(END + timedelta(days=2))
    await platform.settled(len(answer["nodes"]))
    late = platform.boxes[first]
    await late.report("telemetry", END - timedelta(hours=5), END, platform.clock.now)
    await platform.settled(len(answer["nodes"]) + 1)
    return first


async def test_two_clicks_after_the_first_page_lead_to_a_statement(
    site: Site, operator: Page, screens: Screens
) -> None:
    await operator.goto("/")
    await operator.get_by_role("link", name="Settlement", exact=True).click()
    await settled(operator)
    row = operator.locator("#settlement-rows tbody tr")
    await expect(row.first).to_contain_text("€")
    await screens(operator, "settlement")
    await row.first.get_by_role("link").first.click()
    await expect(operator.get_by_role("heading", name="How the baseline was made")).to_be_visible()
    await expect(operator.get_by_text("Method 10-of-10: for each quarter hour")).to_be_visible()
    await expect(operator.get_by_role("heading", name="Interval by interval")).to_be_visible()


async def test_a_late_reading_makes_a_revision_beside_the_first_that_says_why(
    site: Site, operator: Page, late_reading: str, screens: Screens
) -> None:
    await operator.goto(f"/settlement?node={late_reading}&revisions=all")
    first = operator.locator("#settlement-rows tbody tr").last
    await first.get_by_role("link").first.click()
    await expect(operator.get_by_text("a later one counts")).to_be_visible()
    table = operator.locator("#revisions")
    await expect(table).to_contain_text("8 readings came or changed")
    await operator.get_by_role("link", name="Open the newest").click()
    await expect(operator.get_by_text("a later one counts")).to_have_count(0)
    await settled(operator)
    await screens(operator, "settlement-statement", whole=True)


async def test_the_filter_keeps_what_was_typed_and_says_what_is_wrong(site: Site, operator: Page) -> None:
    await operator.goto("/settlement?month=2026-13&event=%E2%80%AEevil")
    await expect(operator.get_by_label("Event")).to_have_value("\u202eevil")
    await expect(operator.locator("#month-error")).to_contain_text("a month is written such as 2026-01")
    await expect(operator.locator("#event-error")).to_contain_text("cannot be seen")
    for path in ("/settlement?page=99999999999999999999", "/ledger?before=x", "/audit?before=x"):
        await operator.goto(path)
        await settled(operator)
        alert = operator.locator("main").get_by_role("alert")
        await expect(alert).to_be_visible()
        for topic in ("statements", "ledger"):  # news does not take it away
            await operator.evaluate(
                "topic => document.body.dispatchEvent(new CustomEvent(topic))", f"live:{topic}"
            )
        await operator.wait_for_load_state("networkidle")
        await expect(alert).to_be_visible()


async def test_the_list_is_summed_by_event_node_and_month(site: Site, operator: Page) -> None:
    await operator.goto("/settlement")
    for tab, count in (("By event", 1), ("By node", 2), ("By month", 1)):
        await operator.get_by_role("link", name=tab).click()
        await expect(operator.locator("#settlement-rows tbody tr")).to_have_count(count)
    await operator.locator("#settlement-rows tbody a").first.click()
    await expect(operator).to_have_url(f"{site.address}/settlement?month=2026-01")


async def test_a_program_gets_the_sums_and_the_revisions_of_a_statement(site: Site, operator: Page) -> None:
    (month,) = (await (await operator.request.get("/api/v1/statements/sums?by=month")).json())["sums"]
    assert (month["of"], month["statements"], month["currency"]) == ("2026-01", 2, "EUR")
    found = await (await operator.request.get("/api/v1/statements/1")).json()
    changed = [one["readings_changed"] for one in found["revisions"]]
    other = await (await operator.request.get("/api/v1/statements/2")).json()
    changed += [one["readings_changed"] for one in other["revisions"]]
    assert sorted(changed) == [0, 0, 8]
    assert (await operator.request.get("/api/v1/statements/sums?month=2026-13")).status == 422
    assert (await operator.request.get("/api/v1/statements/9999")).status == 404


async def test_what_the_list_shows_is_saved_in_each_kind(site: Site, operator: Page) -> None:
    await operator.goto("/settlement?node=node-2")
    for kind, head in (("CSV", b"\xef\xbb\xbf"), ("XLSX", b"PK"), ("PDF", b"%PDF"), ("Signed JSON", b"{")):
        async with operator.expect_download() as saved:
            await operator.get_by_role("button", name=kind, exact=True).click()
        raw = content_of(await (await saved.value).path())
        assert raw.startswith(head)
        if kind == "CSV":
            assert b"node-2" in raw
            assert b"node-1" not in raw
        if kind == "Signed JSON":
            answer = await operator.request.get("/api/v1/trust")
            (key,) = re.findall(r'^key = "(.*)"$', (await answer.json())["trust"], re.MULTILINE)
            verify(raw, key)
    await operator.locator("#settlement-rows tbody tr").first.get_by_role("link").first.click()
    await operator.wait_for_url(re.compile(r"/settlement/\d+$"))
    number = operator.url.rpartition("/")[2]
    for kind, head in (("PDF", b"%PDF"), ("Signed JSON", b"{")):
        async with operator.expect_download() as saved:
            await operator.get_by_role("button", name=kind, exact=True).click()
        raw = content_of(await (await saved.value).path())
        assert raw.startswith(head)
    assert [one["number"] for one in json.loads(raw)["document"]["statements"]] == [int(number)]


async def test_a_booking_is_shown_with_its_agreement_and_what_is_owed(
    site: Site, operator: Page, screens: Screens
) -> None:
    agreement_id = await booked(site)
    await operator.goto("/ledger/agreements")
    await expect(operator.locator("#agreement-rows tbody tr")).to_contain_text("active")
    await screens(operator, "ledger-agreements")
    await operator.locator("#agreement-rows tbody a").click()
    await expect(operator.get_by_text("€1.92").first).to_be_visible()
    await expect(operator.get_by_text("The chain does not answer now.")).to_be_visible()
    assert await site.violations(operator) == []
    await settled(operator)
    await screens(operator, "ledger-agreement")
    await operator.goto("/settlement?node=node-2")
    await operator.locator("#settlement-rows tbody a").first.click()
    await expect(operator.get_by_role("heading", name="Booked on the chain")).to_be_visible()
    await expect(operator.locator(f'a[href="/ledger/agreements/{agreement_id}"]')).to_be_visible()
    assert (await operator.request.get("/ledger/agreements/00")).status == 404


async def booked(site: Site) -> str:
    """An agreement of the second node as the chain would show it, and its event booked and settled."""
    now = site.platform.clock.now
    start_s, now_s = int(START.timestamp()), int(now.timestamp())
    terms = Terms(
        aggregator=bytes(20),
        starts_at=start_s,
        expires_at=start_s + 90 * 86_400,
        node=bytes([2]) * 20,
        capacity_w=50_000,
        notice_s=3600,
        threshold_ppm=800_000,
        arbiter=bytes([3]) * 20,
        payment_term_s=86_400,
        dispute_window_s=3600,
        utc_offset_s=0,
        price_micro=32_000_000,
        penalty_micro=20_000_000,
        max_calls_per_day=1,
    )
    standing = Standing(
        terms=terms,
        accepted_at=start_s,
        closes_at=0,
        debt=0,
        withdrawable=192,
        suspender=Suspender.NOBODY,
        parties_active=True,
        earliest_due_at=now_s + 86_400,
    )
    async with site.db.write() as conn:
        (row,) = await statement_list.rows(conn, Choice(node="node-2"), CALENDAR)
        agreement_id = await agreement_store.add_agreement(conn, row.ven_id, terms, now)
        await agreement_store.see_agreements(conn, {agreement_id: standing}, now)
        booking = Booking(
            signal_hash=bytes(32),
            response_hash=bytes(32),
            measurement_hash=bytes(32),
            notified_at=start_s,
            starts_at=int(row.start.timestamp()),
            duration_s=7200,
            requested_wh=row.requested_wh,
            delivered_wh=row.delivered_wh,
            outcome=Outcome.MEASURED,
        )
        await agreement_store.add_account(conn, (row.ven_id, row.event_id), agreement_id, booking, now)
    return agreement_id.hex()


async def test_what_the_contract_says_otherwise_is_named_on_the_statement(site: Site, operator: Page) -> None:
    row, account = await booking_of(site)
    same = Settled(
        booking_hash=bytes(32),
        change_hash=bytes(32),
        booked_at=0,
        changed_at=0,
        requested_wh=row.requested_wh,
        delivered_wh=row.delivered_wh,
        revision=row.revision,
        outcome=Outcome.MEASURED,
        status=Status.RESOLVED,
        incentive_minor=row.incentive_minor,
        penalty_minor=row.penalty_minor,
        final_at=0,
        due_at=0,
    )
    await shows(site, account, same)
    await operator.goto(f"/settlement/{row.number}")
    await expect(operator.get_by_role("heading", name="Booked on the chain")).to_be_visible()
    await expect(operator.locator("#differences")).to_have_count(0)
    other = replace(same, penalty_minor=row.penalty_minor + 7, delivered_wh=row.delivered_wh - 1000)
    await shows(site, account, other)
    await operator.reload()
    named = operator.locator("#differences li")
    texts = [text.split(":")[0] for text in await named.all_text_contents()]
    assert texts == ["Delivered", "Penalty", "Amount"]
    await expect(named.nth(1)).to_contain_text("/ €0.07")
    assert await site.violations(operator) == []


async def booking_of(site: Site) -> tuple[Row, Account]:
    """The second node's statement and what is booked of it, whether or not another test has booked it."""
    async with site.db.read() as conn:
        (row,) = await statement_list.rows(conn, Choice(node="node-2"), CALENDAR)
        account = await agreement_store.account(conn, row.ven_id, row.event_id)
    if account is not None:
        return row, account
    await booked(site)
    return await booking_of(site)


async def shows(site: Site, account: Account, settled: Settled) -> None:
    """The chain shows that, and is done with it."""
    async with site.db.write() as conn:
        await agreement_store.see_account(conn, account, settled, block=(1, bytes(32)), look_at=None)


async def test_no_barrier_is_found_in_either_theme(site: Site, operator: Page) -> None:
    for path in ("/settlement", "/settlement/1", "/settlement?event=none"):
        await operator.goto(path)

        async def look(theme: str) -> None:
            assert await site.violations(operator) == []

        await both_themes(operator, look)


async def test_a_telephone_shows_it_without_scrolling_sideways(site: Site, screens: Screens) -> None:
    tab = await site.sign_in(Role.AUDITOR, phone=True)
    await tab.goto("/settlement/1")
    await settled(tab)
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await tab.goto("/settlement")
    await settled(tab)
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await screens(tab, "settlement-phone")
