"""What the protocol costs: our VTN against openleadr's on the same bytes, and against bare aiohttp.

Everything over mutual TLS 1.3 with kept connections, 1000 registered VENs, each server a process of its own
on one core, the client on another. Ratios are of CPU time of the server process, theirs / ours (a bare
handler: ours / bare), medians of rounds; in each the servers take turns several times, so that a host whose
speed changes slows all of them.

    .venv/bin/python benchmarks/openadr.py [--rounds N]

The last line is one JSON object:
poll_ratio, poll_vs_bare_aiohttp, mtls_poll_cpu_ms   an empty poll, byte by byte the same each time
signed_poll_ratio     a poll with an XML signature, and a signed answer: RSA-2048, and (_p256_) P-256
report960_ratio       oadrUpdateReport with 960 readings, never seen before
request100_ratio      oadrRequestEvent of a VEN with 100 events
stall_ms              the longest that another VEN's poll took while our server worked on such reports
idle_conn_kb          memory of an idle connection
fanout_vens, fanout_max_s, answers_recorded   an event for all: the last VEN had it after so many seconds
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Run as a script, this folder comes first on the path, and this file's name hides the package it measures.
sys.path[:] = [str(HERE.parent), *(place for place in sys.path if Path(place).resolve() != HERE)]

import uvloop  # noqa: E402 - see above

from benchmarks.fan_out import FanOut  # noqa: E402 - see above
from benchmarks.line import Line  # noqa: E402 - see above
from benchmarks.servers import (  # noqa: E402 - see above
    CORES,
    EVENTS,
    REPORTING,
    SIGNING,
    SIGNING_RSA,
    WITH_EVENTS,
    Running,
    identity_of,
    prepare,
    running,
    ven_id,
)
from flexpact.collector import leave_what_is_loaded  # noqa: E402 - see above
from openadr import (  # noqa: E402 - see above
    DistributeEvent,
    Duration,
    ItemBase,
    Poll,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportDescription,
    ReportInterval,
    ReportPayload,
    RequestEvent,
    SamplingRate,
    UpdateReport,
    decode,
    encode,
)
from openadr.certificate import KeyKind  # noqa: E402 - see above
from openadr.parser import Limits  # noqa: E402 - see above
from openadr.signature import Signer  # noqa: E402 - see above

POINT = "load"
READINGS = 960
STEP = timedelta(seconds=10)
IDLE = 300
TURNS = 5  # of each server in a round


Bodies = Callable[[int], list[bytes]]


@dataclass
class Lane:
    """What one server is asked in each turn, over which connection, and how many times."""

    server: Running
    line: Line
    bodies: Bodies
    count: int

    def turn_s(self, service: str) -> float:
        """CPU of the server for one turn."""
        bodies = self.bodies(self.count)
        before = self.server.cpu_s()
        for body in bodies:
            self.line.post(service, body)
        return self.server.cpu_s() - before


class Figures:
    """Milliseconds of CPU for each request, by server, of rounds in which the servers took turns."""

    def __init__(self, rounds: dict[str, list[float]]) -> None:
        self._rounds = rounds

    def ms(self, name: str) -> float:
        """The median."""
        return statistics.median(self._rounds[name])

    def ratio(self, over: str, under: str) -> float:
        """The median of the rounds' ratios: what slows a round down slows both."""
        pairs = zip(self._rounds[over], self._rounds[under], strict=True)
        return statistics.median(upper / lower for upper, lower in pairs)


def compare(lanes: dict[str, Lane], service: str, rounds: int) -> Figures:
    """What each server needs for its lane, round after round."""
    figures: dict[str, list[float]] = {name: [] for name in lanes}
    for _ in range(rounds):
        spent_s = dict.fromkeys(lanes, 0.0)
        for _ in range(TURNS):
            for name, lane in lanes.items():
                spent_s[name] += lane.turn_s(service)
        for name, lane in lanes.items():
            figures[name].append(spent_s[name] / (TURNS * lane.count) * 1000)
    return Figures(figures)


