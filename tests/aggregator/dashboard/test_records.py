"""The ledger, the audit trail and the auditor's screens in a browser, with a chain of the tests' own."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import shlex
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect
from sqlalchemy import update

from aggregator.access.permission import Role
from aggregator.record_list import leaf_hash_at
from aggregator.web_settings import WebSettings
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.store import leaf_table
from ledger.trust import Trust
from ledger.verify import verify_receipt
from openadr import Message, encode
from tests.aggregator.box import Box
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import Prepared, node_settings, running, write_settings
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled
from vtn import original

ERASED = 2


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def module_site(
    prepared: Prepared, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """Three nodes with history, all of it anchored, and one record erased since."""
    folder = tmp_path_factory.mktemp("site")
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
        assert (await platform.post("/seal", {"timeout_s": 60}))["complete"]
        async with aggregator._db.write() as conn:
            gone = update(leaf_table).where(leaf_table.c.leaf_index == ERASED)
            await conn.execute(gone.values(key=f"erased/{ERASED}", salt=None, canonical=None))
        yield Site(platform, aggregator._db, aggregator.web.address, browser)
    await chain.close()


@pytest_asyncio.fixture(loop_scope="session")
async def auditor(site: Site) -> Page:
    """A tab of an auditor."""
    return await site.sign_in(Role.AUDITOR)


async def test_an_auditor_begins_at_what_to_check_and_sees_nothing_else(
    site: Site, auditor: Page, screens: Screens
) -> None:
    await auditor.goto("/login")
    await expect(auditor).to_have_url(f"{site.address}/auditor")
    places = auditor.get_by_role("navigation", name="Sections").get_by_role("link")
    assert await places.all_inner_texts() == ["What to check", "Settlement", "Ledger", "Audit trail"]
    for path in ("/nodes", "/events", "/users"):
        answer = await auditor.request.get(path)
        assert answer.status in {403, 404}
    await settled(auditor)
    await screens(auditor, "auditor")
    await auditor.goto("/ledger/checkpoints")
    await settled(auditor)
    assert await site.violations(auditor) == []
    await screens(auditor, "ledger-checkpoints")


async def test_the_browser_and_the_server_verify_a_record(
    site: Site, auditor: Page, screens: Screens
) -> None:
    await auditor.goto("/ledger?kind=report")
    await settled(auditor)
    await screens(auditor, "ledger")
    await auditor.locator("#ledger-rows tbody a").first.click()
    await auditor.get_by_role("button", name="Verify in this browser").click()
    await expect(auditor.locator("#browser-steps .badge.ok")).to_have_count(3)
    await auditor.get_by_role("button", name="Verify on the server").click()
    steps = auditor.locator("#server-steps")
    await expect(steps).to_contain_text("Verified: every step was checked.")
    await expect(steps).to_contain_text("own trust file")
    await expect(steps.locator("li")).to_have_count(7)
    await screens(auditor, "ledger-record", whole=True)


async def test_a_browser_that_is_given_another_record_says_so(site: Site, auditor: Page) -> None:
    async def forge(route: Route) -> None:
        answer = await route.fetch()
        said = json.loads(await answer.text())
        await route.fulfill(response=answer, body=json.dumps({**said, "key": "another"}))

    await auditor.route("**/record.json", forge)
    await auditor.goto("/ledger/0")
    await auditor.get_by_role("button", name="Verify in this browser").click()
    await expect(auditor.locator("#browser-steps .badge.bad")).to_have_text("WRONG")


async def test_a_trust_file_of_somebody_else_fails_with_both_values(site: Site, auditor: Page) -> None:
    trust = Trust.from_file(await (await auditor.request.get("/ledger/trust.toml")).body())
    assert trust.chain is not None
    await auditor.goto("/ledger/0")
    await auditor.get_by_label("Trust file").fill(trust.text().replace("valid", "x") + "#")
    await auditor.get_by_role("button", name="Verify on the server").click()
    await expect(auditor.locator("#server-steps")).to_contain_text("The trust file")
    await expect(auditor.locator("#server-steps .badge.bad")).to_be_visible()
    other = replace(trust, chain=replace(trust.chain, contract=bytes(20)))
    await auditor.get_by_label("Trust file").fill(other.text())
    await auditor.get_by_role("button", name="Verify on the server").click()
    await expect(auditor.locator("#server-steps")).to_contain_text(f"0x{'00' * 20}")
    await expect(auditor.locator("#server-steps")).to_contain_text(f"0x{trust.chain.contract.hex()}")


async def test_an_erased_record_says_so_and_keeps_its_hash(site: Site, auditor: Page) -> None:
    await auditor.goto("/ledger?kind=erased")
    await expect(auditor.locator("#ledger-rows tbody tr")).to_have_count(1)
    await auditor.goto(f"/ledger/{ERASED}")
    await expect(auditor.get_by_role("heading", name="Erased")).to_be_visible()
    async with site.db.read() as conn:
        digest = await leaf_hash_at(conn, ERASED)
    await expect(auditor.locator("code.wrap")).to_have_text(digest.hex())
    assert (await auditor.request.get(f"/ledger/{ERASED}/receipt")).status == 404


def unpacked(raw: bytes, folder: Path) -> list[str]:
    """The names of an archive's files, in a folder."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        archive.extractall(folder)
        return archive.namelist()


