"""The whole demo: from the options to the summary and its checks."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from feid.meters import MeterFileError, Meters, read_meters
from flexpact.clock import Clock
from flexpact.demo.audit import audit_boxes
from flexpact.demo.control import Control
from flexpact.demo.day import Day
from flexpact.demo.errors import DemoError
from flexpact.demo.layout import Layout
from flexpact.demo.peer import PeerDay
from flexpact.demo.plan import Options, Plan, make_peer_plan, make_plan
from flexpact.demo.processes import Fleet, make_directory
from flexpact.demo.screen import picture
from flexpact.demo.summary import Check, Summary, summarise
from flexpact.demo.view import View


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a demo came to: its numbers, every check, held or not, and the main thing in a sentence."""

    summary: Summary
    sentence: str
    checks: Sequence[Check]

    @property
    def held(self) -> bool:
        """Whether every check held."""
        return all(check.held for check in self.checks)


async def play(options: Options, view: View) -> Outcome:
    """Play the day, write everything that it leaves in `options.out`, and return what it came to."""
    began = time.monotonic()
    meters = _meters(options)
    plan = _plan(options, meters)
    make_directory(options.out)
    if meters is not None and meters.remarks:
        tell_remarks(meters, options.out / "meters.txt", view)
    with tempfile.TemporaryDirectory(prefix="flexpact-") as sockets:
        layout = Layout(options.out.resolve(), Path(sockets))
        async with Fleet(layout.logs) as fleet, Control(layout.control_socket) as control:
            day = (PeerDay if options.peer else Day)(plan, layout, fleet, control, view)
            await day.set_up()
            await day.live()
            await day.seal()
            verdict = await day.export()
            day.say(f"{verdict.verified} of {verdict.receipts} receipts verified offline")
            audited = await asyncio.to_thread(audit_boxes, layout, plan.nodes, day.clock())
            day.say(f"{audited.complete} of {len(plan.nodes)} boxes find all that they did in the log")
            last = await day.whole_day()
            facts = await day.facts()
    if last is not None:
        (layout.directory / "terminal.svg").write_text(picture(last), encoding="utf-8")
    summary = summarise(plan, facts, verdict, time.monotonic() - began)
    summary.write(layout.directory / "summary.json")
    checks = [*day.checks(summary, facts, verdict.trouble), *audited.checks(len(plan.nodes))]
    return Outcome(summary, day.sentence(summary), checks)


def _plan(options: Options, meters: Meters | None) -> Plan:
    """Return what will be played; `DemoError` where the meter file does not cover it."""
    if options.peer:
        return make_peer_plan(options, Clock.real()())
    if meters is None:
        return make_plan(options)
    covers = f"{options.meters} covers {meters.start.isoformat()} to {meters.end.isoformat()}"
    try:
        plan = make_plan(options, meters.start)
    except OverflowError:
        raise DemoError(f"{covers}, too far from today to be played") from None
    if meters.end < plan.end:
        raise DemoError(f"{covers}; the demo needs 28 days and the day after them, to {plan.end.isoformat()}")
    return plan


def _meters(options: Options) -> Meters | None:
    """Return the meter file's content, None without one; `DemoError` when the file cannot be played."""
    if options.meters is None:
        return None
    try:
        meters = read_meters(options.meters)
    except (MeterFileError, OSError) as error:
        raise DemoError(str(error)) from None
    needed = options.vens * options.households_per_ven
    if len(meters.names) < needed:
        raise DemoError(
            f"{options.meters} has {len(meters.names)} meters, and {options.vens} nodes with "
            f"{options.households_per_ven} homes need {needed}; see --vens and --households-per-ven"
        )
    return meters


def tell_remarks(meters: Meters, path: Path, view: View) -> None:
    """Say that values are marked, and where the list of them lies."""
    path.write_text("\n".join(meters.remarks) + "\n", encoding="utf-8")
    view.phase(
        f"{len(meters.remarks)} remarks on the meter file, all in {path}; the first: {meters.remarks[0]}"
    )
