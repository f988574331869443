"""How quick the dashboard is, in Chromium, at 10,000 VENs and 90 days of quarter hours.

    .venv/bin/python benchmarks/dashboard.py [--cache FOLDER] [--seconds N] [--write FILE]

The fleet is that of `benchmarks/dashboard_fleet.py`, made once (about a minute) and kept in the cache. The
aggregator is a process of its own with a plain listener on loopback; browser and server share the machine.
The last line is one JSON object, which `--write` keeps:

    first_page_s        the overview in a new browser with an empty cache, until its chart and map are drawn
    first_page_kb       bytes that came over the line for it, heads too
    table_1000_s        1,000 nodes on one page, until the last row is laid out and painted
    ack_p95_s           from the answer to a node's acknowledgement until the open event page shows its count
    preview_ms          median of the effect preview for an event of 1,000 nodes, without the browser
    page_p95_ms         every page, 20 times, without the browser; slowest_page is the worst median of them
    main_thread_busy    share of the time that the open event page's main thread works at 1,000 updates a
                        minute (an update: a node fetches the event and acknowledges it over the wire)
    outside_requests    requests to any other host, over all of that
    start_s, first_answer_s   the aggregator until it listens, and its first page of all
    cores, hash_us      of the machine: a SHA-256 of 64 bytes in a loop, before; where neighbours have the
                        processors it is a multiple of the usual one, and so is all above
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

# Run as a script, this folder comes first on the path, and openadr.py in it hides the package.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aiohttp  # noqa: E402 - see above
from playwright.async_api import BrowserContext, CDPSession, Page, async_playwright  # noqa: E402 - see above

from aggregator.access import cookie  # noqa: E402 - see above
from aggregator.dashboard.pages import PAGES  # noqa: E402 - see above
from benchmarks import dashboard_fleet as fleet  # noqa: E402 - see above
from openadr import CreatedEvent, DistributeEvent, EiResponse, EventResponse, Poll, decode, encode  # noqa: E402
from openadr.enums import OptType  # noqa: E402 - see above
from vtn.server import BASE, DEV_FINGERPRINT  # noqa: E402 - see above

BROWSERS = ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium")  # those that `./run test` installs
UPDATES_A_MINUTE = 1000
READY = (
    "() => document.querySelector('#link-state.live') && [...document.querySelectorAll('[data-chart],"
    " [data-heatmap]')].every(one => one.matches('.drawn'))"
)
SAMPLES = 20
ROUNDS = 5


class Nodes:
    """The fleet's end of the wire."""

    def __init__(self, http: aiohttp.ClientSession, port: int) -> None:
        self._http = http
        self._url = f"http://127.0.0.1:{port}{BASE}"

    async def acknowledge(self, number: int, event_id: str) -> float:
        """Fetch the event and opt in; when the answer came."""
        ven_id = fleet.ven_id(number)
        found = await self._say(number, "OadrPoll", Poll(ven_id=ven_id))
        while not isinstance(found, DistributeEvent):
            found = await self._say(number, "OadrPoll", Poll(ven_id=ven_id))
        responses = tuple(
            EventResponse(
                code="200",
                request_id=found.request_id,
                event_id=event.event_id,
                modification_number=event.modification_number,
                opt_type=OptType.OPT_IN,
            )
            for event in found.events
            if event.event_id == event_id
        )
        answer = CreatedEvent(
            response=EiResponse.ok(found.request_id), event_responses=responses, ven_id=ven_id
        )
        await self._say(number, "EiEvent", answer)
        return time.monotonic()

    async def _say(self, number: int, service: str, message: Any) -> Any:
        headers = {"Content-Type": "application/xml", DEV_FINGERPRINT: fleet.fingerprint(number)}
        async with self._http.post(self._url + service, data=encode(message), headers=headers) as answer:
            return decode(await answer.read())


