"""What a VEN writes to the card of its box on a day of polls each ten seconds.

The VEN's own client, state file and HTTP run against a VTN in the same process, on a clock that jumps from
one thing to do to the next: a day takes a few minutes. Bytes are those that the operating system has counted
for this process (`write_bytes` of /proc/self/io: whole pages of 4 kB, also for one byte).

    .venv/bin/python benchmarks/ven_writes.py [--hours 24] [--signed-hours 2] [--folder DIR]

The last line is one JSON object, all in MB for a day:
- `empty_poll_mb_day`: every poll finds nothing;
- `repeated_list_mb_day`: every poll finds the same ten events again, and each list is answered;
- `reports_mb_day`: polls that find nothing, and a report of five points each minute;
- `all_mb_day`: the same list at each poll, and the reports;
- `signed_all_mb_day`: that over TLS, every message signed (measured for `--signed-hours`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

# Run as a script, this folder comes first on the path, and openadr.py in it hides the package.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

from aiohttp import web  # noqa: E402 - see above

from flexpact import pki  # noqa: E402 - see above
from openadr import (  # noqa: E402 - see above
    ActivePeriod,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    DistributeEvent,
    Duration,
    EiResponse,
    Event,
    EventDescriptor,
    Message,
    Poll,
    Profile,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    ReportRequest,
    ReportSpecifier,
    RequestEvent,
    Response,
    Signal,
    SignalInterval,
    SpecifierPayload,
    UpdatedReport,
    UpdateReport,
    decode,
    encode,
)
from openadr.certificate import KeyKind  # noqa: E402 - see above
from openadr.enums import EventStatus, OptType, ProfileName, SignalType, TransportName  # noqa: E402 - see above
from openadr.signature import Signer  # noqa: E402 - see above
from openadr.timeline import Timeline  # noqa: E402 - see above
from ven.client import Client  # noqa: E402 - see above
from ven.facility import Capability, Reading, Unit  # noqa: E402 - see above
from ven.settings import VenSettings  # noqa: E402 - see above
from ven.store import Store  # noqa: E402 - see above
from ven.transport import Sent, Transport  # noqa: E402 - see above

PERIOD_S = 10
EVENTS = 10
ANY_ID = "any-request-id"
POINTS = tuple(f"p{number}" for number in range(5))
MINUTE = timedelta(minutes=1)
TURNS = 25  # of the event loop, after which whoever has anything to do has begun it
DAY_H = 24


class Day:
    """A clock that jumps to whoever sleeps shortest."""

    def __init__(self) -> None:
        self.begun = self.now = datetime.now(UTC).replace(microsecond=0, second=0)
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def __call__(self) -> datetime:
        """The present of this clock."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Waits so many seconds of this clock."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (self.now + timedelta(seconds=seconds), next(self._numbers), woken))
        await woken

    def jump(self) -> None:
        """Goes to the next instant at which somebody wants to wake."""
        while self._sleepers:
            at, _, woken = heappop(self._sleepers)
            if not woken.done():
                self.now = max(self.now, at)
                woken.set_result(None)
                return


