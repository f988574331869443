"""From the meters' quarter-hour registers to readings that the aggregator can settle on.

A register that is missing, negative or absurd is never passed on silently: its value is replaced by the same
home's last good value of the same quarter hour of the day, and its quality says so. The quality of the node's
sum is the worst of its homes.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from feid.devices import Driver, MeterReading, Quality
from feid.guard import Limits
from feid.store import KEPT, QUARTER_HOUR, Register, Store

log = logging.getLogger(__name__)

_SEVERITY = (
    "Quality Good",
    "Quality Limit",
    "Quality Uncertain",
    "No New Value",
    "Quality Bad",
    "No Quality",
)
SILENT = _SEVERITY.index("Quality Bad")
"""The severity from which on a meter gave no value of its own."""
_ABSURD = 1.5  # a register above this multiple of what the connection carries is no consumption
COMPLETE_UNTIL = "complete_until"
GRACE = timedelta(minutes=45)
"""How long a silent meter is waited for before its home is reported as missing: less than the hour for which
an offer stands, which needs every register before it.
"""

_AHEAD = timedelta(days=1)  # a clock set back by less is waited for

Given = Mapping[tuple[str, datetime], MeterReading]


def severity(quality: str) -> int:
    """How bad an oadrDataQuality is: 0 is good; an unknown word counts as the worst."""
    return next((n for n, word in enumerate(_SEVERITY) if quality.startswith(word)), len(_SEVERITY))


def quarter_floor(at: datetime) -> datetime:
    """The beginning of the quarter hour that holds an instant."""
    return at - timedelta(minutes=at.minute % 15, seconds=at.second, microseconds=at.microsecond)


def judge(reading: MeterReading, capacity_kw: float, usual: Register | None) -> Register:
    """The register as it is kept: with its own value if it can be true, else with the usual one and a quality
    that says so.
    """
    highest_wh = capacity_kw * _ABSURD * 1000 * (reading.duration / timedelta(hours=1))
    if 0 <= reading.energy_wh <= highest_wh:
        flexible_wh = min(max(reading.flexible_wh, 0), round(highest_wh))
        return Register(reading.home_id, reading.start, reading.energy_wh, flexible_wh, str(reading.quality))
    worst = max(str(reading.quality), str(Quality.IMPLAUSIBLE), key=severity)
    return _usual(reading.home_id, reading.start, usual, worst)


def _usual(home_id: str, start: datetime, usual: Register | None, quality: str) -> Register:
    if usual is None:
        return Register(home_id, start, 0, 0, quality)
    return Register(home_id, start, usual.energy_wh, usual.flexible_wh, quality)


def node_sums(registers: Iterable[Register], homes: int) -> dict[datetime, Register]:
    """The node's sum of each quarter hour, with the worst quality of its homes; an absent home makes it `No
    Quality`.
    """
    by_start: dict[datetime, list[Register]] = {}
    for register in registers:
        by_start.setdefault(register.start, []).append(register)
    return {start: _sum(start, of_homes, homes) for start, of_homes in by_start.items()}


def _sum(start: datetime, of_homes: Sequence[Register], homes: int) -> Register:
    worst = max((r.quality for r in of_homes), key=severity)
    if len(of_homes) < homes:
        worst = str(Quality.MISSING)
    return Register(
        "load", start, sum(r.energy_wh for r in of_homes), sum(r.flexible_wh for r in of_homes), worst
    )


@dataclass(frozen=True, slots=True)
class Metering:
    """Fetches registers from the driver into the store, each quarter hour once, in order."""

    store: Store
    driver: Driver
    limits: Limits
    homes: tuple[str, ...]

    def complete_until(self) -> datetime | None:
        """Every quarter hour before this instant is kept, for every home."""
        return self.store.mark(COMPLETE_UNTIL)

    def look_back(self, history: timedelta) -> None:
        """Fetch again from the first gap on: a memory that was damaged may have lost what it had."""
        until = self.complete_until()
        if until is None:
            return
        gap = self.store.first_gap(len(self.homes), until - min(history, KEPT), until)
        if gap is not None:
            log.error("readings from %s on are lost and are fetched again", gap.isoformat())
            self.store.keep_mark(COMPLETE_UNTIL, gap)

    async def collect(self, now: datetime, history: timedelta) -> int:
        """Fetch what is new, at first the whole history; how many quarter hours. Raises DriverError.

        A quarter hour that lacks a home is waited for during `GRACE`, then kept with what there is.
        """
        end = quarter_floor(now)
        self._mend(end)
        begin = self.complete_until()
        first = end - min(history, KEPT)
        start = first if begin is None else max(begin, end - KEPT)  # nothing older is kept
        quarters = 0
        while start < end:
            stop = min(end, start + timedelta(days=1))
            given = {(r.home_id, r.start): r for r in await self.driver.meter_readings(start, stop)}
            if begin is None and not quarters:
                start = min((at for _, at in given), default=stop)
            complete = self._complete(given, start, stop, now)
            self._keep(given, start, complete)
            quarters += (complete - start) // QUARTER_HOUR
            if complete < stop:
                break
            start = stop
        return quarters

    def _mend(self, end: datetime) -> None:
        """Begin anew after a clock that was far ahead: what was kept then is nobody's reading."""
        until = self.complete_until()
        if until is None or until - end <= _AHEAD:
            return
        log.error("the clock was ahead, at %s: readings are fetched again", until.isoformat())
        self.store.forget_from(end)
        self.store.keep_mark(COMPLETE_UNTIL, None)

    def _complete(self, given: Given, start: datetime, stop: datetime, now: datetime) -> datetime:
        """How far the given readings can be kept: to the first quarter hour that is worth waiting for."""
        at = start
        while at < stop:
            present = sum((home, at) in given for home in self.homes)
            if present < len(self.homes) and now - at - QUARTER_HOUR < GRACE:
                return at
            at += QUARTER_HOUR
        return stop

    def _keep(self, given: Given, start: datetime, stop: datetime) -> None:
        if start >= stop:
            return
        usual = self._usual_day(start)
        kept: list[Register] = []
        at = start
        while at < stop:
            for home in self.homes:
                last = usual.get((home, at.hour, at.minute))
                reading = given.get((home, at))
                if reading is None:
                    register = _usual(home, at, last, str(Quality.MISSING))
                else:
                    register = judge(reading, self.limits.capacity_kw(home), last)
                kept.append(register)
            at += QUARTER_HOUR
        self.store.keep_registers(kept, complete_until=(COMPLETE_UNTIL, stop))

    def _usual_day(self, start: datetime) -> Mapping[tuple[str, int, int], Register]:
        """The newest good register of each home and quarter hour of the day, of the week before."""
        return {
            (r.home_id, r.start.hour, r.start.minute): r
            for r in self.store.registers(start - timedelta(days=7), start)
            if severity(r.quality) == 0
        }
