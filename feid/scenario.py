"""What a simulation is about: how many homes, whose load, since when. Read from TOML, checked, built."""

from __future__ import annotations

import logging
import tomllib
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

from feid.baseload import QUARTER_S, BaseLoad, GeneratedLoad, MeteredLoad
from feid.meters import MeterFileError, Meters, read_meters
from feid.neighbourhood import Neighbourhood
from feid.world import World

log = logging.getLogger(__name__)

# name -> (least, most) of the whole numbers
_BOUNDS = {
    "seed": (0, 2**63 - 1),
    "days_of_history": (1, 366),
    "nodes": (1, 200),
    "homes_per_node": (1, 99),
    "utc_offset_minutes": (-720, 840),
}


class ScenarioError(Exception):
    """A simulation cannot be set up as it was asked for."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A simulation.

    `start` is the first live instant, a quarter hour; `days_of_history` come before it. Without it: the last
    midnight (UTC), or with meters the first local midnight with enough history. Without `meters`, homes are
    generated, whose local time is `utc_offset_minutes` ahead of UTC; with meters the file's offset counts.
    """

    socket: Path
    seed: int = 1
    start: datetime | None = None
    days_of_history: int = 28
    nodes: int = 6
    homes_per_node: int = 10
    meters: Path | None = None
    utc_offset_minutes: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ScenarioError(f"{name} must be a whole number from {least} to {most}, got {value!r}")
        if self.utc_offset_minutes % 15:
            raise ScenarioError(
                f"utc_offset_minutes must be whole quarter hours, got {self.utc_offset_minutes}"
            )
        if self.start is not None and self.start.tzinfo is None:
            raise ScenarioError(f"start must carry a UTC offset, got {self.start.isoformat()}")
        if self.start is not None and (self.start.timestamp() % QUARTER_S):
            raise ScenarioError(f"start must be a whole quarter hour, got {self.start.isoformat()}")

    @property
    def node_ids(self) -> list[str]:
        """The nodes, `node-1` first."""
        return [f"node-{number + 1}" for number in range(self.nodes)]

    @property
    def homes(self) -> int:
        """Homes of all nodes together."""
        return self.nodes * self.homes_per_node

    @property
    def history(self) -> timedelta:
        """How long before the start the simulation begins."""
        return timedelta(days=self.days_of_history)


def read_scenario(path: Path) -> Scenario:
    """The scenario in a TOML file; ScenarioError names the file and what is wrong with it."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    known = [field.name for field in fields(Scenario)]
    for name in values:
        if name not in known:
            raise ScenarioError(f"{path}: unknown setting {name!r}; there are {', '.join(known)}")
    if "socket" not in values:
        raise ScenarioError(f"{path}: socket is missing, the path where the simulator listens")
    for name in ("socket", "meters"):
        if name in values:
            if not isinstance(values[name], str) or not values[name]:
                raise ScenarioError(f"{path}: {name} must be a path, got {values[name]!r}")
            values[name] = Path(values[name])
    if "start" in values:
        values["start"] = _moment(path, values["start"])
    try:
        return Scenario(**values)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from error


def _moment(path: Path, value: object) -> datetime:
    try:
        return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ScenarioError(f"{path}: start must be a date and time, got {value!r}") from error


def build(scenario: Scenario, now: datetime) -> tuple[World, datetime]:
    """The world at the beginning of its history, and the instant when it becomes live."""
    base: BaseLoad
    if scenario.meters is None:
        start = scenario.start or now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        base = GeneratedLoad(scenario.seed, scenario.homes, scenario.utc_offset_minutes * 60)
    else:
        meters = _read_enough(scenario, scenario.meters)
        start = _live_start(scenario, meters)
        base = MeteredLoad(meters, scenario.homes)
    hood = Neighbourhood.generate(scenario.seed, scenario.homes)
    begin = start.astimezone(UTC) - scenario.history
    return World(hood, base, begin, scenario.homes_per_node), start


def _read_enough(scenario: Scenario, path: Path) -> Meters:
    try:
        meters = read_meters(path)
    except MeterFileError as error:
        raise ScenarioError(str(error)) from error
    for remark in meters.remarks[:20]:
        log.warning("%s: %s", path, remark)
    if len(meters.remarks) > 20:
        log.warning("%s: and %d more", path, len(meters.remarks) - 20)
    if len(meters.names) < scenario.homes:
        needed = f"{scenario.nodes} nodes x {scenario.homes_per_node} homes need {scenario.homes} meters"
        raise ScenarioError(
            f"{path}: {needed}, the file has {len(meters.names)}: ask for fewer nodes or homes"
        )
    return meters


def _live_start(scenario: Scenario, meters: Meters) -> datetime:
    """The start asked for, or the first local midnight with enough history; the file must cover it."""
    first = meters.start.astimezone(UTC) + scenario.history
    start = scenario.start
    if start is None:
        offset = timedelta(seconds=meters.utc_offset_s)
        local = (first + offset).replace(hour=0, minute=0, second=0, microsecond=0) - offset
        start = local if local >= first else local + timedelta(days=1)
    if start < first or start >= meters.end:
        covers = f"{meters.start.isoformat()} to {meters.end.isoformat()}"
        asked = f"{scenario.days_of_history} days of history before {start.isoformat()}"
        raise ScenarioError(f"{scenario.meters}: the meters cover {covers}, not {asked} and the day itself")
    return start