@dataclass
class Site:
    """A meter of some points, complete up to the present."""

    clock: Day

    def capabilities(self) -> Sequence[Capability]:
        """Five points of telemetry by the minute."""
        return [
            Capability(
                report_name="TELEMETRY_USAGE",
                specifier_id="usage",
                r_id=r_id,
                unit=Unit.POWER_W,
                reading_type="Direct Read",
                min_period=MINUTE,
                max_period=MINUTE,
                history=timedelta(days=1),
            )
            for r_id in POINTS
        ]

    def decide(self, event: Event, now: datetime) -> OptType:
        """Takes part."""
        return OptType.OPT_IN

    def follow(self, timeline: Timeline) -> None:
        """Nothing is controlled here."""

    def read(self, name: str, r_ids: Sequence[str], start: datetime, end: datetime) -> Sequence[Reading]:
        """A number for each minute."""
        steps = range((end - start) // MINUTE)
        return [
            Reading(r_id, start + step * MINUTE, MINUTE, 1234.5 + step) for r_id in r_ids for step in steps
        ]

    def watermark(self, name: str) -> datetime:
        """Everything up to now is known."""
        return self.clock()


@dataclass
class Vtn:
    """A VTN that lists its events at each poll, and asks for reports once, if so."""

    clock: Day
    lists: bool
    reports: bool
    signer: Signer | None = None
    polls: int = 0
    listed: bytes = b""
    numbers: count[int] = field(default_factory=count)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to any message."""
        answer = self.encoded(self.answer(decode(await request.read())))
        body = answer if self.signer is None else self.signer.sign(answer, self.clock())
        return web.Response(body=body, content_type="application/xml")

    def encoded(self, message: Message) -> bytes:
        """The bytes of an answer; a list that was made before gets another request id."""
        if not isinstance(message, DistributeEvent):
            return encode(message)
        if not self.listed:
            self.listed = encode(replace(message, request_id=ANY_ID))
        return self.listed.replace(ANY_ID.encode(), message.request_id.encode())

    def answer(self, message: Message) -> Message:
        """What a VTN says to it."""
        match message:
            case QueryRegistration() | CreatePartyRegistration():
                return _registered(message)
            case RegisterReport():
                wanted = (self._wanted(),) if self.reports else ()
                return RegisteredReport(response=EiResponse.ok(message.request_id), report_requests=wanted)
            case UpdateReport():
                return UpdatedReport(response=EiResponse.ok(message.request_id))
            case Poll() | RequestEvent():
                self.polls += isinstance(message, Poll)
                return self._listed() if self.lists else Response(response=EiResponse.ok())
            case _:
                return Response(response=EiResponse.ok())

    def _wanted(self) -> ReportRequest:
        return ReportRequest(
            report_request_id="telemetry",
            report_specifier=ReportSpecifier(
                report_specifier_id="usage",
                granularity=Duration.of(MINUTE),
                report_back_duration=Duration.of(MINUTE),
                report_interval=ActivePeriod(dtstart=self.clock.begun, duration=Duration(0)),
                specifier_payloads=tuple(SpecifierPayload(r_id=r_id) for r_id in POINTS),
            ),
        )

    def _listed(self) -> Message:
        start = self.clock.begun + timedelta(hours=30)
        events = tuple(
            _event(f"event-{number}", start + number * timedelta(hours=2)) for number in range(EVENTS)
        )
        return DistributeEvent(
            response=None, request_id=f"list-{next(self.numbers)}", vtn_id="vtn", events=events
        )


def _registered(message: QueryRegistration | CreatePartyRegistration) -> CreatedPartyRegistration:
    granted = "one" if isinstance(message, CreatePartyRegistration) else None
    return CreatedPartyRegistration(
        response=EiResponse.ok(message.request_id),
        registration_id=granted,
        ven_id=granted,
        vtn_id="vtn",
        profiles=(Profile(profile_name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP,)),),
        requested_poll_freq=Duration(PERIOD_S),
    )


def _event(event_id: str, start: datetime) -> Event:
    hour = Duration(3600)
    interval = SignalInterval(duration=hour, uid="0", payload_float=1.0)
    signal = Signal(intervals=(interval,), signal_name="SIMPLE", signal_type=SignalType.LEVEL, signal_id="s")
    return Event(
        descriptor=EventDescriptor(
            event_id=event_id,
            modification_number=0,
            market_context="http://programme.example",
            created_date_time=start - timedelta(days=2),
            event_status=EventStatus.FAR,
        ),
        active_period=ActivePeriod(dtstart=start, duration=hour),
        signals=(signal,),
    )


class Line(Transport):
    """The VEN's transport, which says whether a request is under way."""

    under_way = 0

    async def send(self, service: str, body: bytes, *, attested: bool = False) -> Sent:
        """Counts the request while it lasts."""
        self.under_way += 1
        try:
            return await super().send(service, body, attested=attested)
        finally:
            self.under_way -= 1


@asynccontextmanager
async def listening(vtn: Vtn, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """The VTN on a port of this machine."""
    runner = web.ServerRunner(web.Server(vtn.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def written() -> int:
    """Bytes that this process has caused to be written so far."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"])


async def play(folder: Path, hours: float, *, lists: bool, reports: bool, signed: bool = False) -> float:
    """MB that the VEN writes on a day, from so many hours after its registration."""
    clock = Day()
    directory = Path(tempfile.mkdtemp(dir=folder))
    signer, context = _identities(directory) if signed else (None, None)
    vtn = Vtn(clock, lists, reports, signer)
    mine = pki.identity(directory, "box", KeyKind.EC) if signed else None
    async with listening(vtn, context) as port:
        settings = VenSettings(
            vtn_url=f"{'https' if signed else 'http'}://127.0.0.1:{port}",
            insecure_dev=not signed,
            ven_name="box",
            state_path=directory / "ven.sqlite",
            poll_jitter=0.0,
            xml_signature=signed,
            cert=mine.cert if mine else None,
            key=mine.key if mine else None,
            ca=mine.ca if mine else None,
        )
        store = Store.open(settings.state_path)
        async with Line(settings, clock, store.spend) as line:
            client = Client(settings, Site(clock), store, line, clock=clock, sleep=clock.sleep)
            loops = [asyncio.create_task(loop) for loop in (client.converse(), client.deliver())]
            await _until(clock, line, clock.begun + 10 * MINUTE)
            before, polls, since = written(), vtn.polls, clock.now
            await _until(clock, line, since + timedelta(hours=hours))
            bytes_written, polls = written() - before, vtn.polls - polls
            for loop in loops:
                loop.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*loops)
        store.close()
    expected = hours * 3600 / PERIOD_S
    if not 0.95 * expected < polls < 1.05 * expected:
        raise SystemExit(f"{polls} polls in {hours:g} hours, expected {expected:.0f}")
    return bytes_written * DAY_H / hours / 1e6


async def _until(clock: Day, line: Line, end: datetime) -> None:
    while clock.now < end:
        quiet = 0
        while quiet < TURNS:
            await asyncio.sleep(0.0002 if line.under_way else 0)
            quiet = 0 if line.under_way else quiet + 1
        clock.jump()


def _identities(directory: Path) -> tuple[Signer, ssl.SSLContext]:
    now = datetime.now(UTC)
    pki.make_authority(directory, now)
    own = pki.issue(directory, "vtn", now, server=True)
    pki.issue(directory, "box", now, server=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.cert, own.key)
    signer = Signer((own.cert.read_bytes(), "vtn"), (own.key.read_bytes(), "vtn"))
    return signer, context


def check_counting(folder: Path) -> None:
    """SystemExit where the operating system does not count what is written there, as in memory."""
    before = written()
    with (folder / "probe").open("wb") as probe:
        probe.write(bytes(1 << 20))
        probe.flush()
        os.fsync(probe.fileno())
    if written() - before < 1 << 20:
        raise SystemExit(f"{folder} lies on no disk: choose another --folder")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hours", type=float, default=DAY_H, help="hours of the day that are played")
    parser.add_argument("--signed-hours", type=float, default=2.0, help="the same where all is signed")
    parser.add_argument("--folder", type=Path, default=None, help="where the state files are written")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        check_counting(folder)
        found = {}
        for key, lists, reports in (
            ("empty_poll", False, False),
            ("repeated_list", True, False),
            ("reports", False, True),
            ("all", True, True),
        ):
            found[key] = asyncio.run(play(folder, given.hours, lists=lists, reports=reports))
            print(f"{key}: {found[key]:.2f} MB a day")
        signed = play(folder, given.signed_hours, lists=True, reports=True, signed=True)
        found["signed_all"] = asyncio.run(signed)
    print(json.dumps({f"{key}_mb_day": round(value, 2) for key, value in found.items()}))


if __name__ == "__main__":
    main()
