"""The first sign-in of all: no password that everybody knows, but a link in a file of the owner's alone."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import structlog

from aggregator.access import link
from aggregator.access import user as users
from aggregator.access.access import Access
from aggregator.access.permission import Role

log = structlog.get_logger(__name__)

FILE = "first-login.txt"


async def offer(access: Access, address: str, folder: Path) -> None:
    """Lay a link for the first admin into the folder where no admin can sign in yet, and take it away where
    one can. The link is shown on a terminal too, and never in a log.
    """
    path = folder / FILE
    now = access.clock()
    async with access.db.write() as conn:
        if any(user.password is not None and user.role is Role.ADMIN for user in await users.users(conn)):
            await link.void(conn, None, now)
            token = None
        else:
            token = await link.make(conn, None, now)
    if token is None:
        await withdraw(folder)
        return
    text = f"{address}/link/{token}"
    await asyncio.to_thread(_write, path, text)
    log.info("no admin can sign in yet: open the link in the file, within 24 hours", file=str(path))
    with suppress(OSError, ValueError):
        if sys.stdout.isatty():
            sys.stdout.write(f"\nFirst sign-in, within 24 hours and once: {text}\n\n")
            sys.stdout.flush()


async def withdraw(folder: Path) -> None:
    """An admin has come in: the file is of no use any more."""
    await asyncio.to_thread((folder / FILE).unlink, missing_ok=True)


def _write(path: Path, text: str) -> None:
    """Write the file anew, the owner's alone from its first instant on."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
