"""What one demo is going to do, worked out before anything starts: nodes, times, places."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from flexpact.demo.errors import DemoError
from flexpact.demo.faults import Fault

HISTORY = timedelta(days=28)
DAY = timedelta(days=1)
QUARTER = timedelta(minutes=15)
GENERATED_DAY = datetime(2026, 1, 20, tzinfo=UTC)
"""The day that generated homes live through: a Tuesday in winter."""
MARKET_CONTEXT = "http://flexpact.example/evening-peak"
_DAY_SPEED, _WINDOW_SPEED = 288.0, 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the person who starts the demo may choose."""

    out: Path
    speed: float | None = None
    meters: Path | None = None
    seed: int = 1
    vens: int = 6
    households_per_ven: int = 10
    window: bool = False
    fault: Fault | None = None
    peer: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """One demo: who takes part, and what happens when (simulated time, aware UTC)."""

    options: Options
    midnight: datetime  # the local day of the event begins
    start: datetime  # the live part begins; history lies before it
    asked: datetime  # the operator asks for the reduction
    event_start: datetime
    event_end: datetime
    end: datetime  # everything must be settled; the run is sealed
    speed: float
    utc_offset: timedelta

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the virtual nodes."""
        return tuple(f"node-{number}" for number in range(1, self.options.vens + 1))

    @property
    def event_length(self) -> timedelta:
        """How long the reduction is asked for."""
        return self.event_end - self.event_start

    @property
    def zone(self) -> str:
        """The IANA name of the fixed offset in which the programme counts its days."""
        hours = self.utc_offset // timedelta(hours=1)
        return "UTC" if hours == 0 else f"Etc/GMT{-hours:+d}"  # the sign of these names is turned round

    @property
    def households(self) -> int:
        """All homes behind all nodes."""
        return self.options.vens * self.options.households_per_ven


def make_plan(options: Options, first_reading: datetime | None = None) -> Plan:
    """Return the plan of a day, or of a window of six hours around the event.

    `first_reading` is where a meter file begins, in the file's own offset; the live day is the first whole
    day with 28 days before it. `DemoError` where the offset is not of whole hours.
    """
    day = GENERATED_DAY if first_reading is None else _first_day(first_reading)
    offset = day.utcoffset() or timedelta(0)
    if offset % timedelta(hours=1):
        raise DemoError(f"the meter file's times are {offset} from UTC; the demo plays whole hours only")
    event_start = day + timedelta(hours=17)
    start = day + timedelta(hours=14) if options.window else day
    return Plan(
        options=options,
        midnight=day.astimezone(UTC),
        start=start.astimezone(UTC),
        asked=(event_start - timedelta(hours=2 if options.window else 3)).astimezone(UTC),
        event_start=event_start.astimezone(UTC),
        event_end=(event_start + timedelta(hours=2)).astimezone(UTC),
        end=(start + timedelta(hours=6) if options.window else day + DAY).astimezone(UTC),
        speed=options.speed or (_WINDOW_SPEED if options.window else _DAY_SPEED),
        utc_offset=offset,
    )


def make_peer_plan(options: Options, now: datetime) -> Plan:
    """Return the plan of a short while in real time; the event's times are set when the stranger is there."""
    quarter_s = int(QUARTER.total_seconds())
    start = datetime.fromtimestamp(int(now.timestamp()) // quarter_s * quarter_s, UTC)
    midnight = start.replace(hour=0, minute=0)
    return Plan(
        options=options,
        midnight=midnight,
        start=start,
        asked=start,
        event_start=start,
        event_end=start,
        end=midnight + DAY,
        speed=1.0,
        utc_offset=timedelta(0),
    )


def _first_day(first_reading: datetime) -> datetime:
    """Return the first local midnight with the whole history before it."""
    zone = timezone(first_reading.utcoffset() or timedelta(0))
    local = first_reading.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight if midnight == local else midnight + DAY) + HISTORY
