"""Whether we are alive and whether we can be relied on, for whoever starts and watches us."""

from __future__ import annotations

import time

from aiohttp import hdrs, web
from sqlalchemy.exc import DBAPIError

from aggregator import metrics, store
from aggregator.access.permission import Permission
from aggregator.dashboard.page import Desk, Page, Visit
from vtn.errors import StoreError
from vtn.latency import Latencies

FRESH_S = 5.0
"""Anybody may ask, so the database is tried only so often."""
READY = "ready"


class Probes:
    """The pages for machines that watch. `served` are the requests of browsers and programs."""

    def __init__(self, served: Latencies) -> None:
        self._served = served
        self._writable = False
        self._tried_at = -FRESH_S

    def pages(self) -> tuple[Page, ...]:
        """Where they are asked."""
        asked = (
            ("/health", "health", Permission.ANYBODY, self._health),
            ("/ready", "ready", Permission.ANYBODY, self._ready),
            ("/api/v1/metrics", "metrics", Permission.FLEET_READ, self._metrics),
        )
        return tuple(
            Page(method=hdrs.METH_GET, path=path, name=name, permission=permission, handle=handle)
            for path, name, permission, handle in asked
        )

    async def _health(self, _visit: Visit) -> web.StreamResponse:
        """Alive: this was answered."""
        return web.json_response({"ok": True})

    async def _ready(self, visit: Visit) -> web.StreamResponse:
        """Whether nodes and people are served, and by what not."""
        checks = await self._checks(visit.desk)
        ready = all(checks.values())
        return web.json_response({"ok": ready, "checks": checks}, status=200 if ready else 503)

    async def _metrics(self, visit: Visit) -> web.StreamResponse:
        ready = all((await self._checks(visit.desk)).values())
        text = await metrics.exposition(visit.desk, self._served, ready)
        return web.Response(body=text, headers={hdrs.CONTENT_TYPE: metrics.CONTENT_TYPE})

    async def _checks(self, desk: Desk) -> dict[str, bool]:
        if time.monotonic() - self._tried_at >= FRESH_S:
            self._tried_at, self._writable = time.monotonic(), await _takes_changes(desk)
        return {"database": self._writable, "listener": desk.vtn.listens, "tasks": desk.tasks.runs}


async def _takes_changes(desk: Desk) -> bool:
    try:
        async with desk.db.write() as conn:
            await store.move(conn, READY, await store.position(conn, READY) + 1)
    except (StoreError, DBAPIError):
        return False
    return True
