"""The watch over one running aggregator: what it looks at, and how it speaks of what it finds."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from aggregator.alarm_fleet import Fleet
from aggregator.alarm_platform import Machine, Trouble
from aggregator.alarm_watch import AlarmWatch
from aggregator.dashboard.alarm_words import described
from aggregator.dashboard.wording import FALLBACK, Wording
from aggregator.notifier import Notifier
from aggregator.settings import AggregatorSettings
from vtn.server import Server


def make_watch(
    settings: AggregatorSettings,
    *,
    fleet: Callable[[], Fleet],
    chain_state: Callable[[], Mapping[str, Any]],
    witnesses: Callable[[], Sequence[Trouble]],
    tasks: Callable[[], Sequence[Trouble]],
    address: Callable[[], str],
    clock: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[None]],
) -> AlarmWatch:
    """A watch that is not looking yet; StartupError where notices could not be sent as the settings say."""
    zone = ZoneInfo(settings.programme.zone)
    describe = described(lambda: Wording(FALLBACK, zone, clock()))
    machine = Machine(
        chain_state=chain_state,
        witnesses=witnesses,
        tasks=tasks,
        free_bytes=lambda: shutil.disk_usage(settings.state).free,
        started_at=clock(),
        checkpoint_period=timedelta(seconds=settings.programme.checkpoint_period_s),
        certificates=_certificates(settings),
    )
    notifier = Notifier(settings.notices, settings.log.origin, describe, address, clock)
    return AlarmWatch(machine, fleet, notifier, clock=clock, sleep=sleep)


def fleet_of(settings: AggregatorSettings, vtn: Server) -> Fleet:
    """What the VTN knows of its nodes now."""
    return Fleet(
        contacts=vtn.last_contacts(),
        clock_skews=vtn.clock_skews(),
        poll_period_s=settings.vtn.poll_period_s,
        clock_skew_s=settings.vtn.clock_skew_s,
        deadline=timedelta(seconds=settings.programme.settlement_deadline_s),
    )


def _certificates(settings: AggregatorSettings) -> dict[str, Path]:
    """The certificates that our listeners show, by a name for people."""
    found = {f"vtn {cert.name}": cert for cert, _ in settings.vtn.pairs}
    if settings.web is not None and settings.web.cert is not None:
        found[f"web {settings.web.cert.name}"] = settings.web.cert
    return found
