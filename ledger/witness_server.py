"""A witness over HTTP: C2SP `tlog-witness`, and the newest checkpoint of each log for whoever compares.

It tells no secret and takes nothing that a log did not sign; what guards it against too many requests stands
before it, as does TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog
from aiohttp import web

from ledger.errors import LedgerError
from ledger.witness import NotCosignedError, Witness

MAX_REQUEST_BYTES = 64 * 1024
SIZE_TYPE = "text/x.tlog.size"

log = structlog.get_logger(__name__)


class WitnessServer:
    """Answers for a witness; `url` once it is started."""

    def __init__(self, witness: Witness, clock: Callable[[], datetime]) -> None:
        self._witness = witness
        self._clock = clock
        self._one = asyncio.Lock()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self, host: str, port: int) -> None:
        """Listen; OSError if the port is taken."""
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_post("/add-checkpoint", self._add)
        app.router.add_get("/{origin:.+}/checkpoint", self._newest)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening; what is being answered is answered."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _add(self, request: web.Request) -> web.Response:
        raw = await request.read()
        try:
            async with self._one:
                line = await asyncio.to_thread(self._witness.add_checkpoint, raw, self._clock())
        except NotCosignedError as error:
            return _refusal(error)
        except LedgerError as error:
            log.error("nothing is cosigned", error=str(error))
            return web.Response(status=503, text="the state cannot be written; nothing was cosigned\n")
        return web.Response(text=line)

    async def _newest(self, request: web.Request) -> web.Response:
        async with self._one:
            text = await asyncio.to_thread(self._witness.newest, request.match_info["origin"])
        if text is None:
            return web.Response(status=404, text="no checkpoint of that log was cosigned\n")
        return web.Response(text=text, headers={"Cache-Control": "no-store"})


def _refusal(error: NotCosignedError) -> web.Response:
    """The answer to what is not cosigned; a fork is told to the operator too, and a proof that does not fit,
    which can be anybody's.
    """
    if error.forked:
        log.error("A LOG FORKED", text=str(error), evidence=str(error.evidence))
    elif error.status == 422:
        log.warning("a proof that shows no growth", text=str(error))
    else:
        log.info("not cosigned", status=error.status, text=str(error))
    if error.size is not None:
        return web.Response(status=error.status, body=f"{error.size}\n".encode(), content_type=SIZE_TYPE)
    return web.Response(status=error.status, text=f"{error}\n")