def metadata(now: datetime) -> RegisterReport:
    """One data point: openleadr reads one value of an interval only."""
    point = ReportDescription(
        r_id=POINT,
        report_type="usage",
        reading_type="Direct Read",
        item_base=ItemBase.energy_real(),
        sampling_rate=SamplingRate(min_period=Duration.of(STEP), max_period=Duration(900)),
    )
    report = Report(
        duration=Duration(86_400),
        report_descriptions=(point,),
        report_specifier_id="usage",
        report_name="METADATA_TELEMETRY_USAGE",
        created_date_time=now,
    )
    return RegisterReport(request_id="m", reports=(report,), ven_id=ven_id(REPORTING))


class Days:
    """Reports of 960 readings each, one after the other in the last five weeks: all are new, and kept.

    A reading each ten seconds: so many reports of minutes do not fit into the time that a VTN takes data for.
    """

    def __init__(self, request_id: str, days_ago: int) -> None:
        self._start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=days_ago)
        self._request_id = request_id

    def __call__(self, count: int) -> list[bytes]:
        """So many bodies."""
        return [self._next() for _ in range(count)]

    def _next(self) -> bytes:
        start = self._start
        self._start += READINGS * STEP
        intervals = tuple(
            ReportInterval(
                dtstart=start + step * STEP,
                duration=Duration.of(STEP),
                payloads=(ReportPayload(r_id=POINT, payload_float=100.0 + step),),
            )
            for step in range(READINGS)
        )
        report = Report(
            dtstart=start,
            intervals=intervals,
            report_request_id=self._request_id,
            report_specifier_id="usage",
            report_name="TELEMETRY_USAGE",
            created_date_time=start,
        )
        return encode(UpdateReport(request_id="u", reports=(report,), ven_id=ven_id(REPORTING)))


def polls(number: int) -> Bodies:
    """The same poll again and again."""
    return lambda count: [encode(Poll(ven_id(number)))] * count


def signed_polls(directory: Path, number: int) -> Bodies:
    """Polls of a VEN that are signed now, each with a nonce of its own."""
    mine = identity_of(directory, number)
    signer = Signer((mine.cert.read_bytes(), str(mine.cert)), (mine.key.read_bytes(), str(mine.key)))
    body = encode(Poll(ven_id(number)))
    return lambda count: [signer.sign(body, datetime.now(UTC)) for _ in range(count)]


def plain_figures(directory: Path, rounds: int) -> dict[str, float]:
    """Polls, reports and lists of events."""
    with (
        running("ours", directory) as ours,
        running("openleadr", directory) as theirs,
        running("bare", directory) as bare,
    ):
        all_three = {"ours": ours, "openleadr": theirs, "bare": bare}
        two = {"ours": ours, "openleadr": theirs}
        asks = {
            name: Lane(server, Line(directory, server, 0), polls(0), 200)
            for name, server in all_three.items()
        }
        compare(asks, "OadrPoll", 1)  # warm
        poll = compare(asks, "OadrPoll", rounds)
        report = compare(_reporters(directory, two), "EiReport", rounds)
        event = compare(_listeners(directory, two), "EiEvent", rounds)
        stall_ms = _stall(directory, ours)
    return {
        "poll_ratio": poll.ratio("openleadr", "ours"),
        "poll_vs_bare_aiohttp": poll.ratio("ours", "bare"),
        "mtls_poll_cpu_ms": poll.ms("ours"),
        "report960_ratio": report.ratio("openleadr", "ours"),
        "report960_cpu_ms": report.ms("ours"),
        "request100_ratio": event.ratio("openleadr", "ours"),
        "request100_cpu_ms": event.ms("ours"),
        "stall_ms": stall_ms,
    }


