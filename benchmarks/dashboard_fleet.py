"""The fleet that `benchmarks/dashboard.py` looks at, and the aggregator that shows it, a process of its own.

10,000 VENs are registered with a certificate and have just spoken; the first 1,000 have an agreement, and an
offer of 1 to 5 kW for the day. 90 days of quarter hours are there for the first 50 of these: a household's
two humps, larger on weekdays, with noise from a fixed seed. 200 events of 20 nodes lie behind, 40 to come.
The day is always the same, so the database is made once and copied.

    python benchmarks/dashboard_fleet.py FOLDER

serves a copy in FOLDER, prints one line of JSON with its addresses, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

# Run as a script, this folder comes first on the path, and openadr.py in it hides the package.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyotp  # noqa: E402 - see above
from sqlalchemy import delete, insert, update  # noqa: E402 - see above
from sqlalchemy.ext.asyncio import AsyncConnection  # noqa: E402 - see above

from aggregator import enrolment, request  # noqa: E402 - see above
from aggregator.access import session  # noqa: E402 - see above
from aggregator.access import user as users  # noqa: E402 - see above
from aggregator.access.access import wall_clock  # noqa: E402 - see above
from aggregator.access.permission import Role  # noqa: E402 - see above
from aggregator.clearance import MACHINE_OWNER  # noqa: E402 - see above
from aggregator.curve import PORTFOLIO  # noqa: E402 - see above
from aggregator.dispatch import ReductionRequest  # noqa: E402 - see above
from aggregator.portfolio import Portfolio  # noqa: E402 - see above
from aggregator.profile import QUARTER, LoadProfile, Period  # noqa: E402 - see above
from aggregator.request import Asked  # noqa: E402 - see above
from aggregator.schema import call_table, series_table  # noqa: E402 - see above
from aggregator.server import Aggregator  # noqa: E402 - see above
from aggregator.settings import AggregatorSettings, NodeSettings  # noqa: E402 - see above
from flexpact.collector import leave_what_is_loaded  # noqa: E402 - see above
from flexpact.migrations import upgrade  # noqa: E402 - see above
from ledger.checkpoint import SigningKey  # noqa: E402 - see above
from vtn import journal  # noqa: E402 - see above
from vtn.enrolment import Wanted, enrol_new  # noqa: E402 - see above
from vtn.journal import New  # noqa: E402 - see above
from vtn.schema import certificate_table, micros, outbox_table, ven_table  # noqa: E402 - see above
from vtn.store import Database  # noqa: E402 - see above

VENS, AGREED, METERED, DAYS = 10_000, 1_000, 50, 90
PAST_EVENTS, COMING_EVENTS, CALLS = 200, 40, 20
NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
MIDNIGHT = NOW.replace(hour=0)
MADE_BY = 3  # another number makes the database anew
CONTEXT = "http://benchmark.flexpact.example/programme"
ORIGIN = "benchmark.flexpact.example/log"
AGREEMENT = {
    "capacity_kw": 50,
    "price_minor_per_kwh": 30,
    "penalty_minor_per_kwh": 20,
    "threshold": "0.8",
    "max_calls_per_day": 4,
    "notice_min": 0,
    "currency": "EUR",
}


def ven_id(number: int) -> str:
    """Id and name of a VEN."""
    return f"ven-{number:05}"


def fingerprint(number: int) -> str:
    """Of its certificate."""
    return f"{number:064x}"


def node(number: int) -> NodeSettings:
    """A VEN as the settings name it."""
    return NodeSettings.model_validate(
        {
            "ven_name": ven_id(number),
            "ven_id": ven_id(number),
            "fingerprint": fingerprint(number),
            "agreement": AGREEMENT,
        }
    )


def used_wh(number: int, chance: random.Random) -> Iterator[tuple[datetime, float]]:
    """What a node uses in each quarter hour of the 90 days before now."""
    start = MIDNIGHT - timedelta(days=DAYS)
    size = 4 + number % 17
    for slot in range(DAYS * 96 + 48):
        at = start + slot * QUARTER
        hour = at.hour + at.minute / 60
        humps = math.exp(-((hour - 8) ** 2) / 4) + 1.6 * math.exp(-((hour - 19) ** 2) / 6)
        week = 1.0 if at.weekday() < 5 else 0.8
        yield at, round(250 * size * week * (0.4 + humps) * chance.uniform(0.9, 1.1))


def database(cache: Path) -> Path:
    """The database, made now unless it is in `cache`."""
    made = cache / f"fleet-{MADE_BY}.sqlite"
    draft = made.with_suffix(".part")
    if not made.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        upgrade(draft)
        asyncio.run(_fill(draft))
        _meter(draft)
        draft.rename(made)
    return made


async def _fill(path: Path) -> None:
    db = await Database.open(path)
    async with db.write() as conn:
        await enrol_new(conn, [Wanted(ven_id(n), fingerprint(n), ven_id(n)) for n in range(VENS)], NOW)
        await enrolment.agree(conn, [node(n) for n in range(AGREED)], NOW, on_chain=False)
        registered = {
            "registration_id": "reg-" + ven_table.c.ven_id,
            "registered_at": NOW - timedelta(days=DAYS),
            "last_contact": NOW,
        }
        await conn.execute(update(ven_table).values(registered))
        await conn.execute(update(certificate_table).values(expires_at=NOW + timedelta(days=200)))
        await conn.execute(insert(series_table), [*(_offer(n) for n in range(AGREED)), _forecast()])
        await journal.record_all(conn, "report", [_history(n) for n in range(METERED)], NOW)
    portfolio = Portfolio(settings_in(path.parent))
    for event in range(PAST_EVENTS + COMING_EVENTS):
        async with db.write() as conn:
            await _ask(conn, portfolio, event)
    async with db.write() as conn:
        settled = update(call_table).where(call_table.c.end < NOW).values(settled_revision=1)
        await conn.execute(settled)
        await conn.execute(delete(outbox_table))
    await db.close()


def _offer(number: int) -> dict[str, object]:
    profile = LoadProfile(MIDNIGHT, QUARTER, (1.0 + number % 5,) * 192)
    return {
        "ven_id": ven_id(number),
        "r_id": "offer",
        "issued_at": MIDNIGHT,
        "start": profile.start,
        "step_s": 900,
        "values_kw": json.dumps(profile.kw),
    }


def _forecast() -> dict[str, object]:
    """The portfolio's own, of the day."""
    return {**_offer(0), "ven_id": PORTFOLIO, "r_id": "load_forecast", "values_kw": json.dumps((900.0,) * 96)}


