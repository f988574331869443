"""Reports of a VEN: what it offers, what was asked for, which report is due and how it is built. Pure.

A request moves on by its `next_start`, the first instant not yet reported. That is stored together with the
report made from it, so a period is made once, in order, however late: nothing depends on when it is sent.

Grid: the k-th periodic report covers `[dtstart + k*back, dtstart + (k+1)*back)`, dtstart moved up to the
site's own interval grid (at most one interval, RPT-33); a history is cut in parts; a report that looks ahead
(`Capability.ahead`) is due at `dtstart + k*back` and covers what follows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import ceil, isfinite

from openadr import (
    Duration,
    ItemBase,
    RegisterReport,
    Report,
    ReportDescription,
    ReportInterval,
    ReportPayload,
    ReportRequest,
    SamplingRate,
    Target,
    UpdateReport,
)
from openadr.enums import DataQuality
from ven.errors import RefusedRequestError
from ven.facility import GOOD, Capability, Reading, Unit

METADATA = "METADATA"
_QUALITIES = frozenset(str(word) for word in DataQuality)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SLACK = timedelta(days=1)
"""A history may reach this much further back than offered: the VTN counts from its own present."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a report may get, and how far back missed ones are made."""

    part: timedelta = timedelta(days=1)
    readings: int = 2400
    catch_up: timedelta = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """A request that was accepted and is not finished."""

    request: ReportRequest
    accepted_at: datetime
    next_start: datetime
    """First instant not yet reported; for a single telemetry report, when it was asked for."""
    final: bool = False
    """Cancelled with one more report to follow (RPT-40)."""

    @property
    def request_id(self) -> str:
        """The VTN's id of the request."""
        return self.request.report_request_id


@dataclass(frozen=True, slots=True)
class Due:
    """A report that can be made now: its period, and the request afterwards (None: finished)."""

    request: ReportRequest
    start: datetime
    end: datetime
    after: HeldRequest | None


@dataclass(frozen=True, slots=True)
class Offer:
    """The capabilities of one report specifier."""

    capabilities: tuple[Capability, ...]

    @property
    def first(self) -> Capability:
        """The one that stands for all in name, periods, history and horizon."""
        return self.capabilities[0]

    @property
    def is_history(self) -> bool:
        """Whether it answers about the past at once, in parts."""
        return self.first.report_name.startswith("HISTORY_")


def offers(capabilities: Iterable[Capability]) -> dict[str, Offer]:
    """Capabilities by report specifier, in their order."""
    grouped: dict[str, list[Capability]] = {}
    for capability in capabilities:
        grouped.setdefault(capability.specifier_id, []).append(capability)
    return {specifier: Offer(tuple(members)) for specifier, members in grouped.items()}


def digest(capabilities: Sequence[Capability]) -> str:
    """A text that changes when the metadata does."""
    return sha256(repr(tuple(capabilities)).encode()).hexdigest()


def metadata(
    capabilities: Sequence[Capability], request_id: str, ven_id: str, now: datetime, answering: str | None
) -> RegisterReport:
    """Everything that the site can report (RPT-03); `answering` is the METADATA request's id (RPT-04)."""
    return RegisterReport(
        request_id=request_id,
        reports=tuple(_described(specifier, offer, now) for specifier, offer in offers(capabilities).items()),
        ven_id=ven_id,
        report_request_id=answering,
    )


def _described(specifier: str, offer: Offer, now: datetime) -> Report:
    name = offer.first.report_name
    return Report(
        # how far back the data reach, or ahead; never shorter than a sampling period (RPT-06)
        duration=Duration.of(max(offer.first.history, offer.first.ahead, offer.first.max_period)),
        report_descriptions=tuple(_description(capability) for capability in offer.capabilities),
        report_request_id="0",
        report_specifier_id=specifier,
        # the schema has no METADATA_ form of a name of our own: `x-` names stand for themselves
        report_name=name if name.startswith("x-") else f"METADATA_{name}",
        created_date_time=now,
    )


def _description(capability: Capability) -> ReportDescription:
    resource = capability.resource_id
    return ReportDescription(
        r_id=capability.r_id,
        report_data_source=Target(resource_id=(resource,)) if resource else None,
        report_type=capability.report_type,
        item_base=ItemBase.energy_real() if capability.unit is Unit.ENERGY_WH else ItemBase.power(),
        reading_type=capability.reading_type,
        sampling_rate=SamplingRate(
            min_period=Duration.of(capability.min_period), max_period=Duration.of(capability.max_period)
        ),
    )


