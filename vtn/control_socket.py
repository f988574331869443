"""Where the operator is heard: a Unix socket of its owner's alone, and a loopback port behind a token.

Rules: the socket is never taken from a process that still answers; the port is on loopback only and answers
nobody without the token, which stands in a file that its owner alone may read.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from vtn.errors import StartupError
from vtn.problem import UNAUTHORISED, Problem
from vtn.reply import NAME

PROBE_S = 2.0  # real seconds
LOOPBACK = "127.0.0.1"
SHORTEST_TOKEN = 32  # characters: 128 bits as hex digits

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Loopback:
    """A port on this machine (0: the system chooses), and what opens it."""

    port: int
    token: str


@dataclass(frozen=True, slots=True)
class ControlSocket:
    """A socket that is listened on; ``inode`` tells it from one that another process made in its place."""

    runner: web.AppRunner
    path: Path
    inode: tuple[int, int]

    @property
    def port(self) -> int | None:
        """The loopback port, None without one."""
        return next(
            (int(address[1]) for address in self.runner.addresses if isinstance(address, tuple)), None
        )

    async def close(self) -> None:
        """Stop listening, and remove the socket if it is still ours."""
        await self.runner.cleanup()
        with suppress(FileNotFoundError):
            if _inode(self.path) == self.inode:
                self.path.unlink()


async def listen(app: web.Application, path: Path, loopback: Loopback | None = None) -> ControlSocket:
    """Serve on a Unix socket that its owner alone may open, and on a loopback port; StartupError why not."""
    if loopback is not None:
        app.middlewares.insert(0, token_needed(loopback.token))
    app.on_response_prepare.append(_name)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await asyncio.to_thread(_make_way, path)
        listener = _bound(path)
        await web.SockSite(runner, listener).start()
        control = ControlSocket(runner, path, _inode(path))
    except OSError as error:
        await runner.cleanup()
        raise _not_there(path, error) from error
    except StartupError:
        await runner.cleanup()
        raise
    if loopback is not None:
        try:
            await web.TCPSite(runner, LOOPBACK, loopback.port).start()
        except OSError as error:
            await control.close()
            raise _not_there(f"{LOOPBACK} port {loopback.port}", error) from error
    return control


async def _name(_request: web.Request, response: web.StreamResponse) -> None:
    """As the VENs' listener: aiohttp would name itself and its version."""
    response.headers[hdrs.SERVER] = NAME


def _not_there(where: Path | str, error: OSError) -> StartupError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StartupError(f"cannot listen on {where}: {reason}")


def token_needed(token: str) -> Middleware:
    """What lets requests through that came by the Unix socket, or that name the token."""
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        listener = request.transport.get_extra_info("socket") if request.transport else None
        if listener is None or listener.family != socket.AF_UNIX:
            given = request.headers.get(hdrs.AUTHORIZATION, "").encode(errors="replace")
            if not hmac.compare_digest(given, expected):
                return Problem(UNAUTHORISED, "send it as Authorization: Bearer ...").response()
        return await handler(request)

    return check


def read_token(path: Path) -> str:
    """The token in a file that its owner alone may read; StartupError says what is wrong with it."""
    try:
        status = path.stat()
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"the token file {path} cannot be read: {error}") from error
    if status.st_mode & 0o077 or status.st_uid != os.geteuid():
        raise StartupError(f"the token file {path} may be read by others: chmod 600 {path}")
    if len(text) < SHORTEST_TOKEN or any(letter.isspace() for letter in text):
        raise StartupError(f"the token in {path} needs {SHORTEST_TOKEN} characters or more, without spaces")
    return text


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
    raise StartupError(f"cannot listen on {path}: another process answers there; stop it first")


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