async def _ask(conn: AsyncConnection, portfolio: Portfolio, event: int) -> None:
    """One event of 20 nodes by the product's own function, asked for three hours before it."""
    ahead = event - PAST_EVENTS
    days = ahead + 1 if ahead >= 0 else ahead // 3
    start = MIDNIGHT + timedelta(hours=17 + 2 * (event % 3), days=days)
    names = {ven_id((event * CALLS + call) % AGREED): 1000 for call in range(CALLS)}
    asked = Asked(ReductionRequest(Period(start, start + timedelta(hours=1)), 1000 * CALLS), names)
    now = min(NOW, start - timedelta(hours=3))
    await request.send(conn, portfolio, CONTEXT, asked, now, sender=MACHINE_OWNER)


def _history(number: int) -> New:
    body = {
        "report_name": "HISTORY_USAGE",
        "readings": DAYS * 96,
        "start": journal.iso(MIDNIGHT - timedelta(days=DAYS)),
        "end": journal.iso(MIDNIGHT),
    }
    return New(ven_id(number), "history", body, None)


def _meter(path: Path) -> None:
    """Write the readings past the wire: it would take an hour to send them."""
    chance = random.Random(0)
    made = micros(NOW)
    with sqlite3.connect(path) as direct:
        for number in range(METERED):
            rows = (
                (
                    micros(at),
                    ven_id(number),
                    "load",
                    "HISTORY_USAGE",
                    900.0,
                    wh,
                    "Quality Good - Non Specific",
                    made,
                    "h",
                )
                for at, wh in used_wh(number, chance)
            )
            direct.executemany("INSERT INTO vtn_reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    direct.close()


def settings_in(folder: Path) -> AggregatorSettings:
    """Of an aggregator whose state is in `folder`; its key is made where there is none."""
    key = folder / "log.key"
    if not key.exists():
        SigningKey.generate(ORIGIN).save(key)
    return AggregatorSettings.model_validate(
        {
            "state": folder,
            "socket": folder / "control",
            "vtn": {"port": 0, "insecure_dev": True, "poll_period_s": 3600},
            "web": {"port": 0, "insecure_dev": True},
            "log": {"origin": ORIGIN, "key_file": key},
            "programme": {"history_days": 28, "market_context": CONTEXT},
            "nodes": [node(n).model_dump() for n in range(AGREED)],
        }
    )


async def serve(folder: Path) -> None:
    """Run the aggregator on the database in `folder` until standard input ends."""
    began = time.monotonic()

    def clock() -> datetime:
        return NOW + timedelta(seconds=time.monotonic() - began)

    settings = settings_in(folder)
    aggregator = Aggregator(settings, clock, asyncio.sleep)
    await aggregator.start()
    start_s = time.monotonic() - began
    if aggregator.web is None or aggregator._db is None:
        raise RuntimeError("the dashboard does not listen")
    async with aggregator._db.write() as conn:
        user = await users.named(conn, "benchmark")
        if user is None:
            user = await users.add(conn, "benchmark", Role.OPERATOR, wall_clock(), scope=None)
            await users.change(conn, user.user_id, totp_secret=pyotp.random_base32())
        token = await session.begin(conn, user.user_id, "a benchmark", wall_clock(), factor_at=wall_clock())
    found = {
        "web": aggregator.web.address,
        "vtn": aggregator.port,
        "socket": str(settings.socket),
        "token": token,
        "start_s": round(start_s, 2),
    }
    print(json.dumps(found), flush=True)
    leave_what_is_loaded()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await aggregator.stop()


def lay(cache: Path, folder: Path) -> None:
    """Put a copy of the database into a folder for `serve`."""
    copy = folder / "aggregator.sqlite"
    shutil.copy(database(cache), copy)
    upgrade(copy)  # the cache may be older than the schema


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
