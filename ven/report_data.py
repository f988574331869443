"""The data of a report: every interval with every data point that was asked for. Pure.

A quantity is given for its interval (start and duration), the state of a resource for an instant (RPT-26). On
change (granularity 0, RPT-19) the site's own intervals are reported, and a value that has not changed says
so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from math import isfinite

from openadr import (
    Duration,
    LoadControlState,
    Report,
    ReportInterval,
    ReportPayload,
    ReportRequest,
    ResourceStatus,
    UpdateReport,
)
from openadr.enums import DataQuality
from ven.facility import GOOD, Reading, Unit
from ven.offer import Offer

_QUALITIES = frozenset(str(word) for word in DataQuality)


@dataclass(frozen=True, slots=True)
class _Value:
    """What is known of a data point in one reported interval."""

    number: float
    quality: str
    accuracy: float | None
    confidence: int | None
    status: ResourceStatus | None


_Values = Mapping[tuple[str, datetime], _Value]


def r_ids(request: ReportRequest) -> list[str]:
    """The data points asked for, each once."""
    return list(dict.fromkeys(point.r_id for point in request.report_specifier.specifier_payloads))


def on_change(request: ReportRequest, offer: Offer) -> bool:
    """Whether changes are asked for, not samples at a rhythm (RPT-19)."""
    specifier = request.report_specifier
    telemetry = not offer.is_history and not offer.first.ahead
    return telemetry and bool(specifier.report_back_duration) and not specifier.granularity


@dataclass(frozen=True, slots=True)
class Span:
    """What one report covers: intervals of `step` from `start` to `end` (exclusive), which cuts the last."""

    request: ReportRequest
    start: datetime
    end: datetime
    step: timedelta

    def starts(self) -> Iterator[datetime]:
        """The start of each interval."""
        start = self.start
        while start < self.end:
            yield start
            start += self.step

    def length(self, start: datetime) -> timedelta:
        """How long the interval is that begins there."""
        return min(self.step, self.end - start)


def build(span: Span, offer: Offer, readings: Sequence[Reading], now: datetime) -> Report:
    """The report of a period (RPT-23 to RPT-28)."""
    values = _values(readings, offer, span)
    intervals = tuple(_interval(span, offer, values, start, uid) for uid, start in enumerate(span.starts()))
    whole = Duration.of(span.end - span.start)
    return Report(
        dtstart=span.start,
        duration=None if offer.is_status else whole,
        intervals=_alike(intervals) if offer.is_status else intervals,
        report_request_id=span.request.report_request_id,
        report_specifier_id=span.request.report_specifier.report_specifier_id,
        report_name=offer.first.report_name,
        created_date_time=now,
    )


def update(report: Report, request_id: str, ven_id: str) -> UpdateReport:
    """The message that carries one report."""
    return UpdateReport(request_id=request_id, reports=(report,), ven_id=ven_id)


def _interval(span: Span, offer: Offer, values: _Values, start: datetime, uid: int) -> ReportInterval:
    compared = on_change(span.request, offer)
    payloads = []
    for r_id in r_ids(span.request):
        before = values.get((r_id, start - span.step)) if compared else None
        payloads.append(_payload(r_id, values.get((r_id, start)), before, status=offer.is_status))
    duration = None if offer.is_status else Duration.of(span.length(start))
    return ReportInterval(dtstart=start, duration=duration, uid=str(uid), payloads=tuple(payloads))


def _payload(r_id: str, value: _Value | None, before: _Value | None, *, status: bool) -> ReportPayload:
    if status:
        return _status(r_id, value, before)
    if value is None or not isfinite(value.number):
        return ReportPayload(r_id=r_id, payload_float=0.0, data_quality=DataQuality.BAD)  # RPT-28
    return ReportPayload(
        r_id=r_id,
        confidence=value.confidence,
        accuracy=value.accuracy,
        payload_float=value.number,
        data_quality=_worded(value, before),
    )


def _status(r_id: str, value: _Value | None, before: _Value | None) -> ReportPayload:
    """A state; accuracy and confidence do not belong to it (RPT-29)."""
    if value is None or value.status is None:
        nothing = ResourceStatus(online=False, manual_override=False)
        return ReportPayload(r_id=r_id, resource_status=nothing, data_quality=DataQuality.BAD)
    return ReportPayload(r_id=r_id, resource_status=value.status, data_quality=_worded(value, before))


def _worded(value: _Value, before: _Value | None) -> str:
    """The quality in a word of the schema."""
    if value.quality not in _QUALITIES and not value.quality.startswith("x-"):
        return DataQuality.BAD
    same = before is not None and (before.number, before.status) == (value.number, value.status)
    return DataQuality.PREVIOUS_VALUE if same and value.quality == GOOD else value.quality


def _alike(intervals: tuple[ReportInterval, ...]) -> tuple[ReportInterval, ...]:
    """The same parts of the load's control in all intervals: those that every one has (RPT-30)."""
    states = [each.resource_status for interval in intervals for each in interval.payloads]
    controls = [state.load_control_state for state in states if state is not None]
    names = [field.name for field in fields(LoadControlState)]
    common = [name for name in names if all(each and getattr(each, name) for each in controls)]
    return tuple(
        replace(interval, payloads=tuple(_reduced(each, common) for each in interval.payloads))
        for interval in intervals
    )


def _reduced(payload: ReportPayload, parts: Sequence[str]) -> ReportPayload:
    status = payload.resource_status
    if status is None or status.load_control_state is None:
        return payload
    kept = {name: getattr(status.load_control_state, name) for name in parts}
    control = LoadControlState(**kept) if kept else None
    return replace(payload, resource_status=replace(status, load_control_state=control))


def _values(readings: Sequence[Reading], offer: Offer, span: Span) -> dict[tuple[str, datetime], _Value]:
    """By data point and interval: energy summed, power averaged, the first state, the worst quality."""
    units = {capability.r_id: capability.unit for capability in offer.capabilities}
    grouped: dict[tuple[str, datetime], list[Reading]] = {}
    for reading in readings:
        if reading.start >= span.end:
            continue  # it belongs to the period that begins there
        start = span.start + (reading.start - span.start) // span.step * span.step
        grouped.setdefault((reading.r_id, start), []).append(reading)
    return {
        (r_id, start): _together(
            members,
            1 if offer.is_status else span.length(start) // offer.first.min_period,
            mean=units.get(r_id) is Unit.POWER_W,
        )
        for (r_id, start), members in grouped.items()
    }


def _together(members: Sequence[Reading], whole: int, *, mean: bool) -> _Value:
    number = sum(member.value for member in members)
    accuracies = [member.accuracy for member in members if member.accuracy is not None]
    confidences = [member.confidence for member in members if member.confidence is not None]
    known = len(accuracies) == len(members)
    accuracy = sum(accuracies) if known else None  # the errors may all point the same way
    if mean:
        number /= len(members)
        accuracy = None if accuracy is None else accuracy / len(members)
    quality = next((member.quality for member in members if member.quality != GOOD), GOOD)
    return _Value(
        number,
        quality if len(members) >= whole else DataQuality.BAD,
        accuracy,
        min(confidences) if len(confidences) == len(members) else None,
        members[0].status,
    )
