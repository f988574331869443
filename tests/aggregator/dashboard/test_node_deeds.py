"""What an operator does about nodes, in a browser: said before, done once, never on stale grounds."""

from __future__ import annotations

from dataclasses import replace

from playwright.async_api import Page, expect

from aggregator.access.action import trail
from openadr import CreatePartyRegistration
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled
from vtn import outbox, registration
from vtn.registration import Ven

FINGERPRINT = "ab" * 32


async def _ven(site: Site, name: str) -> Ven:
    async with site.db.read() as conn:
        return next(ven for ven in await registration.vens(conn) if ven.ven_name == name)


async def _open(site: Site, operator: Page, name: str) -> None:
    await operator.goto(f"/nodes/{(await _ven(site, name)).ven_id}")
    await settled(operator)


async def test_a_suspension_says_what_it_does_asks_why_and_is_lifted(
    site: Site, operator: Page, screens: Screens
) -> None:
    await _open(site, operator, "node-1")
    await operator.get_by_role("button", name="Suspend").click()
    dialog = operator.get_by_role("dialog", name="Suspend the node")
    await expect(dialog).to_contain_text("no message of it is taken")
    await screens(operator, "node-suspend")
    await dialog.get_by_role("button", name="Suspend").click()
    await expect(dialog.locator("#reason-error")).to_be_visible()
    await dialog.get_by_label("Why").fill("meter \u202ebroken")
    await dialog.get_by_role("button", name="Suspend").click()
    await expect(dialog.locator("#reason-error")).to_contain_text("U+202E")
    await expect(dialog.get_by_label("Why")).to_have_value("meter \u202ebroken")

    async def look(theme: str) -> None:
        assert await site.violations(operator) == []

    await both_themes(operator, look)
    await dialog.get_by_label("Why").fill("its meter is broken")
    assert (await _ven(site, "node-1")).suspended_at is None
    await dialog.get_by_role("button", name="Suspend").click()
    await expect(operator.locator("#node-facts")).to_contain_text("Suspended since")
    async with site.db.read() as conn:
        entries = await trail(conn, what="node deed", limit=1)
    assert entries[0].detail == "its meter is broken"
    assert "deed=suspend" in entries[0].objects
    await operator.get_by_role("button", name="Lift the suspension").click()
    await operator.get_by_role("dialog").get_by_role("button", name="Lift the suspension").click()
    await expect(operator.locator("#node-facts")).not_to_contain_text("Suspended since")
    assert (await _ven(site, "node-1")).suspended_at is None


async def test_what_changed_meanwhile_is_told_and_nothing_done(site: Site, operator: Page) -> None:
    ven = await _ven(site, "node-2")
    await _open(site, operator, "node-2")
    await operator.get_by_role("button", name="Cancel the registration").click()
    dialog = operator.get_by_role("dialog")
    await dialog.get_by_label("Why").fill("moved out")
    async with site.db.write() as conn:
        await registration.suspend(conn, ven.ven_id, site.platform.clock())
    await dialog.get_by_role("button", name="Cancel the registration").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("It was registered and is suspended now.")
    await expect(dialog.get_by_label("Why")).to_have_value("moved out")
    async with site.db.read() as conn:
        assert outbox.CANCEL_PARTY_REGISTRATION not in await outbox.counts(conn, ven.ven_id)
    await dialog.get_by_role("button", name="Cancel the registration").click()
    await expect(operator.locator("#node-waiting")).to_contain_text("the end of its registration")
    async with site.db.write() as conn:
        await registration.resume(conn, ven.ven_id)


async def test_a_double_click_asks_once_and_a_repeat_changes_nothing(site: Site, operator: Page) -> None:
    ven = await _ven(site, "node-3")
    await _open(site, operator, "node-3")
    await operator.get_by_role("button", name="Ask to register again").click()
    dialog = operator.get_by_role("dialog")
    sent = await dialog.locator("input[name=seen]").input_value()
    await dialog.get_by_role("button", name="Ask").dblclick()
    await expect(operator.locator("#node-waiting")).to_contain_text("the request to register again")
    token = await operator.locator('meta[name="csrf-token"]').get_attribute("content") or ""
    answer = await operator.request.post(
        f"/nodes/{ven.ven_id}/do/again",
        form={"seen": sent},
        headers={"X-CSRF-Token": token, "Origin": site.address},
        max_redirects=0,
    )
    assert answer.status == 303
    async with site.db.read() as conn:
        assert (await outbox.counts(conn, ven.ven_id))[outbox.REQUEST_REREGISTRATION] == 1


