"""The page of settings, in a browser: what is saved, what is refused and stays typed, what others changed."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from sqlalchemy import delete

from aggregator import operator_choice
from aggregator.access import action
from aggregator.access.permission import Role
from aggregator.alarm_schema import notice_table, setting_table
from aggregator.notice_settings import MailSettings, NoticeSettings, Security
from aggregator.operator_choice import DisplayChoice, NoticeChoice, RetentionChoice
from aggregator.web_settings import WebSettings
from tests.aggregator.conftest import Prepared, node_settings, running, write_settings
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import NOON, Site, both_themes, settled

HOOK = "https://hooks.example/flexpact"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def module_site(
    prepared: Prepared, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """A platform whose settings file permits one host and names a mail server."""
    folder = tmp_path_factory.mktemp("site")
    boxes = prepared.copy(folder)
    mail = MailSettings(host="127.0.0.1", port=1, security=Security.NONE, sender="flexpact@example.org")
    notices = NoticeSettings(hosts=("hooks.example",), secret_file=_secret(folder), mail=mail)
    settings = write_settings(folder, [node_settings(n) for n in (1, 2, 3)]).model_copy(
        update={"web": WebSettings(port=0, insecure_dev=True), "notices": notices}
    )
    async with running(settings, boxes) as platform:
        aggregator = platform.aggregator
        assert aggregator is not None and aggregator.web is not None and aggregator._db is not None
        yield Site(platform, aggregator._db, aggregator.web.address, browser)


def _secret(folder: Path) -> Path:
    path = folder / "webhook.secret"
    path.write_text(f"whsec_{base64.b64encode(b'k' * 32).decode()}", encoding="ascii")
    path.chmod(0o600)
    return path


@pytest_asyncio.fixture(loop_scope="session")
async def admin(site: Site) -> Page:
    """A tab of an admin; nothing was set yet, and it is noon."""
    await site.platform.clock.move(NOON)
    async with site.db.write() as conn:
        await conn.execute(delete(setting_table))
        await conn.execute(delete(notice_table))
    tab = await site.sign_in(Role.ADMIN)
    await tab.goto("/settings")
    await settled(tab)
    return tab


async def test_whom_to_tell_is_saved_and_stands_in_the_trail(
    site: Site, admin: Page, screens: Screens
) -> None:
    card = admin.locator("#notices")
    await card.get_by_label("Webhooks").fill(f"{HOOK}\n{HOOK}")
    await card.get_by_label("Mail to").fill("ada@example.org")
    await card.get_by_label("Alarms from this severity on").select_option("3")
    await card.get_by_role("button", name="Save").click()
    await expect(admin.get_by_text("Saved.")).to_be_visible()
    async with site.db.read() as conn:
        choice, version = await operator_choice.read(conn, NoticeChoice)
        (line,) = await action.trail(conn, what="change settings", limit=1)
    assert (choice.webhooks, choice.mail_to, choice.least, version) == ((HOOK,), ("ada@example.org",), 3, 1)
    assert set(line.objects) == {
        "name=notices",
        "setting=notices.webhooks",
        "setting=notices.mail_to",
        "setting=notices.least",
    }
    await admin.get_by_role("button", name="Send a test").click()
    await expect(admin.get_by_text("Tests on their way: 2.")).to_be_visible()
    await expect(admin.locator("#sent-notices tbody tr")).to_have_count(2)
    await settled(admin)
    await screens(admin, "settings", whole=True)

    async def look(theme: str) -> None:
        assert await site.violations(admin) == []

    await both_themes(admin, look)


async def test_what_cannot_be_taken_is_said_beside_its_field_and_stays_typed(site: Site, admin: Page) -> None:
    for form, label, typed, said in (
        ("notices", "Webhooks", "https://evil.example/", "not among notices.hosts"),
        ("display", "Name beside the sign", "Pay\u202epal", "invisible character U+202E"),
        ("retention", "Alarms that have ended", "soon", "no whole number"),
    ):
        card = admin.locator(f"#{form}")
        await card.get_by_label(label).fill(typed)
        await card.get_by_role("button", name="Save").click()
        await expect(card.locator("small.error")).to_contain_text(said)
        await expect(card.get_by_label(label)).to_have_value(typed)
    async with site.db.read() as conn:
        for kind in (NoticeChoice, DisplayChoice, RetentionChoice):
            assert await operator_choice.read(conn, kind) == (kind(), 0)


async def test_what_somebody_else_saved_meanwhile_is_shown_before_it_is_replaced(
    site: Site, admin: Page
) -> None:
    card = admin.locator("#retention")
    await card.get_by_label("Alarms that have ended").fill("100")
    async with site.db.write() as conn:
        await operator_choice.write(conn, RetentionChoice(alarm_days=200), 0, "u_other", NOON)
    await card.get_by_role("button", name="Save").click()
    await expect(card.get_by_role("alert")).to_contain_text("Somebody else has saved meanwhile")
    await expect(card.locator("small.error")).to_contain_text("Somebody else has changed this to: 200")
    await expect(card.get_by_label("Alarms that have ended")).to_have_value("100")
    await card.get_by_role("button", name="Save").click()
    await expect(admin.get_by_text("Saved.")).to_be_visible()
    async with site.db.read() as conn:
        assert await operator_choice.read(conn, RetentionChoice) == (RetentionChoice(alarm_days=100), 2)


async def test_name_and_zone_are_those_of_everybody_at_once(site: Site, admin: Page) -> None:
    card = admin.locator("#display")
    await card.get_by_label("Name beside the sign").fill("Stadtwerke <Nord>")
    await card.get_by_label("Time zone").select_option("Europe/Berlin")
    await card.get_by_role("button", name="Save").click()
    other = await site.sign_in(Role.VIEWER)
    await other.goto("/")
    await settled(other)
    await expect(other.locator("a.brand")).to_have_text("Stadtwerke <Nord>")
    await expect(other.locator("#now")).to_have_text("13:00:00")
    await admin.goto("/settings")
    await card.get_by_label("Name beside the sign").fill("flexpact")
    await card.get_by_label("Time zone").select_option("")
    await card.get_by_role("button", name="Save").click()
    await expect(admin.get_by_text("Saved.")).to_be_visible()


async def test_a_telephone_shows_the_settings_and_no_secret_stands_on_the_page(
    site: Site, admin: Page, screens: Screens
) -> None:
    tab = await site.sign_in(Role.ADMIN, phone=True)
    await tab.goto("/settings")
    await settled(tab)
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    content = await tab.content()
    assert "hooks.example" in content
    assert "webhook.secret" not in content and "whsec_" not in content and "log.key" not in content
    await screens(tab, "settings-phone")


async def test_the_api_puts_the_same_and_refuses_a_stale_version(site: Site, admin: Page) -> None:
    token = await admin.locator("input[name=csrf]").first.input_value()
    headers = {"X-CSRF-Token": token, "Origin": site.address}
    body = {"version": 0, "alarm_days": 90, "notice_days": 10}
    done = await admin.request.put("/api/v1/settings/retention", data=body, headers=headers)
    assert (done.status, (await done.json())["version"]) == (200, 1)
    stale = await admin.request.put("/api/v1/settings/retention", data=body, headers=headers)
    assert stale.status == 409
    assert "version 1, and you have seen 0" in (await stale.json())["detail"]
    wrong = {"version": 0, "webhooks": ["https://evil.example/"]}
    refused = await admin.request.put("/api/v1/settings/notices", data=wrong, headers=headers)
    assert refused.status == 422
    assert (await refused.json())["errors"][0]["field"] == "webhooks"
    listed = await (await admin.request.get("/api/v1/settings")).json()
    found = {one["name"]: one["values"] for one in listed["settings"]}
    assert found["retention"]["alarm_days"] == 90
    assert listed["from_file"]["log.origin"] == "test.example/log"
