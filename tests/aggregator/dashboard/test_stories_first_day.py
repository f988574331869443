"""The first day as docs/operations.md tells it: a new machine, the program itself, a browser, an event that a
node acknowledges. Nothing is prepared.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pyotp
import pytest
from playwright.async_api import Browser, Page, expect

from aggregator.access.access import wall_clock
from aggregator.access.first_link import FILE
from tests.aggregator.box import Box
from tests.aggregator.dashboard.site import settled

DOCUMENT = Path(__file__).parents[3] / "docs" / "operations.md"
PASSWORD = "seven green herons wade"
LIMIT_S = 180
FLEXPACT = [sys.executable, "-m", "flexpact"]
AFTERNOON = datetime(2026, 1, 20, 14, 7, tzinfo=UTC)
COUNT_CLICKS = (
    "addEventListener('click', () => sessionStorage.clicks = +(sessionStorage.clicks || 0) + 1, true)"
)


def prepare(folder: Path, settings: str) -> None:
    """Settings and the log's key, as the document says."""
    (folder / "aggregator.toml").write_text(settings)
    command = [*FLEXPACT, "ledger", "key", "new", "log.key", "--origin", "flexpact.example/log"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def first_link(folder: Path) -> str:
    """Path of the link in the file that the program left."""
    text = next(folder.rglob(FILE)).read_text().strip()
    return re.sub(r"^https?://[^/]+", "", text)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def documented(web: int, vtn: int) -> str:
    """The first settings of the document, on ports that are free here."""
    text = DOCUMENT.read_text(encoding="utf-8").split("```toml", 1)[1].split("```", 1)[0]
    assert text.count("port = ") == 2, "the document's settings changed: say which port is which"
    return text.replace("port = 8443", f"port = {vtn}").replace("port = 8446", f"port = {web}")


@contextmanager
def served(folder: Path) -> Iterator[None]:
    """`flexpact aggregator serve` from when it says that it runs."""
    command = [*FLEXPACT, "aggregator", "serve", "--config", str(folder / "aggregator.toml")]
    clock = f"{AFTERNOON:%Y-%m-%dT%H:%M:%SZ}@{time.time():.0f}x1"  # the form's usual hours lie in one day
    child = subprocess.Popen([*command, "--clock", clock], cwd=folder, stderr=subprocess.PIPE)
    assert child.stderr is not None
    try:
        assert any(b"aggregator runs" in line for line in child.stderr), "the process ended"
        threading.Thread(target=deque, args=(child.stderr, 0), daemon=True).start()
        yield
    finally:
        child.terminate()
        child.wait(30)
        child.stderr.close()


async def first_sign_in(tab: Page, link: str) -> None:
    """By the one-time link to an admin with a second factor."""
    await tab.goto(link)
    await tab.get_by_label("Name").fill("Ada")
    await tab.get_by_label("Password", exact=True).fill(PASSWORD)
    await tab.get_by_label("The same once more").fill(PASSWORD)
    await tab.get_by_role("button", name="Set the password").click()
    await tab.get_by_role("button", name="Set it up").click()
    secret = await tab.locator("#secret").inner_text()
    await tab.get_by_label("Code").fill(pyotp.TOTP(secret).at(wall_clock()))
    await tab.get_by_role("button", name="Switch it on").click()
    await expect(tab.locator("#recovery-codes li")).to_have_count(10)


async def _is_vouched_for(http: aiohttp.ClientSession, port: int, authority: Path) -> None:
    """The dashboard speaks TLS, by the authority that it has made, and nothing else."""
    trusting = ssl.create_default_context(cafile=authority)
    async with http.get(f"https://127.0.0.1:{port}/login", ssl=trusting) as answer:
        assert answer.status == 200
        assert answer.headers["Strict-Transport-Security"]
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await http.get(f"https://127.0.0.1:{port}/login")


@pytest.mark.goal(38)
async def test_from_a_clean_install_to_an_acknowledged_event_in_three_minutes(
    browser: Browser, tmp_path: Path
) -> None:
    began, web, vtn = time.monotonic(), free_port(), free_port()
    await asyncio.to_thread(prepare, tmp_path, documented(web, vtn))
    box = Box("node-1", "01" * 32, lambda _: 20.0, 8.0)
    with served(tmp_path):
        async with aiohttp.ClientSession() as http:
            box.connect(http, vtn)
            await box.register(AFTERNOON)
            hour = AFTERNOON.replace(minute=0)
            await box.report("offers", hour, hour + timedelta(hours=36), AFTERNOON)
            await _is_vouched_for(http, web, tmp_path / "state" / "web" / "ca.pem")
            context = await browser.new_context(  # as one who has taken the browser's warning
                base_url=f"https://127.0.0.1:{web}", locale="en-GB", ignore_https_errors=True
            )
            context.set_default_timeout(30_000)
            tab = await context.new_page()
            await first_sign_in(tab, await asyncio.to_thread(first_link, tmp_path))
            await context.add_init_script(COUNT_CLICKS)
            await tab.goto("/")
            await tab.get_by_role("link", name="Events", exact=True).click()
            await tab.get_by_role("main").get_by_role("button", name="New event").first.click()
            await tab.get_by_label("Reduction").fill("5")
            await expect(tab.get_by_text("Expected reduction")).to_be_visible()
            await settled(tab)
            await tab.get_by_role("button", name="Send to 1 node").click()
            await tab.wait_for_url("**/events/event-*")
            row = tab.locator("#event-nodes tbody tr")
            await expect(row).to_contain_text("silent")
            await box.poll_for_event()
            await expect(row).not_to_contain_text("silent")
            assert await tab.evaluate("() => sessionStorage.clicks") == "3"
            await context.close()
    assert time.monotonic() - began < LIMIT_S
