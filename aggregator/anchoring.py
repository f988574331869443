"""Bringing checkpoints to the chain: tried until the chain holds the newest one, and then again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from aggregator.settings import ChainSettings
from ledger import store as ledger_store
from vtn.store import Database

if TYPE_CHECKING:
    from ledger.anchor import Anchorer

log = structlog.get_logger(__name__)

ANCHOR_EVERY_S = 225.0
RETRY_S = 0.2  # real seconds between two tries while somebody waits


class Anchoring:
    """The anchors of one log; without a chain there are none, and nothing waits for them."""

    def __init__(
        self,
        chain: ChainSettings | None,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._anchorer = _anchorer(chain) if chain else None
        self._clock = clock
        self._sleep = sleep
        self._one_at_a_time = asyncio.Lock()
        self._published = asyncio.Event()
        self._last_anchor_at: datetime | None = None

    def wake(self) -> None:
        """There is a new checkpoint."""
        self._published.set()

    async def close(self) -> None:
        """Let the chain go."""
        if self._anchorer is not None:
            await self._anchorer.close()

    async def work(self, db: Database) -> None:
        """Try until the chain holds the newest checkpoint, then wait for the next one."""
        if await self._once(db):
            await self._published.wait()
        else:
            await self._sleep(ANCHOR_EVERY_S)

    async def catch_up(self, db: Database, timeout_s: float) -> bool:
        """Whether the chain had everything within ``timeout_s`` real seconds; False without a chain."""
        if self._anchorer is None:
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not await _complete(db):
                    if not await self._once(db):
                        await asyncio.sleep(RETRY_S)
        return await _complete(db)

    def state(self) -> dict[str, Any]:
        """How anchoring stands, in words and numbers for the operator."""
        state = self._anchorer.state if self._anchorer else None
        ok = state is not None and str(state.status) in {"idle", "waiting"}
        return {
            "ok": ok,
            "status": str(state.status) if state else "not asked yet",
            "text": state.text if state else "",
            "last_anchor_at": self._last_anchor_at.isoformat() if self._last_anchor_at else None,
            "head": state.anchored if state else 0,
            "behind_since": state.behind_since.isoformat() if state and state.behind_since else None,
            "alarm": state is not None and state.alarm,
        }

    async def _once(self, db: Database) -> bool:
        """One try; whether everything that is signed is on the chain. True without a chain."""
        self._published.clear()
        if self._anchorer is None:
            return True
        async with self._one_at_a_time:
            before = self._anchorer.state
            async with db.read() as conn:
                held = await ledger_store.anchored_size(conn)
            state = await self._anchorer.step(db, self._clock())
        if state.anchored > held:
            self._last_anchor_at = self._clock()
        if before is None or (before.status, before.alarm) != (state.status, state.alarm):
            say = log.error if state.alarm else log.info
            say("anchoring", status=str(state.status), text=state.text, anchored=state.anchored)
        return str(state.status) == "idle"


async def _complete(db: Database) -> bool:
    async with db.read() as conn:
        return await ledger_store.anchored_size(conn) == await ledger_store.log_size(conn)


def _anchorer(chain: ChainSettings) -> Anchorer:
    from ledger.anchor import Anchorer  # noqa: PLC0415 - web3 costs 25 MB and a second: only with a chain

    return Anchorer(chain.anchor())
