"""What the worst bodies that our VTN lets in cost it, and how long others wait meanwhile (GOALS 12).

A server in a process of its own, pinned to one core; the client on another. Each kind of body is as large as
the limits allow and comes several times, always with new content, while another VEN polls without a pause.

    .venv/bin/python benchmarks/worst_body.py [--rounds N]

The last line is one JSON object: `worst_cpu_ms` is the CPU time of the server for the costliest kind (polls
that were answered meanwhile taken off), `worst_stall_ms` the longest that a poll took, `worst_cpu_ratio_bare`
the former against lxml alone parsing and validating the largest report here, `kinds` the same by kind.
Figures of a kind are medians of its rounds, the stall is its maximum. The goals are 100 ms and 250 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# Run as a script, this folder comes first on the path, and openadr.py in it hides the package.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

import structlog  # noqa: E402 - see above
import uvloop  # noqa: E402 - see above

from flexpact.migrations import upgrade  # noqa: E402 - see above
from openadr import (  # noqa: E402 - see above
    CreatePartyRegistration,
    EiResponse,
    Poll,
    RegisteredReport,
    RegisterReport,
    decode,
    encode,
)
from openadr.parser import parse, validate  # noqa: E402 - see above
from tests.vtn.desk import ALICE, BOB, NOW, make_event, metadata, request_all  # noqa: E402 - see above
from tests.vtn.worst_bodies import KINDS, REFERENCE  # noqa: E402 - see above
from vtn import event, registration  # noqa: E402 - see above
from vtn.server import BASE, DEV_FINGERPRINT, Server  # noqa: E402 - see above
from vtn.settings import VtnSettings  # noqa: E402 - see above
from vtn.store import Database  # noqa: E402 - see above

VENS = {ALICE: "alice", BOB: "bob"}


# --- the server ---


async def _admit(*_: object) -> None:
    """Every event may be sent."""


async def serve(directory: Path) -> None:
    """Run the VTN until the parent closes our standard input."""
    db = await Database.open(directory / "vtn.db")
    async with db.write() as conn:
        for fingerprint, name in VENS.items():
            await registration.enrol(conn, name, fingerprint, NOW, ven_id=name)
        await event.publish(conn, make_event("e1"), "alice", NOW, _admit)
    server = Server(VtnSettings(port=0, insecure_dev=True), db, lambda: NOW, request_all)
    await server.start()
    print(f"PORT {server.port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def running(directory: Path, core: int) -> Iterator[tuple[int, int]]:
    """Process id and port of the server."""
    command = [sys.executable, __file__, "--serve", str(directory), "--core", str(core)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        port = next((line for line in process.stdout if line.startswith("PORT ")), None)
        if port is None:
            raise RuntimeError("the server did not start")
        yield process.pid, int(port.split()[1])
        process.kill()


def cpu_ms(pid: int) -> float:
    """CPU time of a process so far, threads that have ended included."""
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e6  # the clock of clock_getcpuclockid(3)


# --- the client ---


class Ven:
    """A kept connection of one VEN."""

    def __init__(self, port: int, fingerprint: str) -> None:
        self.ven_id = VENS[fingerprint]
        self._headers = {"Content-Type": "application/xml", DEV_FINGERPRINT: fingerprint}
        self._http = http.client.HTTPConnection("127.0.0.1", port)

    def post(self, service: str, body: bytes) -> bytes:
        """The answer to a body."""
        self._http.request("POST", BASE + service, body, self._headers)
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{service} answered {answer.status}")
        return content

    def settle_in(self) -> None:
        """Register, answer the VTN's own metadata, tell ours."""
        register = CreatePartyRegistration(request_id="r", ven_name=self.ven_id, http_pull_model=True)
        self.post("EiRegisterParty", encode(register))
        while not isinstance(own := decode(self.poll()), RegisterReport):
            pass
        answer = RegisteredReport(response=EiResponse.ok(own.request_id), ven_id=self.ven_id)
        self.post("EiReport", encode(answer))
        self.post("EiReport", encode(metadata(self.ven_id)))

    def poll(self) -> bytes:
        """The answer to a poll."""
        return self.post("OadrPoll", encode(Poll(ven_id=self.ven_id)))


@dataclass
class Pinger:
    """Polls of another VEN without a pause, in a thread of their own, while this context is open."""

    ven: Ven
    polls: int = 0
    longest_ms: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Pinger:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.perf_counter()
            self.ven.poll()
            self.longest_ms = max(self.longest_ms, (time.perf_counter() - began) * 1e3)
            self.polls += 1


def poll_cpu_ms(pid: int, ven: Ven, polls: int = 500) -> float:
    """CPU time of the server for one poll."""
    before = cpu_ms(pid)
    for _ in range(polls):
        ven.poll()
    return (cpu_ms(pid) - before) / polls


def bare_ms(rounds: int) -> float:
    """CPU time of lxml alone for the largest report: parsing and validating it."""
    body = KINDS[REFERENCE].largest("alice", 0)
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        validate(parse(body))
        spent.append((time.process_time() - began) * 1e3)
    return statistics.median(spent)


def measure(pid: int, port: int, rounds: int) -> dict[str, dict[str, float]]:
    """CPU and stall of each kind, in milliseconds."""
    alice, bob = Ven(port, ALICE), Ven(port, BOB)
    alice.settle_in()
    bob.settle_in()
    alice.poll()
    each_poll = poll_cpu_ms(pid, bob)
    figures = {}
    for name, kind in KINDS.items():
        alice.post(kind.service, kind.make(alice.ven_id, 2, 0))  # its names are known from now on
        spent, stalls = [], []
        for turn in range(1, rounds + 1):
            body = kind.largest(alice.ven_id, turn)
            with Pinger(bob) as pinger:
                before = cpu_ms(pid)
                alice.post(kind.service, body)
            spent.append(cpu_ms(pid) - before - pinger.polls * each_poll)
            stalls.append(pinger.longest_ms)
        figures[name] = {
            "bytes": len(body),
            "cpu_ms": round(statistics.median(spent), 1),
            "stall_ms": round(max(stalls), 1),
        }
    return figures


def report(rounds: int, core: int) -> dict[str, object]:
    """All figures, measured anew, the server on this core."""
    bare = bare_ms(rounds)
    with tempfile.TemporaryDirectory() as name:
        upgrade(Path(name) / "vtn.db")
        with running(Path(name), core) as (pid, port):
            kinds = measure(pid, port, rounds)
    worst = max(kinds, key=lambda kind: kinds[kind]["cpu_ms"])
    cpu = kinds[worst]["cpu_ms"]
    return {
        "worst_cpu_ms": cpu,
        "worst_kind": worst,
        "worst_stall_ms": max(figures["stall_ms"] for figures in kinds.values()),
        "bare_ms": round(bare, 1),
        "worst_cpu_ratio_bare": round(cpu / bare, 1),
        "kinds": kinds,
    }


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="bodies of each kind, up to 23")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cores = os.sched_getaffinity(0)
    if arguments.serve:
        os.sched_setaffinity(0, {arguments.core})
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
        uvloop.run(serve(arguments.serve))
        return
    os.sched_setaffinity(0, {max(cores)})
    print(json.dumps(report(arguments.rounds, min(cores))))


if __name__ == "__main__":
    main()
