"""The Unix socket of the control API: its owner's alone, never taken from a process that still answers."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from aggregator.errors import SettingsError

PROBE_S = 2.0  # real seconds


@dataclass(frozen=True, slots=True)
class ControlSocket:
    """A socket that is listened on; ``inode`` tells it from one that another process made in its place."""

    runner: web.AppRunner
    path: Path
    inode: tuple[int, int]

    async def close(self) -> None:
        """Stop listening, and remove the socket if it is still ours."""
        await self.runner.cleanup()
        with suppress(FileNotFoundError):
            if _inode(self.path) == self.inode:
                self.path.unlink()


async def listen(app: web.Application, path: Path) -> ControlSocket:
    """Serve on a Unix socket that its owner alone may open; SettingsError says why not."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await asyncio.to_thread(_make_way, path)
        listener = _bound(path)
        await web.SockSite(runner, listener).start()
        return ControlSocket(runner, path, _inode(path))
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(f"cannot listen on {path}: {error.strerror or error}") from error
    except SettingsError:
        await runner.cleanup()
        raise


def _bound(path: Path) -> socket.socket:
    """A socket at a path where nothing is; bound here, because the event loop would remove what is there."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # the socket is the owner's from its first instant on
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _make_way(path: Path) -> None:
    """Make the socket's folder, and remove a socket that a killed process left; anything else stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise SettingsError(f"cannot listen on {path}: another process answers there; stop it first")


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
