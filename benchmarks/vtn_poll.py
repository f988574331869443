"""What an empty poll costs: our VTN against openleadr's, and against a bare aiohttp handler.

All of them over mutual TLS 1.3 with kept connections, with the same oadrPoll and 1000 registered VENs, each
server a process of its own pinned to one core, the client on another, one request at a time, all on uvloop.
The figure is CPU time of the server process for each request, from the operating system. Rounds take turns,
so that a busy machine hits all alike; ratios are those of the medians.

    .venv/bin/python benchmarks/vtn_poll.py [--requests N] [--rounds N]

The last line is one JSON object. `*_us` are microseconds of CPU for each request. A VEN's polls are equal
byte by byte, so our server validates them once; keys with `fresh` are of bodies that never came before
(they differ in white space), where it parses and validates each. Keys with `plain` are plain HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

# Run as a script, this folder comes first on the path, and openadr.py in it hides the package.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

import uvloop  # noqa: E402 - see above
from aiohttp import web  # noqa: E402 - see above
from sqlalchemy import update  # noqa: E402 - see above

from flexpact.migrations import upgrade  # noqa: E402 - see above
from flexpact.pki import Identity, issue, make_authority  # noqa: E402 - see above
from openadr import Poll, encode  # noqa: E402 - see above
from vtn import registration  # noqa: E402 - see above
from vtn.exchange import nothing_waits  # noqa: E402 - see above
from vtn.schema import ven_table  # noqa: E402 - see above
from vtn.server import BASE, DEV_FINGERPRINT, Server  # noqa: E402 - see above
from vtn.settings import VtnSettings  # noqa: E402 - see above
from vtn.store import Database  # noqa: E402 - see above
from vtn.tls import server_tls  # noqa: E402 - see above

CORES = os.sched_getaffinity(0)
VENS = 1000
CONNECTIONS = 50
ENDING = b" " * 20  # behind the document
SERVERS = ("ours", "openleadr", "bare")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def ven_id(number: int) -> str:
    """Id and name of a VEN."""
    return f"ven-{number:04}"


def identity(directory: Path, name: str) -> Identity:
    """A certificate that `prepare` made."""
    return Identity(name, directory / f"{name}.pem", directory / f"{name}.key", directory / "ca.pem")


def fingerprint(directory: Path, number: int) -> str:
    """Of the VEN's certificate; the VENs that stay silent have none, only a fingerprint."""
    if number < CONNECTIONS:
        return identity(directory, ven_id(number)).fingerprint
    return f"{number:064x}"


def settings(directory: Path, tls: bool) -> VtnSettings:
    """Of our listener; the bare one takes its TLS context too."""
    if not tls:
        return VtnSettings(port=0, insecure_dev=True)
    mine = identity(directory, "vtn")
    return VtnSettings(port=0, cert=mine.cert, key=mine.key, ca=mine.ca, tls_profile="modern")


# --- the servers, each in a process of its own ---


async def serve_ours(directory: Path, tls: bool) -> int:
    """Our VTN, everything on; gives its port, as the others do."""
    db = await Database.open(directory / "vtn.db")
    server = Server(settings(directory, tls), db, lambda: datetime.now(UTC), lambda *_: [])
    await server.start()
    return server.port