async def test_the_archive_holds_receipts_that_verify_and_says_how(
    site: Site, auditor: Page, tmp_path: Path
) -> None:
    answer = await auditor.request.get("/ledger/receipts.zip?kind=registration")
    names = unpacked(await answer.body(), tmp_path)
    trust = Trust.from_file((tmp_path / "trust.toml").read_bytes())
    places = sorted((tmp_path / "records").iterdir())
    assert places
    for place in places:
        record = Record.from_file(place.read_bytes())
        receipt = Receipt.from_file((tmp_path / "receipts" / f"{place.stem}.receipt").read_bytes())
        assert verify_receipt(record, receipt, trust).complete
        assert record.kind == "registration"
    readme = (tmp_path / "README.txt").read_text("utf-8")
    assert f"{len(places)} records" in readme
    assert not [name for name in names if name.startswith("originals/")]
    commands = readme.replace("\\\n", "").replace("/N.", f"/{places[0].stem}.").splitlines()
    scripts = [shlex.split(line) for line in commands if line.startswith("  python3 ")]
    assert len(scripts) == 2
    for (_, *words), flags in zip(scripts, (["-I"], ["-I", "-S"]), strict=True):
        command = [sys.executable, *flags, *words]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert (done.returncode, done.stdout[:4]) == (0, "ok: "), done


async def test_the_archive_holds_the_messages_that_were_signed_and_counts_those_that_are_gone(
    site: Site, auditor: Page, tmp_path: Path
) -> None:
    box, sent = site.platform.boxes["node-1"], []

    async def say(message: Message) -> Message:
        sent.append(encode(message))
        return await Box.say(box, message)

    box.say = say  # type: ignore[method-assign] # what it sends is wanted byte for byte
    now = site.platform.clock()
    await box.report("offers", now, now + timedelta(hours=30), now)
    raw, digest = sent[-1], hashlib.sha256(sent[-1]).hexdigest()
    async with site.db.write() as conn:
        await original.keep(conn, digest, box.ven_id, raw, now)
    assert (await site.platform.post("/seal", {"timeout_s": 60}))["complete"]
    answer = await auditor.request.get("/ledger/receipts.zip?kind=report&node=node-1")
    names = unpacked(await answer.body(), tmp_path)
    (name,) = [name for name in names if name.startswith("originals/")]
    assert (tmp_path / name).read_bytes() == raw
    record = Record.from_file((tmp_path / "records" / f"{Path(name).stem}.json").read_bytes())
    assert record.body["raw_sha256"] == digest
    assert "Messages: 1. Of 0 more signed reports" in (tmp_path / "README.txt").read_text("utf-8")


async def test_records_are_found_by_node_and_day_and_turned_over(site: Site, auditor: Page) -> None:
    await auditor.goto("/ledger?node=node-2&since=2026-01-01")
    cells = await auditor.locator("#ledger-rows tbody tr td:nth-child(3)").all_inner_texts()
    assert set(cells) == {"node-2"}
    await auditor.goto("/ledger?until=2026-01-01")
    await expect(auditor.get_by_text("No record fits.")).to_be_visible()
    await auditor.goto("/ledger?kind=nothing&since=yesterday")
    await expect(auditor.locator("#since-error")).to_contain_text("a day is written such as")
    await auditor.goto("/ledger/checkpoints")
    await expect(auditor.locator("#checkpoint-rows tbody .badge.ok").first).to_be_visible()


async def test_a_program_reads_records_checkpoints_and_the_trail(site: Site, auditor: Page) -> None:
    first = await (await auditor.request.get("/api/v1/records?limit=2")).json()
    second = await (await auditor.request.get(f"/api/v1/records?limit=2&before={first['next']}")).json()
    indices = [one["index"] for one in (*first["records"], *second["records"])]
    assert indices == list(range(indices[0], indices[0] - 4, -1))
    newest = (await (await auditor.request.get("/api/v1/checkpoints?limit=1")).json())["checkpoints"][0]
    assert newest["block"] > 0
    assert "actions" in await (await auditor.request.get("/api/v1/actions")).json()
    for wrong in ("records?since=0001-01-01", "records?kind=x", "actions?outcome=x", "records?other=1"):
        assert (await auditor.request.get(f"/api/v1/{wrong}")).status == 422


async def test_the_trail_names_who_did_what_with_its_record(
    site: Site, auditor: Page, screens: Screens
) -> None:
    await auditor.goto("/ledger/0")
    await auditor.get_by_role("button", name="Verify on the server").click()
    await expect(auditor.locator("#server-steps li")).to_have_count(7)
    await site.platform.post("/seal", {"timeout_s": 60})
    await auditor.goto("/audit?who=auditor&what=verify")
    row = auditor.locator("#audit-rows tbody tr").first
    await expect(row).to_contain_text("index=0")
    await expect(row).to_contain_text("done")
    await settled(auditor)
    await screens(auditor, "audit")
    await row.get_by_role("link").click()
    await expect(auditor.get_by_text("action of a person")).to_be_visible()
    await auditor.goto("/audit?who=nobody")
    await expect(auditor.get_by_text("No action fits.")).to_be_visible()


async def test_no_barrier_is_found_and_a_telephone_needs_no_scrolling(site: Site) -> None:
    tab = await site.sign_in(Role.AUDITOR, phone=True)
    for path in ("/auditor", "/ledger", "/ledger/0", "/ledger/checkpoints", "/ledger/agreements", "/audit"):
        await tab.goto(path)

        async def look(theme: str) -> None:
            assert await site.violations(tab) == []

        await both_themes(tab, look)
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