def _listeners(directory: Path, two: dict[str, Running]) -> dict[str, Lane]:
    ask = encode(RequestEvent(request_id="e", ven_id=ven_id(WITH_EVENTS)))
    lanes = {
        name: Lane(server, Line(directory, server, WITH_EVENTS), lambda count: [ask] * count, 80)
        for name, server in two.items()
    }
    for lane in lanes.values():
        listed = decode(lane.line.post("EiEvent", ask), Limits(max_bytes=2**20, max_nodes=2**20))
        assert isinstance(listed, DistributeEvent) and len(listed.events) == EVENTS
    lanes["openleadr"].count = 1
    return lanes


def _reporters(directory: Path, two: dict[str, Running]) -> dict[str, Lane]:
    lanes = {}
    for name, server in two.items():
        line = Line(directory, server, REPORTING)
        lanes[name] = Lane(server, line, _registered(line, days_ago=34), 8 if name == "ours" else 1)
    return lanes


def _registered(line: Line, days_ago: int) -> Days:
    reply = decode(line.post("EiReport", encode(metadata(datetime.now(UTC)))))
    assert isinstance(reply, RegisteredReport)
    return Days(reply.report_requests[0].report_request_id, days_ago)


def _stall(directory: Path, ours: Running) -> float:
    """The longest poll of one VEN while another sends reports, milliseconds."""
    reporter, poller = Line(directory, ours, REPORTING), Line(directory, ours, 0)
    bodies = _registered(reporter, days_ago=10)(40)
    sending = threading.Thread(target=lambda: [reporter.post("EiReport", body) for body in bodies])
    poll, longest = encode(Poll(ven_id(0))), 0.0
    leave_what_is_loaded()  # our own collector's pauses are not the server's
    sending.start()
    while sending.is_alive():
        begun = time.perf_counter()
        poller.post("OadrPoll", poll)
        longest = max(longest, time.perf_counter() - begun)
    return longest * 1000


def signed_figures(directory: Path, rounds: int) -> dict[str, float]:
    """Signed polls with RSA-2048 on both sides, and with P-256."""
    rsa = _signed_polls_of(directory, KeyKind.RSA, SIGNING_RSA, rounds)
    p256 = _signed_polls_of(directory, KeyKind.EC, SIGNING, rounds)
    return {
        "signed_poll_ratio": rsa.ratio("openleadr", "ours"),
        "signed_poll_cpu_ms": rsa.ms("ours"),
        "signed_poll_p256_ratio": p256.ratio("openleadr", "ours"),
        "signed_poll_p256_cpu_ms": p256.ms("ours"),
    }


def _signed_polls_of(directory: Path, kind: KeyKind, number: int, rounds: int) -> Figures:
    with (
        running("ours", directory, signed=kind) as ours,
        running("openleadr", directory, signed=kind) as theirs,
    ):
        bodies = signed_polls(directory, number)
        lanes = {
            "ours": Lane(ours, Line(directory, ours, number), bodies, 40),
            "openleadr": Lane(theirs, Line(directory, theirs, number), bodies, 5),
        }
        compare(lanes, "OadrPoll", 1)  # warm
        return compare(lanes, "OadrPoll", rounds)


def idle_figure(directory: Path) -> dict[str, float]:
    """Memory of idle connections."""
    with running("ours", directory) as ours:
        first = [Line(directory, ours, 0) for _ in range(20)]
        before = ours.rss_kb()
        more = []
        for number in range(REPORTING + 1, REPORTING + 1 + IDLE):
            line = Line(directory, ours, number)
            line.post("OadrPoll", encode(Poll(ven_id(number))))  # at once: who says nothing is hung up on
            more.append(line)
        after = ours.rss_kb()
        for line in (*first, *more):
            line.close()
    return {"idle_conn_kb": (after - before) / IDLE}


def report(rounds: int) -> dict[str, Any]:
    """All figures, measured anew."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        asyncio.run(prepare(directory))
        figures = plain_figures(directory, rounds) | signed_figures(directory, rounds)
        figures |= idle_figure(directory)
        with running("ours", directory) as ours:
            figures |= uvloop.run(FanOut(directory, ours).run())
    return {key: round(value, 3) for key, value in figures.items()}


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each server")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(CORES)})
    print(json.dumps(report(arguments.rounds)))


if __name__ == "__main__":
    main()