async def serve_bare(directory: Path, tls: bool) -> int:
    """The least that aiohttp can do: read the body, answer with fixed bytes of the same length."""
    answer = encode(nothing_waits(ven_id(0)))

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=answer, content_type="application/xml")

    app = web.Application()
    app.router.add_post(BASE + "OadrPoll", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    own = server_tls(settings(directory, tls))
    context = own.context if own else None
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    return int(runner.addresses[0][1])


async def serve_openleadr(directory: Path, tls: bool) -> int:
    """Their VTN, with its VENs in a dictionary and without XML signatures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from openleadr import OpenADRServer  # noqa: PLC0415 - in its own process only

    vens = {
        ven_id(number): {
            "ven_id": ven_id(number),
            "ven_name": ven_id(number),
            "fingerprint": ":".join(
                fingerprint(directory, number)[at : at + 2].upper() for at in range(44, 64, 2)
            ),
            "registration_id": f"reg-{number}",
        }
        for number in range(VENS)
    }
    mine = identity(directory, "vtn")
    files = {"http_cert": mine.cert, "http_key": mine.key, "http_ca_file": mine.ca} if tls else {}
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    server = OpenADRServer(
        vtn_id="flexpact",
        http_port=port,
        ven_lookup=lambda ven_id: vens.get(ven_id),  # noqa: PLW0108 - it is called by keyword
        verify_message_signatures=False,
        show_fingerprint=False,
        requested_poll_freq=timedelta(seconds=10),
        **files,
    )
    await server.run()
    return port


def serve(name: str, directory: Path, tls: bool) -> None:
    """Run one server until the parent closes our standard input."""

    async def main() -> None:
        start = {"ours": serve_ours, "bare": serve_bare, "openleadr": serve_openleadr}[name]
        print(f"PORT {await start(directory, tls)}", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        uvloop.run(main())


@contextmanager
def running(name: str, directory: Path, tls: bool) -> Iterator[tuple[int, int]]:
    """Process id and port of a server."""
    pinned = ["taskset", "--cpu-list", str(min(CORES))]
    command = [*pinned, sys.executable, __file__, "--serve", name, "--directory", str(directory)]
    process = subprocess.Popen(
        command + (["--tls"] if tls else []),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        port = next((line for line in process.stdout if line.startswith("PORT ")), None)
        if port is None:
            raise RuntimeError(f"the server {name} did not start")
        yield process.pid, int(port.split()[1])
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


# --- the client ---


def cpu_s(pid: int) -> float:
    """CPU time of a process so far, all its threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


class Client:
    """Kept connections to one server, each of a VEN of its own."""

    def __init__(self, name: str, directory: Path, tls: bool, port: int) -> None:
        self.name = name
        self._sent = 0
        self._ways = [self._connect(directory, tls, port, number) for number in range(CONNECTIONS)]

    def _connect(self, directory: Path, tls: bool, port: int, number: int) -> tuple[Any, bytes]:
        plain = socket.create_connection(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = encode(Poll(ven_id=ven_id(number)))
        head = (
            f"POST {BASE}OadrPoll HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/xml\r\n"
            f"{DEV_FINGERPRINT}: {fingerprint(directory, number)}\r\n"
            f"Content-Length: {len(body) + len(ENDING)}\r\n\r\n"
        )
        if not tls:
            return plain, head.encode() + body
        context = ssl.create_default_context(cafile=directory / "ca.pem")
        mine = identity(directory, ven_id(number))
        context.load_cert_chain(mine.cert, mine.key)
        return context.wrap_socket(plain, server_hostname="127.0.0.1"), head.encode() + body

    def poll(self, requests: int, *, fresh: bool = False) -> None:
        """Send polls one after the other, and read each answer to its end."""
        for number in range(requests):
            way, request = self._ways[number % CONNECTIONS]
            way.sendall(request + (self._new_ending() if fresh else ENDING))
            answer = way.recv(65_536)
            head, _, body = answer.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(body) < length:
                body += way.recv(65_536)
            if b"<oadr:oadrResponse" not in body or b"200" not in head:
                raise RuntimeError(f"{self.name} answered {answer!r}")

    def _new_ending(self) -> bytes:
        self._sent += 1
        return f"{self._sent:0{len(ENDING)}b}".translate({ord("0"): " ", ord("1"): "\t"}).encode()

    def close(self) -> None:
        """Close all connections."""
        for way, _ in self._ways:
            way.close()


def measure(directory: Path, kind: str, requests: int, rounds: int) -> dict[str, float]:
    """Microseconds of CPU for each request, by server: the median of the rounds."""
    tls = kind != "plain"
    figures: dict[str, list[float]] = {name: [] for name in SERVERS}
    with (
        running("ours", directory, tls) as ours,
        running("openleadr", directory, tls) as openleadr,
        running("bare", directory, tls) as bare,
    ):
        servers = dict(zip(SERVERS, (ours, openleadr, bare), strict=True))
        clients = {name: Client(name, directory, tls, port) for name, (_, port) in servers.items()}
        for client in clients.values():
            client.poll(2 * CONNECTIONS)
        for _ in range(rounds):
            for name, client in clients.items():
                before = cpu_s(servers[name][0])
                client.poll(requests, fresh=kind == "fresh")
                figures[name].append((cpu_s(servers[name][0]) - before) / requests * 1e6)
        for client in clients.values():
            client.close()
    return {name: statistics.median(values) for name, values in figures.items()}


async def prepare(directory: Path) -> None:
    """Certificates, and a database with all VENs registered."""
    now = datetime.now(UTC)
    make_authority(directory, now)
    issue(directory, "vtn", now, server=True)
    for number in range(CONNECTIONS):
        issue(directory, ven_id(number), now, server=False)
    upgrade(directory / "vtn.db")
    db = await Database.open(directory / "vtn.db")
    async with db.write() as conn:
        for number in range(VENS):
            mark = fingerprint(directory, number)
            await registration.enrol(conn, ven_id(number), mark, now, ven_id=ven_id(number))
        registered = {"registration_id": "reg-" + ven_table.c.ven_id, "registered_at": now}
        await conn.execute(update(ven_table).values(registered))
    await db.close()


def report(requests: int, rounds: int) -> dict[str, float]:
    """All figures, measured anew."""
    result: dict[str, float] = {"vens": VENS, "connections": CONNECTIONS, "requests": requests * rounds}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        asyncio.run(prepare(directory))
        for kind in ("", "fresh", "plain"):
            suffix = f"_{kind}" if kind else ""
            figures = measure(directory, kind, requests, rounds)
            result |= {f"{server}{suffix}_us": round(value, 1) for server, value in figures.items()}
            result[f"cpu_ratio{suffix}_vs_openleadr"] = round(figures["openleadr"] / figures["ours"], 2)
            result[f"cpu_ratio{suffix}_vs_bare_aiohttp"] = round(figures["ours"] / figures["bare"], 2)
    return result


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000, help="requests in a round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds for each server")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tls", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.directory, arguments.tls)
        return
    os.sched_setaffinity(0, {max(CORES)})
    print(json.dumps(report(arguments.requests, arguments.rounds)))


if __name__ == "__main__":
    main()
