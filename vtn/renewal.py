"""Certificates that change while the server runs: files that were replaced, certificates that soon end.

Rules: a file that changed counts within a second, and one that cannot be used changes nothing. Of every
certificate that ends within 30 days a warning is logged, and again at 7 days and at 1 (SEC-15).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError

from openadr.certificate import WARN_DAYS
from openadr.security import short_form
from vtn import certificate
from vtn.errors import StartupError, StoreError
from vtn.store import Database
from vtn.tls import Tls

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5
EXPIRIES_EVERY = 60  # looks between two writes and warnings


class Renewal:
    """Watches over the server's own certificates and those of its VENs."""

    def __init__(self, tls: Tls, db: Database, clock: Callable[[], datetime]) -> None:
        self._tls = tls
        self._db = db
        self._clock = clock
        self._warned: dict[str, int] = {}  # by fingerprint: the days of the last warning
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look at the files, and to warn."""
        if len(self._tls.own) < 2:
            log.warning(
                "one server certificate only: VENs that take another kind cannot connect (SEC-05)",
                kind=str(self._tls.own[0].kind),
            )
        self._task = asyncio.create_task(self._run(), name="vtn.renewal")

    async def stop(self) -> None:
        """Stop, and keep what was learned."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        with suppress(StoreError):
            await self._keep()

    def reload(self) -> bool:
        """Read the files again, changed or not; a file that cannot be used is logged, and changes nothing."""
        try:
            self._tls.reload()
        except StartupError as error:
            log.error("the new certificates are not used", error=str(error))
            return False
        log.info("certificates read again", own=[one.short for one in self._tls.own])
        return True

    async def warn(self, now: datetime) -> None:
        """Log what ends soon, each certificate once for 30, 7 and 1 days."""
        await self._keep()
        for fingerprint, whose, ends_at in [*self._own(), *await self._theirs(now)]:
            days = _threshold(ends_at - now)
            if days is not None and days < self._warned.get(fingerprint, WARN_DAYS[0] + 1):
                self._warned[fingerprint] = days
                short = short_form(fingerprint) if len(fingerprint) == 64 else fingerprint
                log.warning("a certificate ends soon", whose=whose, fingerprint=short, ends_at=str(ends_at))

    def _own(self) -> Iterator[tuple[str, str, datetime]]:
        for one in self._tls.own:
            yield one.fingerprint, "the server", one.not_after

    async def _theirs(self, now: datetime) -> list[tuple[str, str, datetime]]:
        async with self._db.read() as conn:
            ending = await certificate.ending(conn, now, timedelta(days=WARN_DAYS[0]))
        return [(one.fingerprint or one.short, one.ven_name, one.ends_at) for one in ending]

    async def _run(self) -> None:
        look = 0
        while True:
            if look % EXPIRIES_EVERY == 0:
                try:
                    await self.warn(self._clock())
                except (StoreError, DBAPIError) as error:
                    log.warning("certificates were not looked through", error=str(error))
            look += 1
            await asyncio.sleep(LOOK_EVERY_S)
            if self._tls.changed():
                self.reload()

    async def _keep(self) -> None:
        if seen := self._tls.take_seen():
            async with self._db.write() as conn:
                await certificate.seen(conn, seen)


def _threshold(left: timedelta) -> int | None:
    """The smallest number of WARN_DAYS that is not exceeded, None while there is more time."""
    return min((days for days in WARN_DAYS if left <= timedelta(days=days)), default=None)
