"""The report requests that a VEN has accepted. Pure: values in, values out."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from openadr import EiResponse, ReportRequest, UpdateReport
from openadr.report_request import asks_metadata, is_periodic
from ven.errors import RefusedRequestError
from ven.facility import Facility
from ven.offer import Offer
from ven.report import HeldRequest, Limits, accept, due, due_at, mended
from ven.report_data import build, on_change, r_ids, update

log = logging.getLogger(__name__)

LIMIT = 100
"""Requests of a VTN that are held at a time."""

Requests = Mapping[str, HeldRequest]


@dataclass(frozen=True, slots=True)
class Changed:
    """The requests after a message, and how to answer it."""

    requests: dict[str, HeldRequest]
    response: EiResponse


def pending(held: Requests) -> tuple[str, ...]:
    """The ids of all reports that are still to come (RPT-22); what was cancelled is none of them."""
    return tuple(request_id for request_id, known in held.items() if not known.final and _is_listed(known))


def _is_listed(known: HeldRequest) -> bool:
    return not asks_metadata(known.request) or _is_regular(known.request)


def _is_regular(asked: ReportRequest) -> bool:
    """Whether metadata are wanted again and again; backwards in time they would be due again for ever."""
    return is_periodic(asked) and not asked.report_specifier.report_back_duration.is_negative


def metadata_due(held: Requests, now: datetime) -> str | None:
    """The oldest request for metadata that is due; None while there is none."""
    wanting = (key for key, each in held.items() if asks_metadata(each.request) and _is_due(each, now))
    return next(wanting, None)


def _is_due(known: HeldRequest, now: datetime) -> bool:
    if known.final or now >= known.next_start:
        return True
    if not _is_regular(known.request):
        return now < known.accepted_at  # the clock was set back
    return _following(known, now) < known.next_start  # likewise


def _following(known: HeldRequest, now: datetime) -> datetime:
    return known.request.report_specifier.report_back_duration.after(now)


def metadata_given(held: Requests, request_id: str, now: datetime) -> dict[str, HeldRequest]:
    """The requests after the VTN has answered the metadata that it asked for by `request_id`.

    A regular request ends by cancellation alone (RPT-42), after one more where that was asked for (RPT-40).
    """
    rest = {key: each for key, each in held.items() if key != request_id}
    known = held.get(request_id)
    if known is None or known.final or not _is_regular(known.request):
        return rest
    return {**rest, request_id: replace(known, next_start=_following(known, now))}


def accept_all(
    held: Requests,
    asked: Sequence[ReportRequest],
    offered: Mapping[str, Offer],
    request_id: str,
    now: datetime,
    *,
    metadata_from: datetime | None = None,
) -> Changed:
    """Takes every request that can be served; the response names the first that cannot (RPT-13, RPT-20).

    A request that is held already keeps its progress: the VTN repeats one whose answer it has not seen. Those
    for metadata (RPT-11) are due at once, or from `metadata_from` on, and held until the VTN has them.
    """
    requests = dict(held)
    response = EiResponse.ok(request_id)
    for request in asked:
        known = requests.get(request.report_request_id)
        if known is not None and known.request == request:
            requests[request.report_request_id] = replace(known, final=False)  # it goes on after all
            continue
        try:
            if known is None and len(requests) >= LIMIT:
                raise RefusedRequestError("451", f"{LIMIT} reports are asked for already")
            requests[request.report_request_id] = (
                HeldRequest(request, now, metadata_from or now)
                if asks_metadata(request)
                else accept(request, offered, now)
            )
        except RefusedRequestError as error:
            log.warning("report request %s refused: %s", request.report_request_id, error)
            if response.is_success:
                response = EiResponse(error.code, str(error), request_id)
    return Changed(requests, response)


def cancel(held: Requests, ids: Iterable[str], *, follow: bool, request_id: str) -> Changed:
    """Ends the named requests, each after one more report if `follow` (RPT-40); unknown: 452 (RPT-39)."""
    requests = dict(held)
    response = EiResponse.ok(request_id)
    for report_id in ids:
        if report_id not in requests:
            response = EiResponse("452", f"report request {report_id} is unknown", request_id)
        elif follow:
            requests[report_id] = replace(requests[report_id], final=True)
        else:
            del requests[report_id]
    return Changed(requests, response)


@dataclass(frozen=True, slots=True)
class Reporting:
    """What is needed to make reports: the site, what it offers, who we are, chance ids and the present."""

    facility: Facility
    offers: Mapping[str, Offer]
    limits: Limits
    ven_id: str
    new_id: Callable[[], str]
    now: datetime


def make_reports(
    held: Requests, desk: Reporting, busy: Collection[str] = ()
) -> tuple[dict[str, HeldRequest], list[UpdateReport]]:
    """At most one report of each request that can be made now, and the requests after them.

    `busy`: ids of requests whose earlier reports still wait to be sent; they make no more for now.
    """
    requests = dict(held)
    made = []
    for request_id, before in held.items():
        offer = desk.offers.get(before.request.report_specifier.report_specifier_id)
        if offer is None:  # the site has lost this capability; new metadata are on their way
            continue
        known = requests[request_id] = mended(before, offer, desk.now)
        name = offer.first.report_name
        ready = due(known, offer, desk.facility.watermark(name), desk.now, desk.limits)
        if ready is None or request_id in busy:
            continue
        if ready.start < ready.end:
            span = ready.span(offer)
            # a change is told from the interval before
            start = ready.start - span.step if on_change(known.request, offer) else ready.start
            readings = desk.facility.read(name, r_ids(known.request), start, ready.end)
            made.append(update(build(span, offer, readings, desk.now), desk.new_id(), desk.ven_id))
        if ready.after is None:
            del requests[request_id]
        else:
            requests[request_id] = ready.after
    return requests, made


def next_due(held: Requests, offers: Mapping[str, Offer]) -> datetime | None:
    """When the next report falls due; its data may come later. None while nothing is asked for."""
    known = ((each, offers.get(each.request.report_specifier.report_specifier_id)) for each in held.values())
    return min((due_at(each, offer) for each, offer in known if offer is not None), default=None)
