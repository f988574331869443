"""The proof under load: an operator, a VTN that is killed now and then, and VENs on a bad line (GOALS 69).

Every VEN is the real session; it polls, answers events and reports each quarter of an hour, of a clock that
runs four hundred times as fast as the machine's. One answer in ten is lost on the way. The operator publishes
events for all VENs and modifies every third. The server is ended by SIGKILL and started again.

    .venv/bin/python benchmarks/load_proof.py [--vens N] [--events N] [--kills N] [--keep DIRECTORY]

In the end the operator's log, the database and the VENs' logs are joined. The last line is one JSON object
with `lost` and `duplicated`, which must be 0, else the exit status is 1 and the lines before say what.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

# Run as a script, this folder comes first on the path, and openadr.py in it hides the package.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

import aiohttp  # noqa: E402 - see above
import structlog  # noqa: E402 - see above
import uvloop  # noqa: E402 - see above

from benchmarks.join import Joined, Line, join, kept_in, read, written  # noqa: E402 - see above
from flexpact.clock import Clock  # noqa: E402 - see above
from flexpact.migrations import upgrade  # noqa: E402 - see above
from openadr import CreatedEvent, Message, Response, UpdateReport, decode, encode  # noqa: E402 - see above
from openadr.errors import ProtocolError  # noqa: E402 - see above
from openadr.interval import format_instant  # noqa: E402 - see above
from tests.ven.site import EPOCH, NOW, QUARTER, USAGE, Site, capability  # noqa: E402 - see above
from tests.ven.wire import plain  # noqa: E402 - see above
from tests.vtn.desk import anything_goes, request_all  # noqa: E402 - see above
from ven.saved import Saved  # noqa: E402 - see above
from ven.session import Delivery, Session  # noqa: E402 - see above
from ven.transport import service_of  # noqa: E402 - see above
from vtn import registration  # noqa: E402 - see above
from vtn.api import OperatorApi  # noqa: E402 - see above
from vtn.api_route import Office  # noqa: E402 - see above
from vtn.control_socket import listen  # noqa: E402 - see above
from vtn.server import BASE, DEV_FINGERPRINT, Server  # noqa: E402 - see above
from vtn.settings import VtnSettings  # noqa: E402 - see above
from vtn.store import Database  # noqa: E402 - see above

SPEED = 400.0
POLL_S = 400  # of the fast clock: a second
LOST_ANSWERS = 0.1
PATIENCE_S = 300
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)


def name_of(number: int) -> str:
    """Name and id of a VEN."""
    return f"ven-{number:04}"


def fingerprint_of(number: int) -> str:
    """Its certificate."""
    return f"{number:064x}"


# --- the server ---


async def serve(directory: Path, port: int, clock: Clock) -> None:
    """The VTN and its operator's socket, until it is killed."""
    db = await Database.open(directory / "vtn.db")
    settings = VtnSettings(
        port=port, insecure_dev=True, poll_period_s=POLL_S, max_connections_per_address=10_000
    )
    server = Server(settings, db, clock, request_all)
    await server.start()

    async def nobody(*_: object) -> None:
        """No other part of this process has events."""

    office = Office(admit=anything_goes, clock=clock, contacts=server.last_contacts, owner=nobody)
    control = await listen(OperatorApi(db, office).app(), directory / "control")
    print(f"PORT {server.port}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await control.close()  # and what nobody holds would be collected, and be closed by that


@dataclass
class Killed:
    """A server in a process of its own that is killed and started again on the same port."""

    directory: Path
    clock: Clock
    port: int = 0
    kills: int = 0
    process: Process | None = None

    async def start(self) -> None:
        """Until it listens."""
        arguments = [__file__, "--serve", str(self.directory), "--port", str(self.port)]
        arguments += ["--clock", str(self.clock)]
        self.process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE)
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while not (line := await self.process.stdout.readline()).startswith(b"PORT "):
                if not line:
                    raise RuntimeError("the server did not start")
        self.port = int(line.split()[1])

    async def kill(self) -> None:
        """As a power cut would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()
            self.kills += 1


# --- the two sides ---


@dataclass
class Operator:
    """Publishes and modifies events; the log has what was acknowledged."""

    http: aiohttp.ClientSession
    vens: list[str]
    log: list[Line] = field(default_factory=list)

    async def publish(self, number: int, start: datetime) -> None:
        """One event for all; every third is modified at once."""
        event = f"event-{number:03}"
        signal = {"signal_name": "SIMPLE", "signal_type": "level", "intervals": [{"value": 1}]}
        body = {
            "event_id": event,
            "vens": self.vens,
            "start": format_instant(start),
            "duration": "PT1H",
            "market_context": "http://programme.test",
            "signals": [signal],
        }
        await self._until_taken("POST", "/vtn/events", body)
        self.log.append({"event": event, "version": 0})
        if number % 3 == 2:
            changed = [{**signal, "intervals": [{"value": 2}]}]
            await self._until_taken("PATCH", f"/vtn/events/{event}", {"signals": changed})
            self.log.append({"event": event, "version": 1})

    async def _until_taken(self, method: str, path: str, body: Mapping[str, object]) -> None:
        while True:
            with suppress(aiohttp.ClientError, OSError):
                async with self.http.request(method, f"http://vtn{path}", json=body) as answer:
                    if answer.status < 300:
                        return
                    if answer.status < 500:
                        raise RuntimeError(f"{path}: {answer.status} {await answer.text()}")
            await asyncio.sleep(0.02)


@dataclass
class Meter(Site):
    """A site whose meter counts up to the present."""

    now: Callable[[], datetime] = lambda: NOW

    def watermark(self, report_name: str) -> datetime | None:
        """The last whole quarter of an hour."""
        now = self.now()
        return now - (now - EPOCH) % QUARTER


class Ven:
    """The real session on a bad line; the log has what was acknowledged, and every decision."""

    def __init__(self, number: int, url: str, http: aiohttp.ClientSession, clock: Clock, seed: int) -> None:
        self.ven_id = name_of(number)
        self.site = Meter(offered=[capability(USAGE, "load")], now=clock)
        ids = count()
        settings = plain(1, Path("unused"), ven_name=self.ven_id)
        self._random = random.Random(f"{seed} {number}")
        self.session = Session(
            settings, self.site, Saved(), new_id=lambda: f"m-{next(ids)}", draw=self._random.random
        )
        self.log: list[Line] = []
        self.unsent: list[UpdateReport] = []
        self.polls = self.lost_answers = 0
        self.reads_meter = True
        self._url, self._http, self._clock = url, http, clock
        self._headers = {"Content-Type": "application/xml", DEV_FINGERPRINT: fingerprint_of(number)}

    async def live(self) -> None:
        """Talk for ever."""
        while True:
            now = self._clock()
            due = self.session.due(now)
            if due and (answer := await self._ask(due[0])) is not None:
                self._heard(due[0], answer, now)
            if self.reads_meter:
                self.unsent += self.session.reports_due(now)
            if self.unsent and (answer := await self._ask(self.unsent[0])) is not None:
                self._reported(answer)
            if not due:
                await asyncio.sleep(0.02)

    async def _ask(self, message: Message) -> Message | None:
        """The answer, None where it was lost or there was none."""
        if isinstance(message, CreatedEvent):
            self.log += self._said("sent", message)
        try:
            url = self._url + service_of(message)
            async with self._http.post(url, data=encode(message), headers=self._headers) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(0.05)
            return None
        self.polls += 1
        if self._random.random() < LOST_ANSWERS:
            self.lost_answers += 1
            return None
        return decode(body) if response.status == 200 else None

    def _heard(self, asked: Message, answer: Message, now: datetime) -> None:
        if isinstance(asked, CreatedEvent) and isinstance(answer, Response) and answer.response.is_success:
            self.log += self._said("answered", asked)
        before = len(self.site.decided)
        with suppress(ProtocolError):
            self.session.receive(answer, now)
        for event, version in self.site.decided[before:]:
            self.log.append({"kind": "decided", "event": event, "version": version})

    @staticmethod
    def _said(kind: str, message: CreatedEvent) -> list[Line]:
        return [
            {"kind": kind, "event": e.event_id, "version": e.modification_number, "opt": str(e.opt_type)}
            for e in message.event_responses
        ]

    def _reported(self, answer: Message) -> None:
        (report,) = self.unsent[0].reports
        if self.session.reported(answer, report.report_request_id) is not Delivery.DONE:
            return
        self.unsent.pop(0)
        readings = [
            [payload.r_id, str((interval.dtstart - EPOCH) // MICROSECOND), payload.payload_float]
            for interval in report.intervals
            for payload in interval.payloads
            if interval.dtstart is not None
        ]
        created = format_instant(report.created_date_time)
        line = {
            "kind": "reported",
            "request": report.report_request_id,
            "created": created,
            "readings": readings,
        }
        self.log.append(line)

    def has(self, events: Mapping[str, int]) -> bool:
        """Whether it has answered all of these, and has reported."""
        answered = {(line["event"], line["version"]) for line in self.log if line["kind"] == "answered"}
        reported = any(line["kind"] == "reported" for line in self.log)
        return answered >= set(events.items()) and reported


# --- the run ---


async def prepare(directory: Path, vens: int) -> None:
    """A database with all VENs enrolled."""
    upgrade(directory / "vtn.db")
    db = await Database.open(directory / "vtn.db")
    async with db.write() as conn:
        for number in range(vens):
            name = name_of(number)
            await registration.enrol(conn, name, fingerprint_of(number), NOW, ven_id=name)
    await db.close()


async def run(directory: Path, vens: int, events: int, kills: int, seed: int) -> dict[str, object]:
    """All of it; the figures. The logs lie in the directory."""
    await prepare(directory, vens)
    clock = Clock.parse(f"{format_instant(NOW)}@{time.time():.3f}x{SPEED:g}")
    server = Killed(directory, clock)
    await server.start()
    connector = aiohttp.TCPConnector(limit=0)
    control = aiohttp.UnixConnector(str(directory / "control"))
    async with (
        aiohttp.ClientSession(connector=connector) as line,
        aiohttp.ClientSession(connector=control) as desk,
    ):
        url = f"http://127.0.0.1:{server.port}{BASE}"
        fleet = [Ven(number, url, line, clock, seed) for number in range(vens)]
        operator = Operator(desk, [ven.ven_id for ven in fleet])
        lives = [asyncio.create_task(ven.live()) for ven in fleet]
        began = time.monotonic()
        await play(server, operator, fleet, events, kills)
        seconds = time.monotonic() - began
        for life in lives:
            life.cancel()
        for ended in await asyncio.gather(*lives, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
    await server.kill()
    written(operator.log, directory / "operator.jsonl")
    for ven in fleet:
        written(ven.log, directory / f"{ven.ven_id}.jsonl")
    requests = sum(ven.polls for ven in fleet)
    return {
        "vens": vens,
        "requests_per_s": round(requests / seconds, 1),
        "lost_answers": sum(ven.lost_answers for ven in fleet),
        "kills": server.kills - 1,  # the last one ended the run
    }


async def play(server: Killed, operator: Operator, fleet: list[Ven], events: int, kills: int) -> None:
    """Events one after the other, the server killed between and during them, until all is said."""
    at = {round((turn + 1) * events / (kills + 1)) for turn in range(kills)}
    first = server.clock() + 12 * HOUR
    for number in range(events):
        publishing = asyncio.create_task(operator.publish(number, first + number * HOUR))
        if number in at:
            await asyncio.sleep(0.01)
            await server.kill()
            await server.start()
        await publishing
    wanted = {str(line["event"]): int(line["version"]) for line in operator.log}
    async with asyncio.timeout(PATIENCE_S):
        while not all(ven.has(wanted) for ven in fleet):  # noqa: ASYNC110 - VENs tell nobody
            await asyncio.sleep(0.05)
        for ven in fleet:  # a busy fleet is never without a report on its way
            ven.reads_meter = False
        while any(ven.unsent for ven in fleet):  # noqa: ASYNC110 - VENs tell nobody
            await asyncio.sleep(0.05)


def judged(directory: Path) -> Joined:
    """The logs of a run, joined."""
    vens = {path.stem: read(path) for path in sorted(directory.glob("ven-*.jsonl"))}
    return join(read(directory / "operator.jsonl"), kept_in(directory / "vtn.db"), vens)


def prove(directory: Path, vens: int, events: int, kills: int, seed: int = 1) -> dict[str, object]:
    """Run and join; the figures with `lost` and `duplicated`."""
    figures = uvloop.run(run(directory, vens, events, kills, seed))
    found = judged(directory)
    for text in [*found.lost, *found.doubled][:20]:
        print(text)
    return {
        **figures,
        "events": found.events,
        "answers": found.answers,
        "readings": found.readings,
        "lost": len(found.lost),
        "duplicated": len(found.doubled),
    }


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--vens", type=int, default=200)
    parser.add_argument("--events", type=int, default=24)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep database and logs in this new directory")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--clock", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
        uvloop.run(serve(arguments.serve, arguments.port, Clock.parse(arguments.clock)))
        return
    logging.getLogger("ven").setLevel(logging.ERROR)  # clocks that run fast differ by what a message takes
    with tempfile.TemporaryDirectory() as name:
        directory = arguments.keep or Path(name)
        directory.mkdir(exist_ok=True)
        figures = prove(directory, arguments.vens, arguments.events, arguments.kills, arguments.seed)
    print(json.dumps(figures))
    sys.exit(bool(figures["lost"] or figures["duplicated"]))


if __name__ == "__main__":
    main()
