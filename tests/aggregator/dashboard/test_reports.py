"""Reports in a browser: what was asked for, asking for more, ending one, curves, values set aside, files."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from pyarrow import parquet

from aggregator.access.permission import Role
from tests.aggregator.conftest import START
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled

HOSTILE = "node-1\u202e\x07"
NOON = START + timedelta(hours=12)


@pytest_asyncio.fixture(loop_scope="session")
async def noon(site: Site) -> Site:
    """The site at noon, with the day's telemetry."""
    if site.platform.clock.now < NOON:
        await site.platform.jump(NOON)
    return site


async def test_who_is_asked_is_shown_before_and_a_double_click_asks_once(
    noon: Site, operator: Page, screens: Screens
) -> None:
    await operator.goto("/reports/ask")
    await settled(operator)
    await operator.get_by_label("Report", exact=True).select_option("TELEMETRY_USAGE")
    preview = operator.locator("#ask-preview")
    await expect(preview).to_contain_text("node-3")
    await operator.get_by_label("Nodes").fill("node-1\nnode-2")
    await expect(preview).not_to_contain_text("node-3")
    await operator.get_by_label("Data points").fill("load")
    await expect(preview.locator("dd").nth(2)).to_have_text("192")  # two points, a value each quarter hour
    await screens(operator, "reports-ask")
    await operator.get_by_role("button", name="Ask for it").dblclick()
    await operator.wait_for_url("**/reports")
    asked = operator.locator("#report-part tbody tr", has_text="operator-")
    await expect(asked).to_have_count(2)
    await expect(asked.first).to_contain_text("by an operator")


async def test_what_cannot_be_taken_is_said_beside_the_field_and_nothing_typed_is_lost(
    noon: Site, operator: Page
) -> None:
    await operator.goto("/reports/ask")
    await operator.get_by_label("Report", exact=True).select_option("HISTORY_USAGE")
    await operator.get_by_label("Nodes").fill(HOSTILE)
    await operator.get_by_label("Values every").fill("1e9")
    await operator.get_by_label("From: day").fill("1789-07-14")
    await operator.get_by_label("From: time, 24 hours").fill("25:00")
    await expect(operator.locator("#ask-preview")).to_contain_text("24 hours")
    await operator.get_by_role("button", name="Ask for it").click()
    await expect(operator.locator("#nodes-error")).to_contain_text("characters that cannot be seen")
    await expect(operator.locator("#granularity-error")).to_contain_text("no number of minutes")
    await expect(operator.locator("#start-error")).to_contain_text("24 hours")
    await expect(operator.get_by_label("Values every")).to_have_value("1e9")
    await expect(operator.get_by_label("Nodes")).to_have_value(HOSTILE)
    await operator.get_by_label("Nodes").fill("node-1\nnode-9")
    await operator.get_by_label("Values every").fill("15")
    await operator.get_by_label("From: day").fill("2026-01-19")
    await operator.get_by_label("From: time, 24 hours").fill("00:00")
    await operator.get_by_label("Until: day").fill("2026-01-20")
    await operator.get_by_label("Until: time, 24 hours").fill("00:00")
    await operator.get_by_label("Comes every").fill("0")
    await expect(operator.locator("#ask-preview")).to_contain_text("there is no such node")
    await operator.get_by_role("button", name="Ask for it").click()
    await expect(operator.locator("#nodes-error")).to_be_visible()
    await expect(operator.locator("#ask-preview")).to_contain_text("there is no such node")
    await operator.goto("/reports?text=node-1&report=HISTORY_USAGE")
    await expect(operator.locator("#report-part tbody tr")).to_have_count(1)  # the platform's own


async def test_a_report_ends_once_and_who_comes_later_is_told(
    noon: Site, operator: Page, screens: Screens
) -> None:
    first = noon.platform.boxes["node-3"]
    other = await operator.context.new_page()
    for tab in (operator, other):
        await tab.goto("/reports?text=node-3&report=x-FLEXIBILITY_OFFER")
        await settled(tab)
    await operator.get_by_role("button", name="End", exact=True).click()
    await expect(operator.get_by_role("dialog")).to_contain_text("told at its next poll")
    await other.get_by_role("button", name="End", exact=True).click()
    await expect(other.get_by_role("dialog")).to_be_visible()
    await screens(operator, "reports-end")
    await operator.get_by_role("button", name="End the report").click()
    await expect(operator.locator("#report-part tbody tr").first).to_contain_text("ending")
    await other.get_by_role("button", name="End the report").click()
    await expect(other.get_by_role("dialog")).to_contain_text("nothing was changed")
    await noon.platform.offer(first)  # its next report takes the cancellation along
    await operator.goto("/reports?text=node-3&report=x-FLEXIBILITY_OFFER")
    await expect(operator.locator("#report-part tbody tr").first).to_contain_text("ended by the operator")


async def test_new_readings_join_the_curves_without_a_reload(
    noon: Site, operator: Page, screens: Screens
) -> None:
    await operator.goto("/reports/readings")
    await settled(operator)
    await expect(operator.locator(".u-series", has_text="node-2: load")).to_be_visible()
    newest = operator.locator("#newest-values tbody tr").first
    await expect(newest).to_contain_text("11:45")
    await noon.platform.jump(NOON + timedelta(hours=1))
    await expect(newest).to_contain_text("12:45")
    await expect(newest).to_contain_text("Quality Good")
    await operator.get_by_text("As a table").click()
    await expect(operator.locator("#reading-curves tbody tr").nth(-4)).not_to_contain_text("unknown")
    await operator.reload()
    await settled(operator)
    await screens(operator, "reports-readings")