async def test_a_node_is_enrolled_after_it_was_said_what_that_does(
    site: Site, operator: Page, screens: Screens
) -> None:
    await operator.goto("/nodes/new")
    await operator.get_by_label("Name", exact=True).fill("har\u202ebour")
    await operator.get_by_label("Fingerprint of its certificate").fill("12:34")
    await operator.get_by_label("Its other certificates are taken for").fill("1e9")
    await operator.get_by_role("button", name="See what it does").click()
    await expect(operator.locator("#ven_name-error")).to_contain_text("U+202E")
    await expect(operator.locator("#overlap_days-error")).to_be_visible()
    await expect(operator.get_by_label("Name", exact=True)).to_have_value("har\u202ebour")
    await operator.get_by_label("Name", exact=True).fill("harbour")
    await operator.get_by_label("Its other certificates are taken for").fill("30")
    await operator.get_by_role("button", name="See what it does").click()
    await expect(operator.locator("#fingerprint-error")).to_be_visible()
    assert await site.violations(operator) == []
    await screens(operator, "node-new")
    await operator.get_by_label("Fingerprint of its certificate").fill(FINGERPRINT)
    await operator.get_by_role("button", name="See what it does").click()
    await expect(operator.get_by_text("A new node harbour is made.")).to_be_visible()
    assert await site.violations(operator) == []
    await screens(operator, "node-enrol")
    await operator.get_by_role("button", name="Enrol it").click()
    await expect(operator.get_by_role("heading", name="harbour")).to_be_visible()
    await expect(operator.locator("#node-facts")).to_contain_text("Not registered")
    assert (await _ven(site, "harbour")).ven_id in operator.url


async def test_a_second_certificate_ends_the_first_and_one_of_them_is_withdrawn(
    site: Site, operator: Page, screens: Screens
) -> None:
    await _open(site, operator, "node-3")
    await operator.get_by_role("button", name="New certificate").click()
    await expect(operator.get_by_label("Name", exact=True)).to_have_value("node-3")
    await operator.get_by_label("Fingerprint of its certificate").fill("cd" * 32)
    await operator.get_by_role("button", name="See what it does").click()
    await expect(operator.get_by_text("is taken for 30 days more")).to_be_visible()
    await operator.get_by_role("button", name="Enrol it").click()
    rows = operator.get_by_role("region", name="Certificates").locator("tbody tr")
    await expect(rows).to_have_count(2)
    await rows.filter(has_text="CD:CD").get_by_role("button", name="Withdraw").click()
    dialog = operator.get_by_role("dialog")
    await expect(dialog).to_contain_text("00:03")
    await dialog.get_by_label("Why").fill("typed wrongly")
    await dialog.get_by_role("button", name="Withdraw").click()
    await expect(rows.filter(has_text="CD:CD")).to_contain_text("no longer taken")
    await screens(operator, "node-certificates")


async def test_who_asked_to_register_is_approved(site: Site, operator: Page, screens: Screens) -> None:
    stranger = replace(site.platform.boxes["node-1"], name="mill", fingerprint="ef" * 32, ven_id="")
    assert site.platform.aggregator is not None
    stranger.connect(site.platform.http, site.platform.aggregator.port)
    await stranger.say(CreatePartyRegistration(request_id="r", ven_name="mi\u202ell", http_pull_model=True))
    await operator.goto("/nodes/pending")
    await expect(operator.get_by_role("row", name="EF:EF")).to_contain_text("mi\ufffdll")
    assert await site.violations(operator) == []
    await screens(operator, "nodes-pending")
    await operator.get_by_role("button", name="Approve").click()
    dialog = operator.get_by_role("dialog")
    await screens(operator, "node-approve")
    await dialog.get_by_label("Name").fill("")
    await dialog.get_by_role("button", name="Approve").click()
    await expect(dialog.locator("#ven_name-error")).to_have_text("It is empty.")
    await dialog.get_by_label("Name").fill("mill")
    await dialog.get_by_role("button", name="Approve").dblclick()
    await expect(operator.get_by_role("heading", name="mill")).to_be_visible()
    await stranger.register(site.platform.clock.now)
    await expect(operator.locator("#node-facts")).to_contain_text("In contact")
