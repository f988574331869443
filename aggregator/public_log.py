"""The log for everybody, by C2SP `tlog-tiles`: the newest checkpoint with its cosignatures, and the tree's
hashes, from which anyone makes proofs himself.

Leaves are salted hashes, so nothing of any record can be read from them; entries are not given at all.
"""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.settings import PublicSettings
from ledger import cosignature_store, store
from ledger.merkle import HASH_BYTES
from ledger.tile import HEIGHT, LEVELS, WIDTH
from vtn.errors import StartupError
from vtn.store import Database

_TILE = re.compile(r"(0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
MAX_PATH = 5
"""Path elements of a tile's index: 10^15 tiles are more than a log can have."""


class PublicLog:
    """A listener that only reads."""

    def __init__(self, settings: PublicSettings) -> None:
        self._settings = settings
        self._runner: web.AppRunner | None = None
        self._db: Database | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        if self._runner is None:
            raise RuntimeError("the public log is not open")
        return int(self._runner.addresses[0][1])

    async def start(self, db: Database) -> None:
        """Listen; StartupError where it cannot."""
        self._db = db
        app = web.Application(client_max_size=1024)
        app.router.add_get("/checkpoint", self._checkpoint)
        app.router.add_get("/tile/{place:.+}", self._tile)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._settings.host, self._settings.port).start()
        except OSError as error:
            await self.close()
            where = f"{self._settings.host} port {self._settings.port}"
            raise StartupError(f"the public log cannot listen on {where}: {error}") from error

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _checkpoint(self, _request: web.Request) -> web.Response:
        async with self._reading() as conn:
            newest = await store.newest_checkpoint(conn)
            if newest is None:
                raise web.HTTPNotFound(text="there is no checkpoint yet\n")
            text = (await cosignature_store.cosigned(conn, newest)).text()
        return web.Response(text=text, headers={"Cache-Control": "no-store"})

    async def _tile(self, request: web.Request) -> web.Response:
        place = _TILE.fullmatch(request.match_info["place"])
        if place is None or place[2].count("/") >= MAX_PATH:
            raise web.HTTPNotFound(text="no such tile\n")
        level, index = int(place[1]), int(place[2].replace("x", "").replace("/", ""))
        width = int(place[3] or WIDTH)
        async with self._reading() as conn:
            newest = await store.newest_checkpoint(conn)
            signed = (newest.size if newest else 0) >> min(HEIGHT * level, 64)
            # What no checkpoint covers is nobody's business yet, and would come in any width.
            if level >= LEVELS or (width == WIDTH) != (place[3] is None) or index * WIDTH + width > signed:
                raise web.HTTPNotFound(text="no such tile\n")
            content = (await store.tiles(conn, [(level, index)]))[level, index]
        return web.Response(
            body=content[: width * HASH_BYTES],
            content_type="application/octet-stream",
            headers={"Cache-Control": "public, max-age=31536000, immutable"},
        )

    def _reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        if self._db is None:
            raise RuntimeError("the public log is not open")
        return self._db.read()