class Bench:
    """One aggregator with the browsers and nodes that speak to it."""

    def __init__(self, found: dict[str, Any], http: aiohttp.ClientSession, browser: Any) -> None:
        self.found = found
        self.http = http
        self._browser = browser
        self.outside = 0
        self.cookies = {cookie.SESSION: found["token"]}

    async def context(self) -> BrowserContext:
        """A new browser of the operator."""
        context: BrowserContext = await self._browser.new_context(
            base_url=self.found["web"], viewport={"width": 1440, "height": 900}
        )
        url = self.found["web"].replace("http:", "https:")
        keep = {"name": cookie.SESSION, "value": self.found["token"], "url": url, "secure": True}
        await context.add_cookies([{**keep, "httpOnly": True}])  # type: ignore[list-item]  # a TypedDict
        host = urlsplit(self.found["web"]).netloc
        context.on("request", lambda request: self._seen(request.url, host))
        return context

    def _seen(self, url: str, host: str) -> None:
        parts = urlsplit(url)
        self.outside += parts.scheme not in {"data", "blob"} and parts.netloc != host

    async def get_ms(self, path: str) -> float:
        """How long a page takes over the line; RuntimeError unless it is there."""
        began = time.perf_counter()
        async with self.http.get(self.found["web"] + path, cookies=self.cookies) as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{path} answered {answer.status}")
        return (time.perf_counter() - began) * 1000

    async def ask(self, nodes: int, hours: int) -> str:
        """An event of that many nodes some hours from now; its id."""
        start = fleet.NOW + timedelta(hours=hours)
        body = {
            "start": start.isoformat(),
            "end": (start + timedelta(hours=1)).isoformat(),
            "nodes": {fleet.ven_id(n): 0.5 for n in range(nodes)},
        }
        connector = aiohttp.UnixConnector(self.found["socket"])
        async with (
            aiohttp.ClientSession("http://control", connector=connector) as control,
            control.post("/requests", json=body) as answer,
        ):
            said = await answer.json()
            if answer.status != 201:
                raise RuntimeError(f"the event was refused: {said}")
            return str(said["event_id"])


async def first_page(bench: Bench) -> dict[str, float]:
    """Medians over new browsers."""
    seconds, sizes = [], []
    for _ in range(ROUNDS):
        context = await bench.context()
        page = await context.new_page()
        cdp = await context.new_cdp_session(page)
        came: list[float] = []
        cdp.on("Network.loadingFinished", lambda event, came=came: came.append(event["encodedDataLength"]))
        await cdp.send("Network.enable")
        began = time.monotonic()
        await page.goto("/")
        await page.wait_for_function(READY)
        seconds.append(time.monotonic() - began)
        sizes.append(sum(came) / 1000)
        await context.close()
    return {"first_page_s": statistics.median(seconds), "first_page_kb": statistics.median(sizes)}


async def table(bench: Bench) -> dict[str, float]:
    """The list of nodes with 1,000 rows."""
    context = await bench.context()
    page = await context.new_page()
    seconds = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        await page.goto("/nodes?size=1000")
        await page.wait_for_function("() => document.querySelectorAll('main tbody tr').length >= 1000")
        await page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        seconds.append(time.monotonic() - began)
    await context.close()
    return {"table_1000_s": statistics.median(seconds)}


async def pages(bench: Bench, event_id: str) -> dict[str, Any]:
    """Every page that can be asked for, and the preview."""
    known = {
        "{event_id}": event_id,
        "{ven_id}": fleet.ven_id(7),
        "{event}": event_id,
        "{node}": fleet.ven_id(7),
    }
    taken: dict[str, list[float]] = {}
    left_out = []
    for page in PAGES:
        path = page.path
        for name, value in known.items():
            path = path.replace(name, value)
        if page.method != "GET" or "{" in path:
            continue
        try:
            await bench.get_ms(path)
        except RuntimeError as error:
            left_out.append(str(error))
            continue
        taken[path] = [await bench.get_ms(path) for _ in range(SAMPLES)]
    start = fleet.NOW + timedelta(days=1)
    query = {"day": f"{start:%Y-%m-%d}", "start": "09:00", "end": "10:00", "power_kw": "3000", "nodes": ""}
    preview = [await bench.get_ms(f"/events/preview?{urlencode(query)}") for _ in range(SAMPLES)]
    medians = {path: statistics.median(found) for path, found in taken.items()}
    for path, median in sorted(medians.items(), key=lambda one: -one[1])[:12]:
        print(f"{median:8.0f} ms  {path}", file=sys.stderr)
    print(f"left out: {left_out}", file=sys.stderr)
    every = sorted(ms for found in taken.values() for ms in found)
    slowest = max(medians, key=lambda path: medians[path])
    return {
        "page_p95_ms": every[int(0.95 * len(every))],
        "pages": len(taken),
        "slowest_page": f"{slowest} {medians[slowest]:.0f} ms",
        "preview_ms": statistics.median(preview),
    }