def accept(request: ReportRequest, offered: Mapping[str, Offer], now: datetime) -> HeldRequest:
    """The request as it is held; RefusedRequestError where it asks for what is not offered."""
    specifier = request.report_specifier
    offer = offered.get(specifier.report_specifier_id)
    if offer is None:
        raise RefusedRequestError("452", f"report specifier {specifier.report_specifier_id} is unknown")
    known = {capability.r_id for capability in offer.capabilities}
    unknown = [point.r_id for point in specifier.specifier_payloads if point.r_id not in known]
    if unknown:
        raise RefusedRequestError("452", f"rID {unknown[0]} is unknown")
    _check_granularity(request, offer, now)
    back = _back(request, now)
    interval = specifier.report_interval
    if offer.is_history:
        if back or interval is None:
            raise RefusedRequestError("454", "a history is asked for once, with a reportInterval")
        if interval.end is not None and interval.end - interval.dtstart > offer.first.history + _SLACK:
            raise RefusedRequestError("454", "a longer history than offered")
        return HeldRequest(request, now, _aligned(interval.dtstart, offer))
    if not back:
        return HeldRequest(request, now, now)
    # RPT-17 wants an interval; a peer that leaves it out means from now on (docs/ven-session.md)
    return HeldRequest(request, now, _aligned(now if interval is None else interval.dtstart, offer))


def _aligned(instant: datetime, offer: Offer) -> datetime:
    """The first boundary of the site's own intervals that is not before `instant`."""
    return _EPOCH - _floor_span(_EPOCH - instant, offer.first.min_period)


def _check_granularity(request: ReportRequest, offer: Offer, now: datetime) -> None:
    granularity = _span(request.report_specifier.granularity, now)
    if not granularity or offer.is_history:
        return
    first = offer.first
    if not first.min_period <= granularity <= first.max_period or granularity % first.min_period:
        raise RefusedRequestError(
            "454", f"granularity must be a multiple of {first.min_period} up to {first.max_period}"
        )
    back = _back(request, now)
    if back and granularity > back:
        raise RefusedRequestError("454", "granularity is longer than reportBackDuration")


def _span(duration: Duration, start: datetime) -> timedelta:
    return duration.after(start) - start


def _back(request: ReportRequest, start: datetime) -> timedelta:
    return _span(request.report_specifier.report_back_duration, start)


def _step(request: ReportRequest, offer: Offer) -> timedelta:
    """Length of the reported intervals; 0 asks for the site's own (RPT-15)."""
    if not offer.is_history and _one_shot(request):
        return offer.first.min_period
    granularity = request.report_specifier.granularity
    return _span(granularity, _EPOCH) if granularity else offer.first.min_period


def _one_shot(request: ReportRequest) -> bool:
    return not request.report_specifier.report_back_duration


def r_ids(request: ReportRequest) -> list[str]:
    """The data points asked for, each once."""
    return list(dict.fromkeys(point.r_id for point in request.report_specifier.specifier_payloads))


def due(
    held: HeldRequest, offer: Offer, watermark: datetime | None, now: datetime, limits: Limits
) -> Due | None:
    """The oldest report of this request that can be made now; None while there is none."""
    if watermark is None:
        return None
    if offer.is_history:
        return _due_history(held, offer, watermark, limits)
    if _one_shot(held.request):
        end = _floor(watermark, _EPOCH, offer.first.min_period)
        return Due(held.request, end - offer.first.min_period, end, None)
    if offer.first.ahead:
        return _due_ahead(held, offer, watermark, now)
    return _due_metered(held, offer, watermark, now, limits)


def _floor(instant: datetime, origin: datetime, step: timedelta) -> datetime:
    return origin + _floor_span(instant - origin, step)


def _floor_span(span: timedelta, step: timedelta) -> timedelta:
    return span // step * step


