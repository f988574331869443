"""The witnesses that are asked to cosign: a task for each, so that none waits for another, and nothing waits
for any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime

import structlog

from aggregator.alarm_platform import Trouble
from aggregator.settings import WitnessSettings
from ledger.checkpoint import VerifierKey
from ledger.cosigner import Cosigner, CosignStatus
from ledger.log import Log
from vtn.store import Database

log = structlog.get_logger(__name__)

RETRY_S = 30.0
"""Real seconds until a witness that did not cosign is asked again, if nothing new is signed before."""


class Witnessing:
    """Keeps asking. `wake` it when there is a new checkpoint."""

    def __init__(
        self, witnesses: Sequence[WitnessSettings], sealed: Log, clock: Callable[[], datetime]
    ) -> None:
        self._clock = clock
        self._asked = [
            _Asked(Cosigner(one.url, VerifierKey.parse(one.key), sealed, one.timeout_s)) for one in witnesses
        ]

    def tasks(self) -> dict[str, Callable[[Database], Awaitable[None]]]:
        """What is to be kept running, by name."""
        return {f"witness {one.cosigner.name}": self._task(one) for one in self._asked}

    def wake(self) -> None:
        """There is something new to cosign."""
        for one in self._asked:
            one.news.set()

    def troubles(self) -> list[Trouble]:
        """Witnesses that do not cosign, since when, and what they say."""
        return [
            Trouble(one.cosigner.name, one.since, one.text) for one in self._asked if one.since is not None
        ]

    async def close(self) -> None:
        """Close the connections."""
        for one in self._asked:
            await one.cosigner.close()

    def _task(self, one: _Asked) -> Callable[[Database], Awaitable[None]]:
        async def turn(db: Database) -> None:
            one.news.clear()
            state = await one.cosigner.step(db, self._clock())
            if state.status is not one.status:
                tell = log.error if state.status is CosignStatus.REFUSED else log.info
                tell("witness", name=one.cosigner.name, status=str(state.status), text=state.text)
            one.status, one.text = state.status, state.text
            if state.status in {CosignStatus.IDLE, CosignStatus.BUSY}:
                one.since = None
            elif one.since is None:
                one.since = self._clock()
            if state.status is not CosignStatus.BUSY:
                await _set_or_late(one.news, None if state.status is CosignStatus.IDLE else RETRY_S)

        return turn


class _Asked:
    """A witness and how it stood last."""

    def __init__(self, cosigner: Cosigner) -> None:
        self.cosigner = cosigner
        self.news = asyncio.Event()
        self.status: CosignStatus | None = None
        self.text = ""
        self.since: datetime | None = None  # when it began not to cosign


async def _set_or_late(event: asyncio.Event, timeout_s: float | None) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
