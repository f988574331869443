"""The dashboard as the aggregator runs it: its pages, files and live connection behind the guard, and the
first sign-in.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import structlog

from aggregator import api_document, api_serve
from aggregator.access import first_link
from aggregator.access.provider import Provider
from aggregator.api_operations import OPERATIONS
from aggregator.api_repeat import forget_unfinished
from aggregator.dashboard.live import Live
from aggregator.dashboard.load_board import LoadBoard, board_of
from aggregator.dashboard.page import Desk
from aggregator.dashboard.pages import PAGES
from aggregator.dashboard.rendering import Rendering
from aggregator.dashboard.static_files import StaticFiles
from aggregator.operator_choice import Display
from aggregator.probes import Probes
from aggregator.web import Web
from aggregator.web_settings import WebSettings
from vtn.errors import StartupError
from vtn.latency import Latencies

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Front:
    """A dashboard that is listening."""

    web: Web
    live: Live
    board: LoadBoard

    async def close(self) -> None:
        """Say goodbye to open pages, finish what is under way, close."""
        await self.live.close()
        await self.board.close()
        await self.web.close()


async def open_front(settings: WebSettings, desk: Desk) -> Front:
    """Open the dashboard; StartupError says in one sentence what stands in the way."""
    settings.check()
    async with desk.db.write() as conn:
        await forget_unfinished(conn)
    desk = replace(desk, display=await Display.load(desk.db))
    if settings.oidc is not None:
        provider = await asyncio.to_thread(Provider, settings.oidc, desk.access.clock)
        desk = replace(desk, access=replace(desk.access, provider=provider))
    static = StaticFiles.load()
    live, served = Live(desk.db, desk.clock), Latencies()
    watched = Probes(served).pages()
    pages = (
        *PAGES,
        *static.pages(),
        *live.pages(),
        *watched,
        *api_document.PAGES,
        *api_serve.pages(OPERATIONS),
    )
    front = Front(Web(settings, desk, pages, Rendering(static, pages), served=served), live, board_of(desk))
    try:
        await front.web.start()
    except StartupError:
        await front.close()
        raise
    log.info("the dashboard listens", address=front.web.address, tls=not settings.insecure_dev)
    await first_link.offer(desk.access, front.web.address, desk.settings.state)
    return front
