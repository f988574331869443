"""Reports of a VEN: what was asked for, and which report is due when. Pure.

A request moves on by its `next_start`, the first instant not yet reported. That is stored together with the
report made from it, so a period is made once, in order, however late: nothing depends on when it is sent.

Grid: periods are half-open, and both ends are moved up to the site's own intervals (at most one, RPT-33): an
interval belongs to the period in which it begins, so periods that meet have each value once. The k-th
periodic report is due at `dtstart + k*back` and covers the whole steps that end by then and were not reported
yet; a history is cut in parts of whole steps; a report that looks ahead (`Capability.ahead`) is due at
`dtstart + k*back` and covers what follows. A step that the period's end cuts is shorter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil

from openadr import Duration, ProtocolError, Report, ReportRequest, ReportSpecifier
from openadr.interval import END_OF_TIME
from openadr.parser import DEFAULT_LIMITS
from openadr.report_request import METADATA, check_request
from ven.errors import RefusedRequestError
from ven.offer import Offer, described, digest, metadata, offers
from ven.report_data import Span, build, r_ids, update

__all__ = ["METADATA", "Offer", "build", "digest", "metadata", "offers", "r_ids", "update"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SLACK = timedelta(days=1)
"""Between clocks: a history may reach this much further back than offered, since the VTN counts from its own
present; a clock may be set back by so much before reports are made again for times that they were made for.
"""


_LAST_START = END_OF_TIME - timedelta(days=210 * 366)
"""The longest duration of the wire (200 years) and a period of reports still fit in the calendar after it."""


_MOST_NODES = DEFAULT_LIMITS.max_nodes - 100  # elements and attributes, without those around the intervals
_NODES_OF_INTERVAL, _NODES_OF_VALUE, _NODES_OF_STATUS = 7, 7, 27  # with all that each may carry


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

    def span(self, offer: Offer) -> Span:
        """What the report covers."""
        return Span(self.request, self.start, self.end, _step(self.request, offer))


def accept(request: ReportRequest, offered: Mapping[str, Offer], now: datetime) -> HeldRequest:
    """The request as it is held; RefusedRequestError where it asks for what is not offered."""
    try:
        check_request(request, [_allowed(specifier, offer, now) for specifier, offer in offered.items()])
    except ProtocolError as error:
        raise RefusedRequestError(error.code, error.description) from error
    specifier = request.report_specifier
    offer = offered[specifier.report_specifier_id]
    interval = specifier.report_interval
    if not offer.is_history and _one_shot(request):
        return HeldRequest(request, now, now)
    _check_spans(specifier, offer)
    if _span(specifier.granularity, _EPOCH) % offer.first.min_period:
        raise RefusedRequestError("454", f"granularity must be a multiple of {offer.first.min_period}")
    if offer.is_history and interval is not None:
        return HeldRequest(request, now, _aligned(interval.dtstart, offer))
    # RPT-17 wants an interval; a peer that leaves it out means from now on (docs/ven-session.md)
    return HeldRequest(request, now, _aligned(now if interval is None else interval.dtstart, offer))


def _check_spans(specifier: ReportSpecifier, offer: Offer) -> None:
    """454 for spans that nobody can mean: the periods of such reports would never end, or overflow."""
    granularity, interval = specifier.granularity, specifier.report_interval
    if granularity.is_negative or _span(granularity, _EPOCH) > offer.first.max_period:
        raise RefusedRequestError("454", f"granularity {granularity} is not in 0 to {offer.first.max_period}")
    if interval is None:
        return
    if interval.duration.is_negative:
        raise RefusedRequestError("454", f"reportInterval has the negative duration {interval.duration}")
    if interval.dtstart > _LAST_START:
        raise RefusedRequestError("454", f"reportInterval starts in the year {interval.dtstart.year}")


def _allowed(specifier: str, offer: Offer, now: datetime) -> Report:
    """What may be asked for: the metadata, and a little more history."""
    report = described(specifier, offer, now)
    return replace(report, duration=Duration.of(offer.first.history + _SLACK)) if offer.is_history else report


def _aligned(instant: datetime, offer: Offer) -> datetime:
    """The first boundary of the site's own intervals that is not before `instant`."""
    return _EPOCH - _floor_span(_EPOCH - instant, offer.first.min_period)


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


