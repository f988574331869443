"""The box as its VEN sees it: what can be reported, which events are followed, and the readings."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from feid.control import requested_kw
from feid.devices import Device
from feid.flexibility import AHEAD, FORECAST
from feid.guard import Limits
from feid.metering import COMPLETE_UNTIL, SILENT, node_sums, severity
from feid.store import KEPT, QUARTER_HOUR, OfferedQuarter, Register, Store
from openadr import Event, ResourceStatus
from openadr.enums import OptType
from openadr.timeline import Timeline
from ven.facility import Capability, Reading, Unit

log = logging.getLogger(__name__)

LOAD = "load"
OFFER_REPORT = "x-FLEXIBILITY_OFFER"
OFFER_R_IDS = ("load_forecast", "offer")
STATUS_REPORT = "TELEMETRY_STATUS"
_METERED = {"TELEMETRY_USAGE": "telemetry", "HISTORY_USAGE": "history"}
_OVER_OFFER = 1.5  # a request beyond this multiple of the offer cannot be carried


def _metered(report_name: str, specifier_id: str, r_id: str, resource_id: str | None) -> Capability:
    return Capability(
        report_name=report_name,
        specifier_id=specifier_id,
        r_id=r_id,
        unit=Unit.ENERGY_WH,
        reading_type="Direct Read",
        min_period=QUARTER_HOUR,
        max_period=QUARTER_HOUR,
        history=KEPT,
        resource_id=resource_id,
    )


def _status(home: str) -> Capability:
    """The mandatory report of a VEN about a resource (RPT-45)."""
    return Capability(
        report_name=STATUS_REPORT,
        specifier_id="status",
        r_id=home,
        unit=Unit.STATUS,
        reading_type="x-notApplicable",
        min_period=QUARTER_HOUR,
        max_period=QUARTER_HOUR,
        history=KEPT,
        resource_id=home,
    )


def _state(register: Register) -> ResourceStatus:
    return ResourceStatus(online=severity(register.quality) < SILENT, manual_override=False)


class NodeFacility:
    """A node's homes behind one VEN: `ven.Facility`, answered from the store alone."""

    def __init__(
        self,
        store: Store,
        limits: Limits,
        devices: Sequence[Device],
        homes: tuple[str, ...],
        on_follow: Callable[[Timeline], None],
    ) -> None:
        self._store = store
        self._limits = limits
        self._devices = devices
        self._homes = homes
        self._on_follow = on_follow

    def capabilities(self) -> list[Capability]:
        """Quarter-hour energy of the node and of each home, now and for 35 days back, the offer, and whether
        each home is online.
        """
        points = [(LOAD, None), *((home, home) for home in self._homes)]
        metered = [
            _metered(name, specifier_id, r_id, resource_id)
            for name, specifier_id in _METERED.items()
            for r_id, resource_id in points
        ]
        offers = [
            Capability(
                report_name=OFFER_REPORT,
                specifier_id="flexibility",
                r_id=r_id,
                unit=Unit.ENERGY_WH,
                reading_type="Projected",
                min_period=QUARTER_HOUR,
                max_period=QUARTER_HOUR,
                history=timedelta(0),
                ahead=AHEAD,
            )
            for r_id in OFFER_R_IDS
        ]
        return metered + offers + [_status(home) for home in self._homes]

    def decide(self, event: Event, now: datetime) -> OptType:
        """Opt in to an event that is not over, ends within the limits and asks for what the node can give."""
        reason = self._against(event, now)
        if reason is None:
            return OptType.OPT_IN
        log.warning("event %s is not followed: %s", event.event_id, reason)
        return OptType.OPT_OUT

    def _against(self, event: Event, now: datetime) -> str | None:
        """Why the node does not follow an event; None if it does. A test is answered, not followed."""
        if event.is_test:
            return None
        meant = event.target.resources_alone
        if meant is not None and meant.isdisjoint(self._homes):
            return "it is for none of the homes here"
        if event.end is None:
            return "it has no end"
        if event.end <= now:
            return f"it ended at {event.end.isoformat()}"
        hours = (event.end - event.dtstart) / timedelta(hours=1)
        if hours > self._limits.max_event_hours:
            return f"it lasts {hours:g} h, at most {self._limits.max_event_hours:g} h are followed"
        return self._beyond_offer(event, event.end, now)

    def _beyond_offer(self, event: Event, end: datetime, now: datetime) -> str | None:
        issued = self._store.last_issued(now)
        offer = {q.start: q for q in self._store.offer(issued)} if issued is not None else {}
        wanted_kwh = offered_kwh = 0.0
        at = event.dtstart
        while at < end:
            hours = min(QUARTER_HOUR, end - at) / timedelta(hours=1)
            quarter = offer.get(at - timedelta(minutes=at.minute % 15, seconds=at.second))
            offered_kw, load_kw = self._offered_kw(quarter)
            wanted_kwh += requested_kw(event, at, offered_kw, load_kw) * hours
            offered_kwh += offered_kw * hours
            at += QUARTER_HOUR
        if wanted_kwh > _OVER_OFFER * offered_kwh:
            return f"it asks for {wanted_kwh:.2f} kWh, {offered_kwh:.2f} kWh are offered"
        return None

    def _offered_kw(self, quarter: OfferedQuarter | None) -> tuple[float, float]:
        """Offer and expected load, mean kW; without an offer, what the devices' plates allow."""
        if quarter is None:
            plates_kw = sum(max(d.max_power_kw, -d.min_power_kw) for d in self._devices)
            return plates_kw, plates_kw
        return quarter.offer_wh / 250, quarter.load_wh / 250

    def follow(self, timeline: Timeline) -> None:
        """Follow these events from now on."""
        self._on_follow(timeline)

    def read(self, report_name: str, r_ids: Sequence[str], start: datetime, end: datetime) -> list[Reading]:
        """Quarter hours that begin in [start, end), in order of data point and time."""
        if report_name == OFFER_REPORT:
            return self._read_offer(r_ids, start, end)
        if report_name == STATUS_REPORT:
            return self._read_status(r_ids, start, end)
        if report_name not in _METERED:
            return []
        registers = self._store.registers(start, end)
        by_r_id: dict[str, list[Register]] = {LOAD: list(node_sums(registers, len(self._homes)).values())}
        for register in registers:
            by_r_id.setdefault(register.home_id, []).append(register)
        return [
            Reading(r_id, r.start, QUARTER_HOUR, float(r.energy_wh), r.quality)
            for r_id in r_ids
            for r in by_r_id.get(r_id, [])
        ]

    def _read_status(self, r_ids: Sequence[str], start: datetime, end: datetime) -> list[Reading]:
        """A home is online where its meter gave a value; nothing in the box overrides it by hand."""
        return [
            Reading(register.home_id, register.start, QUARTER_HOUR, 0.0, status=_state(register))
            for register in self._store.registers(start, end)
            if register.home_id in r_ids
        ]

    def _read_offer(self, r_ids: Sequence[str], start: datetime, end: datetime) -> list[Reading]:
        """The newest offer that was issued by `start`: a later one is another report's."""
        issued = self._store.last_issued(start)
        if issued is None:
            return []
        quarters = [q for q in self._store.offer(issued) if start <= q.start < end]
        values = {"load_forecast": [q.load_wh for q in quarters], "offer": [q.offer_wh for q in quarters]}
        return [
            Reading(r_id, q.start, QUARTER_HOUR, float(value))
            for r_id in r_ids
            for q, value in zip(quarters, values.get(r_id, []), strict=False)
        ]

    def watermark(self, report_name: str) -> datetime | None:
        """The instant before which every reading is kept; for the offer, the end of the last report that it
        is for: the one of the next hour waits for the next offer.
        """
        if report_name in _METERED or report_name == STATUS_REPORT:
            return self._store.mark(COMPLETE_UNTIL)
        if report_name == OFFER_REPORT:
            issued = self._store.last_issued()
            return None if issued is None else issued + FORECAST - QUARTER_HOUR
        return None
