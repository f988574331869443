"""What a VEN needs from the site that it speaks for.

The box behind a VEN (for us `feid`) implements `Facility`. Every call is local, synchronous and quick (some
milliseconds): no network, no waiting. The VEN calls from one thread only. Times are aware UTC, periods half-
open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable

from openadr import Event, Report, ReportRequest, ResourceStatus
from openadr.enums import DataQuality, OptType
from openadr.timeline import Timeline

GOOD = DataQuality.GOOD.value
"""The data quality of a reading that nothing speaks against (a word of the OpenADR schema)."""


class Unit(StrEnum):
    """What a reading counts. Consumption is positive."""

    ENERGY_WH = "energy_wh"
    """Energy within the interval, in watt-hours."""
    POWER_W = "power_w"
    """Mean power over the interval, in watts."""
    STATUS = "status"
    """No quantity: whether a resource is online, overridden by hand, and how far it is controlled."""


@dataclass(frozen=True, slots=True)
class Capability:
    """One data point that the site can report, as the VEN's metadata names it.

    Capabilities of one `specifier_id` make one report and share name, periods, `history` and `ahead`; `r_id`
    is unique among them.
    """

    report_name: str
    """`TELEMETRY_USAGE`, `TELEMETRY_STATUS` (unit `STATUS`), `HISTORY_USAGE` or a name that begins with
    `x-`."""
    specifier_id: str
    r_id: str
    unit: Unit
    reading_type: str
    """A word of the schema, such as `Direct Read` or `Projected`."""
    min_period: timedelta
    """Length of the site's own intervals: the finest granularity that it can report."""
    max_period: timedelta
    """Longest interval that a reading may be summed up to; whole multiple of `min_period`."""
    history: timedelta
    """How far back `read` can answer."""
    resource_id: str | None = None
    """The resource measured; None means the whole site."""
    report_type: str = "usage"
    """A word of the schema, such as `usage`, `demand` or `x-...`."""
    ahead: timedelta = timedelta(0)
    """Zero for metered values: the report of a period carries that period. A forecast looks ahead: a report
    due at `t` covers `[t, t + ahead)`, and of reports missed while the VEN was away only the newest is
    made."""
    device_class: str | None = None
    """The class of device measured (a word of the standard); None: all. Narrows `resource_id` (RPT-08)."""
    market_context: str | None = None
    """The programme that the value belongs to; None: any."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value for one interval. A `value` that is not finite is reported as bad quality, never as a
    number; for the unit `STATUS` it means nothing, and `status` is the state at `start`."""

    r_id: str
    start: datetime
    duration: timedelta
    value: float
    quality: str = GOOD
    accuracy: float | None = None
    """How far the value may be off, in its own unit."""
    confidence: int | None = None
    """How sure the value is, 0 to 100."""
    status: ResourceStatus | None = None


class Facility(Protocol):
    """The site behind a VEN."""

    def capabilities(self) -> Sequence[Capability]:
        """Every data point that the site can report, complete, in a stable order."""

    def decide(self, event: Event, now: datetime) -> OptType:
        """Whether the site will follow this event; asked once for each modification of it that is not
        cancelled. `ven.errors.RefusedEventError` refuses it with a response code and text of its own."""

    def follow(self, timeline: Timeline) -> None:
        """Replace what the site follows; called once at the start and after each change.

        Only events that were opted in, are not cancelled and are no tests are in it, moved by their random
        start offset.
        """

    def read(
        self, report_name: str, r_ids: Sequence[str], start: datetime, end: datetime
    ) -> Sequence[Reading]:
        """Readings whose interval starts within `[start, end)`, each of the capability's own `min_period`.

        An interval without a value may be left out: the VEN then reports it as missing.
        """

    def watermark(self, report_name: str) -> datetime | None:
        """The instant before which readings of that report are complete; None while there are none.

        A report for `[start, end)` waits until the watermark has reached `end`: this is the end of what is
        forecast where the report looks ahead. Where a meter stays silent the site itself decides when to move
        on.
        """


@runtime_checkable
class ReportReader(Protocol):
    """A site that wants reports of its VTN too (RPT-37). A facility may be one; few are."""

    def wanted(self, reports: Sequence[Report], now: datetime) -> Sequence[ReportRequest]:
        """What to ask of a VTN that can report this; called for each list of metadata that it sends."""

    def take(self, report: Report) -> bool:
        """Keep data of the VTN, which may come twice; False where the site has not asked for them."""