def mended(held: HeldRequest, offer: Offer, now: datetime) -> HeldRequest:
    """The request as it goes on after a clock that was far ahead: what was made then lies in the future."""
    if offer.is_history or _one_shot(held.request):
        return held
    start, back, _ = _grid(held, offer)
    if held.next_start <= max(start, now) + back + _SLACK:
        return held
    grid = back if offer.first.ahead else _step(held.request, offer)
    return replace(held, next_start=max(start, _floor(now, start, grid)))


def _floor(instant: datetime, origin: datetime, step: timedelta) -> datetime:
    return origin + _floor_span(instant - origin, step)


def _floor_span(span: timedelta, step: timedelta) -> timedelta:
    return span // step * step


def _largest(request: ReportRequest, offer: Offer, limits: Limits) -> timedelta:
    """How much one report may hold: so many readings, and what a VTN with our limits takes in any form."""
    points = max(1, len(r_ids(request)))
    of_interval = _NODES_OF_INTERVAL + points * (_NODES_OF_STATUS if offer.is_status else _NODES_OF_VALUE)
    steps = max(1, min(limits.readings // points, _MOST_NODES // of_interval))
    return steps * _step(request, offer)


def _due_history(held: HeldRequest, offer: Offer, watermark: datetime, limits: Limits) -> Due | None:
    interval = held.request.report_specifier.report_interval
    asked = interval is not None and interval.end
    end = _aligned(asked, offer) if asked else held.accepted_at
    end = max(min(end, held.accepted_at), held.next_start)  # the year 1 has none before to be rounded to
    end = _floor(end, held.next_start, offer.first.min_period)
    if end <= held.next_start:  # nothing lies in it: an empty period finishes the request
        return Due(held.request, held.next_start, held.next_start, None)
    step = _step(held.request, offer)
    longest = max(step, _floor_span(limits.part, step))
    part = min(end, held.next_start + min(longest, _largest(held.request, offer, limits)))
    if watermark < part:
        return None
    finished = part >= end or held.final
    return Due(held.request, held.next_start, part, None if finished else replace(held, next_start=part))


def _grid(held: HeldRequest, offer: Offer) -> tuple[datetime, timedelta, datetime | None]:
    """Start, rhythm and end (None: until cancelled) of a periodic request."""
    interval = held.request.report_specifier.report_interval
    wanted = held.accepted_at if interval is None else interval.dtstart
    start = _aligned(wanted, offer)
    end = None if interval is None or interval.end is None else _aligned(interval.end, offer)
    return start, _back(held.request, wanted), end


def _due_ahead(held: HeldRequest, offer: Offer, watermark: datetime, now: datetime) -> Due | None:
    start, back, end = _grid(held, offer)
    newest = _floor(now, start, back)
    if end is not None and newest >= end:
        newest = start + (ceil((end - start) / back) - 1) * back
    if newest < held.next_start and not held.final:
        return None
    first = _aligned(newest, offer)
    if newest < start or watermark < first + offer.first.ahead:
        return None
    following = newest + back
    finished = held.final or (end is not None and following >= end)
    after = None if finished else replace(held, next_start=following)
    return Due(held.request, first, first + offer.first.ahead, after)


def _due_metered(
    held: HeldRequest, offer: Offer, watermark: datetime, now: datetime, limits: Limits
) -> Due | None:
    start, back, end = _grid(held, offer)
    step = _step(held.request, offer)
    caught_up = _floor(_floor(now - limits.catch_up, start, back), start, step)
    first = max(held.next_start, caught_up)
    last, due_from = _period_end(first, held, offer)
    if held.final:
        last = due_from = min(last, _floor(now, start, offer.first.min_period))
        first = min(first, last - offer.first.min_period)
    if due_from > now:
        return None
    last = min(last, first + _largest(held.request, offer, limits))
    if watermark < last:
        return None
    finished = held.final or (end is not None and last >= end)
    return Due(held.request, first, last, None if finished else replace(held, next_start=last))


def _period_end(first: datetime, held: HeldRequest, offer: Offer) -> tuple[datetime, datetime]:
    """Where the periodic report that begins at `first` ends, and when it is due: at the first instant of the
    rhythm by which a whole step is over.
    """
    start, back, end = _grid(held, offer)
    step = _step(held.request, offer)
    due_from = start - (start - first - step) // back * back
    last = _floor(due_from, start, step)
    return (last, due_from) if end is None else (min(last, end), min(due_from, end))


def due_at(held: HeldRequest, offer: Offer) -> datetime:
    """When the next report of this request falls due (its data may come later still)."""
    if offer.is_history or _one_shot(held.request) or held.final:
        return held.next_start
    return held.next_start if offer.first.ahead else _period_end(held.next_start, held, offer)[1]
