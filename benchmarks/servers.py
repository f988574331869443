"""The servers that the protocol benchmarks compare, each in a process of its own, pinned to one core.

    python benchmarks/servers.py NAME DIRECTORY [--signed EC|RSA]

NAME is `ours`, `openleadr` or `bare`; DIRECTORY was made by `prepare`. The process prints `PORT n`, takes
commands as lines (`publish`, `answers`), answers each with a line, and ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

# Run as a script, this folder comes first on the path, and openadr.py in it hides the package.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

import uvloop  # noqa: E402 - see above
from aiohttp import web  # noqa: E402 - see above
from sqlalchemy import func, select, update  # noqa: E402 - see above

from flexpact.collector import leave_what_is_loaded  # noqa: E402 - see above
from flexpact.migrations import upgrade  # noqa: E402 - see above
from flexpact.pki import Identity, identity, issue, make_authority  # noqa: E402 - see above
from openadr import (  # noqa: E402 - see above
    ActivePeriod,
    Duration,
    Event,
    EventDescriptor,
    ItemBase,
    Report,
    ReportRequest,
    ReportSpecifier,
    Signal,
    SignalInterval,
    SpecifierPayload,
    encode,
)
from openadr.certificate import KeyKind  # noqa: E402 - see above
from openadr.enums import EventStatus, SignalType  # noqa: E402 - see above
from vtn import event, registration  # noqa: E402 - see above
from vtn.exchange import nothing_waits  # noqa: E402 - see above
from vtn.publication import publish_all  # noqa: E402 - see above
from vtn.registration import Ven  # noqa: E402 - see above
from vtn.schema import opt_table, ven_table  # noqa: E402 - see above
from vtn.server import BASE, Server  # noqa: E402 - see above
from vtn.settings import VtnSettings  # noqa: E402 - see above
from vtn.store import Database  # noqa: E402 - see above
from vtn.tls import server_tls  # noqa: E402 - see above

CORES = os.sched_getaffinity(0)
VENS = 1000
REGISTERED = VENS + 3
POLL_PERIOD_S = 10
EVENTS = 100
REQUEST_ID = "ask-usage"
WITH_EVENTS, SIGNING, SIGNING_RSA, REPORTING = VENS, VENS + 1, VENS + 2, 3
"""VENs with a part of their own: one has a hundred events and two sign, beside the thousand; one reports."""


def ven_id(number: int) -> str:
    """Id and name of a VEN."""
    return f"ven-{number:04}"


def identity_of(directory: Path, number: int) -> Identity:
    """The certificate of a VEN."""
    return identity(directory, ven_id(number), KeyKind.RSA if number == SIGNING_RSA else KeyKind.EC)


def settings(directory: Path, kind: KeyKind = KeyKind.EC) -> VtnSettings:
    """Of our listener; the bare one takes its TLS context too."""
    mine = identity(directory, "vtn", kind)
    return VtnSettings(
        port=0, cert=mine.cert, key=mine.key, ca=mine.ca, tls_profile="modern", poll_period_s=POLL_PERIOD_S
    )


def demand(name: str, start: datetime) -> Event:
    """A reduction for an hour."""
    steps = (SignalInterval(duration=Duration(3600), uid="0", payload_float=-500.0),)
    return Event(
        descriptor=EventDescriptor(
            event_id=name,
            market_context="http://example.org/programme",
            created_date_time=start,
            event_status=EventStatus.FAR,
        ),
        active_period=ActivePeriod(dtstart=start, duration=Duration(3600), notification=Duration(0)),
        signals=(
            Signal(
                intervals=steps,
                signal_name="LOAD_DISPATCH",
                signal_type=SignalType.DELTA,
                signal_id="s",
                item_base=ItemBase.power(),
            ),
        ),
    )


async def admit_all(*_: object) -> None:
    """Every event."""


def ask_usage(_ven: Ven, reports: Sequence[Report], now: datetime) -> list[ReportRequest]:
    """Telemetry of every data point, minute by minute, sent each quarter of an hour."""
    return [
        ReportRequest(
            report_request_id=REQUEST_ID,
            report_specifier=ReportSpecifier(
                report_specifier_id=report.report_specifier_id,
                granularity=Duration(60),
                report_back_duration=Duration(900),
                report_interval=ActivePeriod(dtstart=now, duration=Duration(0)),
                specifier_payloads=tuple(SpecifierPayload(r_id=d.r_id) for d in report.report_descriptions),
            ),
        )
        for report in reports
    ]


async def prepare(directory: Path) -> None:
    """Certificates of all VENs, and a database in which they are registered."""
    now = datetime.now(UTC)
    make_authority(directory, now, tuple(KeyKind))
    for kind in KeyKind:
        issue(directory, "vtn", now, server=True, kind=kind)
    upgrade(directory / "vtn.db")
    db = await Database.open(directory / "vtn.db")
    async with db.write() as conn:
        for number in range(REGISTERED):
            name = ven_id(number)
            kind = KeyKind.RSA if number == SIGNING_RSA else KeyKind.EC
            mark = issue(directory, name, now, server=False, kind=kind).fingerprint
            await registration.enrol(conn, name, mark, now, ven_id=name)
        registered = {"registration_id": "reg-" + ven_table.c.ven_id, "registered_at": now}
        await conn.execute(update(ven_table).values(registered))
        signing = ven_table.c.ven_id.in_([ven_id(SIGNING), ven_id(SIGNING_RSA)])
        await conn.execute(update(ven_table).where(signing).values(xml_signature=True))
        start = now.replace(microsecond=0) + timedelta(days=2)
        for number in range(EVENTS):
            made = demand(f"event-{number:03}", start + number * timedelta(hours=1))
            await event.publish(conn, made, ven_id(WITH_EVENTS), now, admit_all)
    await db.close()


class Ours:
    """Our VTN, everything on."""

    async def start(self, directory: Path, signed: KeyKind | None) -> int:
        """Its port."""
        self._db = await Database.open(directory / "vtn.db")
        own = settings(directory, signed or KeyKind.EC)
        server = Server(own, self._db, lambda: datetime.now(UTC), ask_usage)
        await server.start()
        leave_what_is_loaded()  # as `flexpact vtn serve` does
        return server.port

    async def publish(self) -> str:
        """One event for each of the thousand VENs."""
        now = datetime.now(UTC)
        made = demand("fan-out", now.replace(microsecond=0) + timedelta(hours=1))
        async with self._db.write() as conn:
            await publish_all(conn, {ven_id(number): made for number in range(VENS)}, now, admit_all)
        return "published"

    async def answers(self) -> str:
        """How many VENs' answers to that event are kept."""
        asked = opt_table.c.event_id == "fan-out"
        async with self._db.read() as conn:
            count = select(func.count(func.distinct(opt_table.c.ven_id))).where(asked)
            return str((await conn.execute(count)).scalar_one())