async def test_a_value_that_cannot_be_right_is_shown_with_its_reason(
    noon: Site, operator: Page, screens: Screens
) -> None:
    box = noon.platform.boxes["node-2"]
    now = noon.platform.clock.now
    await operator.goto("/reports/quarantine")
    await settled(operator)
    await expect(operator.get_by_text("Nothing was set aside.")).to_be_visible()
    await box.report("telemetry", now, now + timedelta(minutes=15), now, lambda r_id, at: 1e12)
    row = operator.locator("#aside-part tbody tr")
    await expect(row).to_have_count(4)
    await expect(row.first).to_contain_text("1000000000000.0")
    await expect(row.first.locator("td").last).not_to_be_empty()
    await screens(operator, "reports-aside")


async def test_a_file_holds_what_was_chosen_in_both_formats(
    noon: Site, operator: Page, screens: Screens, tmp_path: Path
) -> None:
    await operator.goto("/reports/export")
    await settled(operator)
    await operator.get_by_label("Nodes").fill("node-1, node-3")
    await operator.get_by_label("Data points").fill("load")
    await operator.locator("#report").select_option("TELEMETRY_USAGE")
    await operator.get_by_label("Until: time, 24 hours").fill("02:00")
    await expect(operator.locator("#export-count dd").first).to_have_text("16")
    await screens(operator, "reports-export")
    found = {}
    for name in ("CSV", "Parquet"):
        async with operator.expect_download() as waiting:
            await operator.get_by_role("button", name=name).click()
        file = await waiting.value
        await file.save_as(tmp_path / name)
        found[name] = (tmp_path / name).read_bytes()
    rows = list(csv.DictReader(io.StringIO(found["CSV"].decode("utf-8-sig"))))
    assert {row["node"] for row in rows} == {"node-1", "node-3"}
    assert (len(rows), rows[0]["start_utc"], rows[0]["value_unit"]) == (16, "2026-01-20T00:00:00Z", "Wh")
    same = parquet.read_table(io.BytesIO(found["Parquet"])).to_pylist()
    assert [row["mean_power_kw"] for row in same] == [float(row["mean_power_kw"]) for row in rows]


async def test_a_program_is_told_the_same(noon: Site, operator: Page) -> None:
    async def ask(path: str) -> dict[str, Any]:
        answer = await operator.request.get(f"/api/v1/{path}")
        assert answer.ok, await answer.text()
        found: dict[str, Any] = await answer.json()
        return found

    offered = await ask("reports?text=node-1")
    assert {one["report_name"] for one in offered["reports"]} >= {"HISTORY_USAGE", "TELEMETRY_USAGE"}
    asked = await ask("report-requests?text=node-1&report=HISTORY_USAGE")
    assert (asked["found"], asked.get("next"), asked["requests"][0]["report_name"]) == (
        1,
        None,
        "HISTORY_USAGE",
    )
    set_aside = await ask("quarantine")
    assert set_aside["found"] == len(set_aside["values"])
    node = noon.platform.boxes["node-1"].ven_id
    path = f"vens/{node}/readings?start=2026-01-20T00:00:00Z&end=2026-01-20T02:00:00Z&r_id=load&limit=5"
    first = await ask(path)
    rest = await ask(f"{path}&after={quote(first['next'])}")
    starts = [one["start"] for page in (first, rest) for one in page["readings"]]
    assert starts == [f"2026-01-20T0{at // 4}:{at % 4 * 15:02}:00Z" for at in range(8)]
    assert first["readings"][0]["unit"] == "Wh" and "next" not in rest
    assert first["readings"][0]["mean_power_kw"] == first["readings"][0]["value"] / 250


async def test_a_program_asks_several_nodes_or_none(noon: Site, operator: Page) -> None:
    await operator.goto("/reports/ask")
    csrf = await operator.locator("input[name=csrf]").first.get_attribute("value")
    body = {"report_name": "TELEMETRY_USAGE", "granularity": "PT15M", "report_back": "PT1H"}
    headers = {"X-CSRF-Token": str(csrf), "Origin": noon.address}

    async def ask(**more: object) -> tuple[int, dict[str, Any]]:
        answer = await operator.request.post(
            "/api/v1/report-requests", data={**body, **more}, headers=headers
        )
        return answer.status, await answer.json()

    status, refused = await ask(nodes=["node-1", "node-9"])
    assert (status, refused["errors"][0]["value"]) == (422, "node-9")
    assert await ask(report_request_id="fleet") == (
        202,
        {"report_request_id": "fleet", "nodes": ["node-1", "node-2", "node-3"]},
    )
    assert await ask(report_request_id="fleet") == (202, {"report_request_id": "fleet", "nodes": []})


@pytest.mark.long
async def test_no_barrier_is_found_and_a_telephone_shows_all_of_it(noon: Site, screens: Screens) -> None:
    tab = await noon.sign_in(Role.VIEWER, phone=True)
    for path in ("/reports", "/reports/offered", "/reports/readings", "/reports/export"):
        await tab.goto(path)
        await settled(tab)
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), path

        async def look(theme: str, path: str = path) -> None:
            assert await noon.violations(tab) == [], (path, theme)

        await both_themes(tab, look)
    await tab.goto("/reports")
    await settled(tab)
    await expect(tab.get_by_role("button", name="End", exact=True)).to_have_count(0)
    await screens(tab, "reports-phone")
    wide = await noon.sign_in(Role.OPERATOR)
    for path, name in (("/reports", "reports"), ("/reports/offered", "reports-catalogue")):
        await wide.goto(path)
        await settled(wide)
        await screens(wide, name)