async def live(bench: Bench, nodes: Nodes, seconds: float) -> dict[str, float]:
    """An event of 1,000 nodes under way: acknowledgements on the screen, then 1,000 of them a minute."""
    event_id = await bench.ask(fleet.AGREED, 5)
    context = await bench.context()
    page = await context.new_page()
    await page.goto(f"/events/{event_id}")
    await page.wait_for_function(READY)
    delays = [await _delay(page, nodes, number, event_id) for number in range(SAMPLES)]
    cdp = await context.new_cdp_session(page)
    await cdp.send("Performance.enable")
    before, began = await _busy_s(cdp), time.monotonic()
    number = SAMPLES
    while (now := time.monotonic()) - began < seconds:
        due = SAMPLES + int((now - began) * UPDATES_A_MINUTE / 60)
        if number < min(due, fleet.AGREED):
            await nodes.acknowledge(number, event_id)
            number += 1
        else:
            await asyncio.sleep(0.01)
    spent = time.monotonic() - began
    busy = (await _busy_s(cdp) - before) / spent
    await context.close()
    delays.sort()
    return {
        "ack_p95_s": delays[int(0.95 * len(delays))],
        "main_thread_busy": busy,
        "updates_a_minute": (number - SAMPLES) / spent * 60,
    }


async def _delay(page: Page, nodes: Nodes, number: int, event_id: str) -> float:
    """Until the tile of those who opted in counts one more than before."""
    answered = await nodes.acknowledge(number, event_id)
    await page.wait_for_function(
        "count => [...document.querySelectorAll('#event-tiles .tile')].some(one => "
        "new RegExp('\\\\b' + count + '\\\\b').test(one.querySelector('.value')?.textContent ?? ''))",
        arg=str(number + 1),
        polling=20,
    )
    await asyncio.sleep(0.3)
    return time.monotonic() - answered - 0.3


async def _busy_s(cdp: CDPSession) -> float:
    metrics = (await cdp.send("Performance.getMetrics"))["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """The aggregator in its own process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(fleet.__file__)),
        str(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        while line := await process.stdout.readline():
            if line.startswith(b"{"):
                break
        yield json.loads(line)
    finally:
        process.stdin.close()
        await process.wait()


async def report(cache: Path, seconds: float) -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory() as name:
        fleet.lay(cache, Path(name))
        async with running(Path(name)) as found, aiohttp.ClientSession() as http, async_playwright() as play:
            browser = await play.chromium.launch(
                executable_path=next(filter(os.path.exists, BROWSERS), BROWSERS[0]),
                args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            )
            bench = Bench(found, http, browser)
            result: dict[str, Any] = {"vens": fleet.VENS, "start_s": found["start_s"]}
            result["first_answer_s"] = await bench.get_ms("/") / 1000
            await _warm(bench)
            result |= await first_page(bench)
            result |= await table(bench)
            result |= await live(bench, Nodes(http, found["vtn"]), seconds)
            event_id = await bench.ask(20, 8)
            result |= await pages(bench, event_id)
            result["outside_requests"] = bench.outside
            await browser.close()
            return result


async def _warm(bench: Bench) -> None:
    """Wait for the day's first curves: the overview shows without them meanwhile."""
    began = time.monotonic()
    while time.monotonic() - began < 300:
        url = bench.found["web"] + "/overview/load.json"
        async with bench.http.get(url, cookies=bench.cookies) as answer:
            if (await answer.json())["times"]:
                print(f"first curves after {time.monotonic() - began:.1f} s", file=sys.stderr)
                return
        await asyncio.sleep(1)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "flexpact-dashboard")
    parser.add_argument("--seconds", type=float, default=20, help="how long 1,000 updates a minute go on")
    parser.add_argument("--write", type=Path, help="keep the last line in this file")
    arguments = parser.parse_args()
    machine = {"cores": os.cpu_count(), "hash_us": _hash_us()}
    found = asyncio.run(report(arguments.cache, arguments.seconds)) | machine
    line = json.dumps({name: round(x, 3) if isinstance(x, float) else x for name, x in found.items()})
    if arguments.write:
        arguments.write.write_text(line + "\n", encoding="utf-8")
    print(line)


def _hash_us() -> float:
    loops = 500_000
    began = time.perf_counter()
    for _ in range(loops):
        hashlib.sha256(bytes(64)).digest()
    return (time.perf_counter() - began) / loops * 1e6


if __name__ == "__main__":
    main()