def _largest(request: ReportRequest, offer: Offer, limits: Limits) -> timedelta:
    steps = max(1, limits.readings // max(1, len(r_ids(request))))
    return steps * _step(request, offer)


def _due_history(held: HeldRequest, offer: Offer, watermark: datetime, limits: Limits) -> Due | None:
    interval = held.request.report_specifier.report_interval
    end = held.accepted_at if interval is None or interval.end is None else interval.end
    end = _floor(min(end, held.accepted_at), held.next_start, offer.first.min_period)
    if end <= held.next_start:  # nothing lies in it: an empty period finishes the request
        return Due(held.request, held.next_start, held.next_start, None)
    part = min(end, held.next_start + min(limits.part, _largest(held.request, offer, limits)))
    if watermark < part:
        return None
    finished = part >= end or held.final
    return Due(held.request, held.next_start, part, None if finished else replace(held, next_start=part))


def _grid(held: HeldRequest, offer: Offer) -> tuple[datetime, timedelta, datetime | None]:
    """Start, rhythm and end (None: until cancelled) of a periodic request."""
    interval = held.request.report_specifier.report_interval
    wanted = held.accepted_at if interval is None else interval.dtstart
    start = _aligned(wanted, offer)
    end = None if interval is None or interval.end is None else start + (interval.end - wanted)
    return start, _back(held.request, wanted), end


def _due_ahead(held: HeldRequest, offer: Offer, watermark: datetime, now: datetime) -> Due | None:
    start, back, end = _grid(held, offer)
    newest = _floor(now, start, back)
    if end is not None and newest >= end:
        newest = start + (ceil((end - start) / back) - 1) * back
    if newest < held.next_start and not held.final:
        return None
    if newest < start or watermark < newest + offer.first.ahead:
        return None
    following = newest + back
    finished = held.final or (end is not None and following >= end)
    after = None if finished else replace(held, next_start=following)
    return Due(held.request, newest, newest + offer.first.ahead, after)


def _due_metered(
    held: HeldRequest, offer: Offer, watermark: datetime, now: datetime, limits: Limits
) -> Due | None:
    start, back, end = _grid(held, offer)
    first = max(held.next_start, _floor(now - limits.catch_up, start, back))
    last = _floor(first, start, back) + back
    if end is not None:
        last = min(last, end)
    if held.final:
        last = min(last, _floor(now, start, offer.first.min_period))
        first = min(first, last - offer.first.min_period)
    if last > now:
        return None
    last = min(last, first + _largest(held.request, offer, limits))
    if watermark < last:
        return None
    finished = held.final or (end is not None and last >= end)
    return Due(held.request, first, last, None if finished else replace(held, next_start=last))


def due_at(held: HeldRequest, offer: Offer) -> datetime:
    """When the next report of this request falls due (its data may come later still)."""
    if offer.is_history or _one_shot(held.request) or held.final:
        return held.next_start
    start, back, end = _grid(held, offer)
    if offer.first.ahead:
        return held.next_start
    period_end = _floor(held.next_start, start, back) + back
    return period_end if end is None else min(period_end, end)


def build(report: Due, offer: Offer, readings: Sequence[Reading], now: datetime) -> Report:
    """The report of a period: every interval with start, duration and every data point asked for (RPT-28)."""
    step = _step(report.request, offer)
    values = _sums(readings, offer, report.start, step)
    intervals: list[ReportInterval] = []
    start = report.start
    while start < report.end:
        payloads = tuple(_payload(r_id, values.get((r_id, start))) for r_id in r_ids(report.request))
        uid = str(len(intervals))
        intervals.append(
            ReportInterval(dtstart=start, duration=Duration.of(step), uid=uid, payloads=payloads)
        )
        start += step
    return Report(
        dtstart=report.start,
        duration=Duration.of(start - report.start),
        intervals=tuple(intervals),
        report_request_id=report.request.report_request_id,
        report_specifier_id=report.request.report_specifier.report_specifier_id,
        report_name=offer.first.report_name,
        created_date_time=now,
    )


def update(report: Report, request_id: str, ven_id: str) -> UpdateReport:
    """The message that carries one report."""
    return UpdateReport(request_id=request_id, reports=(report,), ven_id=ven_id)


def _payload(r_id: str, value: tuple[float, str] | None) -> ReportPayload:
    if value is None:
        return ReportPayload(r_id=r_id, payload_float=0.0, data_quality=DataQuality.NO_VALUE)
    number, quality = value
    if not isfinite(number):
        return ReportPayload(r_id=r_id, payload_float=0.0, data_quality=DataQuality.BAD)
    known = quality in _QUALITIES or quality.startswith("x-")
    return ReportPayload(r_id=r_id, payload_float=number, data_quality=quality if known else DataQuality.BAD)


def _sums(
    readings: Sequence[Reading], offer: Offer, origin: datetime, step: timedelta
) -> dict[tuple[str, datetime], tuple[float, str]]:
    """Value and quality by data point and interval: energy summed, power averaged, the worst quality kept."""
    units = {capability.r_id: capability.unit for capability in offer.capabilities}
    whole = step // offer.first.min_period
    grouped: dict[tuple[str, datetime], list[Reading]] = {}
    for reading in readings:
        grouped.setdefault((reading.r_id, _floor(reading.start, origin, step)), []).append(reading)
    sums = {}
    for key, members in grouped.items():
        total = sum(member.value for member in members)
        if units.get(key[0]) is Unit.POWER_W:
            total /= len(members)
        sums[key] = (total, _quality(members, whole))
    return sums


def _quality(members: Sequence[Reading], whole: int) -> str:
    if len(members) < whole:
        return DataQuality.BAD
    return next((member.quality for member in members if member.quality != GOOD), GOOD)