class Bare:
    """The least that aiohttp can do: read the body, answer with fixed bytes of the same length."""

    async def start(self, directory: Path, _signed: KeyKind | None) -> int:
        """Its port."""
        answer = encode(nothing_waits(ven_id(0)))

        async def handler(request: web.Request) -> web.Response:
            await request.read()
            return web.Response(body=answer, content_type="application/xml")

        app = web.Application()
        app.router.add_post(BASE + "OadrPoll", handler)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        own = server_tls(settings(directory))
        assert own is not None
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=own.context).start()
        return int(runner.addresses[0][1])


class Openleadr:
    """Their VTN, with its VENs in a dictionary; it signs and verifies only where asked to."""

    async def start(self, directory: Path, signed: KeyKind | None) -> int:
        """Its port."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from openleadr import OpenADRServer  # noqa: PLC0415 - in its own process only
        mine = identity(directory, "vtn", signed or KeyKind.EC)
        vens = {ven_id(number): self._ven(directory, number) for number in range(REGISTERED)}
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        signing = {"cert": mine.cert, "key": mine.key} if signed else {}
        server = OpenADRServer(
            vtn_id="FLEXPACT",
            http_port=port,
            ven_lookup=lambda ven_id: vens.get(ven_id),  # noqa: PLW0108 - it is called by keyword
            verify_message_signatures=signed is not None,
            show_fingerprint=False,
            requested_poll_freq=timedelta(seconds=POLL_PERIOD_S),
            http_cert=mine.cert,
            http_key=mine.key,
            http_ca_file=mine.ca,
            **signing,
        )
        server.add_handler("on_register_report", self._asks)
        self._add_events(server)
        await server.run()
        return port

    @staticmethod
    def _ven(directory: Path, number: int) -> dict[str, str]:
        mark = identity_of(directory, number).fingerprint[44:].upper()
        tail = ":".join(mark[at : at + 2] for at in range(0, 20, 2))
        name = ven_id(number)
        return {"ven_id": name, "ven_name": name, "fingerprint": tail, "registration_id": f"reg-{name}"}

    @staticmethod
    async def _asks(report: dict[str, Any]) -> list[Any]:
        quarter = timedelta(minutes=15)
        return [(point["r_id"], lambda _: None, quarter) for point in report["report_descriptions"]]

    @staticmethod
    def _add_events(server: Any) -> None:
        start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
        for number in range(EVENTS):
            server.add_event(
                ven_id=ven_id(WITH_EVENTS),
                event_id=f"event-{number:03}",
                signal_name="LOAD_DISPATCH",
                signal_type="delta",
                intervals=[
                    {
                        "dtstart": start + number * timedelta(hours=1),
                        "duration": timedelta(hours=1),
                        "signal_payload": -500.0,
                    }
                ],
                callback=lambda ven_id, event_id, opt_type: None,
                market_context="http://example.org/programme",
            )


KINDS = {"ours": Ours, "openleadr": Openleadr, "bare": Bare}


def serve(name: str, directory: Path, signed: KeyKind | None) -> None:
    """Run one server until the parent closes our standard input."""

    async def main() -> None:
        server = KINDS[name]()
        print(f"PORT {await server.start(directory, signed)}", flush=True)
        while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
            print(f"SAYS {await getattr(server, line.strip())()}", flush=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        uvloop.run(main())


class Running:
    """A started server: its process id, its port, and a way to tell it something."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        self.port = int(self._line("PORT"))

    def _line(self, word: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(f"{word} "):
                return line.split()[1]
        raise RuntimeError("the server ended; run benchmarks/servers.py by hand to see why")

    def tell(self, command: str) -> str:
        """What it answers to a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._line("SAYS")

    def cpu_s(self) -> float:
        """CPU time so far, all threads, those that have ended included, user and system."""
        return time.clock_gettime((~self.pid << 3) | 2)  # the clock of clock_getcpuclockid(3)

    def rss_kb(self) -> int:
        """Resident memory now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


@contextmanager
def running(name: str, directory: Path, *, signed: KeyKind | None = None) -> Iterator[Running]:
    """A server, until the block is left."""
    command = [sys.executable, __file__, name, str(directory), *(["--signed", signed] if signed else [])]
    process = subprocess.Popen(
        ["taskset", "--cpu-list", str(min(CORES)), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    """Run the server that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", choices=KINDS)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--signed", type=KeyKind)
    arguments = parser.parse_args()
    serve(arguments.name, arguments.directory, arguments.signed)


if __name__ == "__main__":
    main()
