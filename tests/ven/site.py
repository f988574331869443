"""A site of its own for tests of the VEN: quarter-hour readings from a formula, decisions kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from openadr import Event
from openadr.enums import OptType
from openadr.timeline import Timeline
from ven.facility import Capability, Reading, Unit

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
USAGE, HISTORY, OFFER = "TELEMETRY_USAGE", "HISTORY_USAGE", "x-FLEXIBILITY_OFFER"


def energy_wh(r_id: str, start: datetime) -> float:
    """What the meter `r_id` counted in the quarter-hour that begins at `start`."""
    return float((start - EPOCH) // QUARTER % 97 + len(r_id))


def capability(report_name: str, r_id: str, **changes: object) -> Capability:
    values: dict[str, object] = {
        "report_name": report_name,
        "specifier_id": f"spec-{report_name}",
        "r_id": r_id,
        "unit": Unit.ENERGY_WH,
        "reading_type": "Direct Read",
        "min_period": QUARTER,
        "max_period": timedelta(hours=1),
        "history": timedelta(days=28),
        "ahead": timedelta(hours=24) if report_name == OFFER else timedelta(0),
    }
    return Capability(**(values | changes))  # type: ignore[arg-type] - fields by name


def all_capabilities() -> list[Capability]:
    return [
        capability(USAGE, "load"),
        capability(USAGE, "home-01", resource_id="home-01"),
        capability(HISTORY, "load"),
        capability(HISTORY, "home-01", resource_id="home-01"),
        capability(OFFER, "offer", reading_type="Projected"),
    ]


@dataclass
class Site:
    """A Facility whose meter is complete up to `complete_until`."""

    complete_until: datetime | None = NOW
    opt: OptType = OptType.OPT_IN
    offered: list[Capability] = field(default_factory=all_capabilities)
    decided: list[tuple[str, int]] = field(default_factory=list)
    timelines: list[Timeline] = field(default_factory=list)
    missing: set[tuple[str, datetime]] = field(default_factory=set)
    values: dict[tuple[str, datetime], float] = field(default_factory=dict)

    def capabilities(self) -> Sequence[Capability]:
        return self.offered

    def decide(self, event: Event, now: datetime) -> OptType:
        self.decided.append((event.event_id, event.modification_number))
        return self.opt

    def follow(self, timeline: Timeline) -> None:
        self.timelines.append(timeline)

    def read(
        self, report_name: str, r_ids: Sequence[str], start: datetime, end: datetime
    ) -> Sequence[Reading]:
        readings = []
        first = EPOCH - (EPOCH - start) // QUARTER * QUARTER
        while first < end:
            for r_id in r_ids:
                if (r_id, first) not in self.missing:
                    value = self.values.get((r_id, first), energy_wh(r_id, first))
                    readings.append(Reading(r_id, first, QUARTER, value))
            first += QUARTER
        return readings

    def watermark(self, report_name: str) -> datetime | None:
        if self.complete_until is not None and report_name == OFFER:
            return self.complete_until + timedelta(hours=25)
        return self.complete_until
