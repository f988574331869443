"""A site whose data points have three digits on the wire, for peers that take no other rID (RPT-48)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from openadr import Event
from openadr.enums import OptType
from openadr.timeline import Timeline
from ven.facility import Capability, Facility, Reading

LIMIT = 1000


class NumberedPoints:
    """A Facility in front of another: `000` is its first data point, by name, `001` the next.

    The same name has the same number in every report. It reads no reports of the VTN (`ReportReader`).
    ValueError where there are more than a thousand.
    """

    def __init__(self, facility: Facility) -> None:
        """Number what `facility` offers now; what it offers later under new names is left out."""
        self._facility = facility
        names = sorted({capability.r_id for capability in facility.capabilities()})
        if len(names) > LIMIT:
            raise ValueError(f"{len(names)} data points have no rIDs of three digits, at most {LIMIT} have")
        self._numbers = {name: f"{number:03}" for number, name in enumerate(names)}
        self._names = {number: name for name, number in self._numbers.items()}

    def capabilities(self) -> Sequence[Capability]:
        """The site's data points, numbered."""
        return [
            replace(capability, r_id=self._numbers[capability.r_id])
            for capability in self._facility.capabilities()
            if capability.r_id in self._numbers
        ]

    def decide(self, event: Event, now: datetime) -> OptType:
        """The site's own decision."""
        return self._facility.decide(event, now)

    def follow(self, timeline: Timeline) -> None:
        """The site follows."""
        self._facility.follow(timeline)

    def read(
        self, report_name: str, r_ids: Sequence[str], start: datetime, end: datetime
    ) -> Sequence[Reading]:
        """The site's readings of these numbers."""
        names = [self._names[r_id] for r_id in r_ids if r_id in self._names]
        readings = self._facility.read(report_name, names, start, end)
        return [
            replace(reading, r_id=self._numbers[reading.r_id])
            for reading in readings
            if reading.r_id in self._numbers
        ]

    def watermark(self, report_name: str) -> datetime | None:
        """The site's own."""
        return self._facility.watermark(report_name)
