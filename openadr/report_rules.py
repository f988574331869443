"""Conformance rules of reports (group RPT), on one message."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime

from openadr.enums import ReadingType
from openadr.event_rules import device_classes
from openadr.finding import Finding
from openadr.report import (
    CreateReport,
    LoadControlState,
    RegisterReport,
    Report,
    ReportDescription,
    ReportInterval,
    ReportRequest,
    ReportSpecifier,
    UpdateReport,
)
from openadr.report_request import METADATA, PREFIX, longer


def register_report(message: RegisterReport) -> Iterator[Finding]:
    """Rules of metadata."""
    specifiers = [report.report_specifier_id for report in message.reports]
    if len(set(specifiers)) < len(specifiers):
        yield Finding("RPT-05", "reportSpecifierID is not unique in the message")
    for report in message.reports:
        yield from _metadata(report, f"report {report.report_specifier_id}")


def update_report(message: UpdateReport) -> Iterator[Finding]:
    """Rules of data."""
    for report in message.reports:
        where = f"report {report.report_specifier_id}"
        if report.report_descriptions:
            yield Finding("RPT-23", f"{where}: oadrReportDescription belongs to metadata")
        if report.report_name is None or report.report_name.startswith(PREFIX):
            yield Finding("RPT-23", f"{where}: reportName is missing or that of metadata")
        if report.dtstart is None or not report.intervals:
            yield Finding("RPT-23", f"{where}: dtstart and intervals are needed")
        yield from _times(report, where)
        yield from _payloads(report, where)
        yield from _states(report, where)


def report_requests(requests: Sequence[ReportRequest]) -> Iterator[Finding]:
    """Rules of requests, in CreateReport and RegisteredReport."""
    ids = [request.report_request_id for request in requests]
    if len(set(ids)) < len(ids):
        yield Finding("RPT-12", "reportRequestID is not unique")
    for request in requests:
        yield from _specifier(request.report_specifier, f"request {request.report_request_id}")


def create_report(message: CreateReport) -> Iterator[Finding]:
    """Rules of CreateReport."""
    yield from report_requests(message.report_requests)


def _metadata(report: Report, where: str) -> Iterator[Finding]:
    if not (report.report_name or "").startswith((PREFIX, "x-")):
        yield Finding("RPT-03", f"{where}: the reportName of metadata starts with METADATA_")
    if report.report_request_id != "0":
        yield Finding("RPT-03", f"{where}: the reportRequestID of metadata is 0")
    if report.duration is None:
        yield Finding("RPT-03", f"{where}: duration is missing")
    if not report.report_descriptions:
        yield Finding("RPT-03", f"{where}: no oadrReportDescription")
    if report.intervals or report.dtstart is not None or report.report_id is not None:
        yield Finding("RPT-03", f"{where}: metadata has no intervals, dtstart or eiReportID")
    ids = [item.r_id for item in report.report_descriptions]
    if len(set(ids)) < len(ids):
        yield Finding("RPT-05", f"{where}: rID is not unique")
    yield from _descriptions(report, where)


def _descriptions(report: Report, where: str) -> Iterator[Finding]:
    telemetry = (report.report_name or "").startswith("METADATA_TELEMETRY_")
    usage = (report.report_name or "").endswith("_USAGE")
    for item in report.report_descriptions:
        place = f"{where}, rID {item.r_id}"
        if usage and item.item_base is None:
            yield Finding("RPT-03", f"{place}: itemBase is missing")
        if telemetry and item.sampling_rate is None:
            yield Finding("RPT-06", f"{place}: oadrSamplingRate is missing")
        rate = item.sampling_rate
        if rate is not None and longer(rate.min_period, rate.max_period):
            yield Finding("RPT-06", f"{place}: oadrMinPeriod is longer than oadrMaxPeriod")
        if rate is not None and report.duration is not None and longer(rate.max_period, report.duration):
            yield Finding("RPT-06", f"{place}: oadrMaxPeriod is longer than the report's duration")
        yield from device_classes(item.report_subject, "RPT-08", f"{place}, reportSubject")


def _specifier(specifier: ReportSpecifier, where: str) -> Iterator[Finding]:
    back, granularity, interval = (
        specifier.report_back_duration,
        specifier.granularity,
        specifier.report_interval,
    )
    for payload in specifier.specifier_payloads:
        if payload.reading_type != ReadingType.NOT_APPLICABLE:
            yield Finding(
                "RPT-14", f"{where}, rID {payload.r_id}: readingType is x-notApplicable in a request"
            )
        if payload.item_base is not None:
            yield Finding("RPT-14", f"{where}, rID {payload.r_id}: itemBase is forbidden in a request")
    if back.is_negative or granularity.is_negative:
        yield Finding("RPT-15", f"{where}: negative granularity or reportBackDuration")
    if specifier.report_specifier_id == METADATA:
        return
    if back and longer(granularity, back):
        yield Finding(
            "RPT-15", f"{where}: granularity {granularity} is longer than reportBackDuration {back}"
        )
    if back and interval is None:
        yield Finding("RPT-17", f"{where}: a periodic report needs a reportInterval")
    if interval is not None and any(
        (interval.start_after, interval.notification, interval.ramp_up, interval.recovery)
    ):
        yield Finding("RPT-14", f"{where}: reportInterval has dtstart and duration only")


def _times(report: Report, where: str) -> Iterator[Finding]:
    intervals = report.intervals
    starts = [interval.dtstart for interval in intervals]
    durations = [interval.duration for interval in intervals]
    if any(starts) and None in starts:
        yield Finding("RPT-24", f"{where}: dtstart in some intervals only")
        return
    if any(duration is not None for duration in durations) and None in durations:
        yield Finding("RPT-24", f"{where}: duration in some intervals only")
        return
    if not any(starts):
        yield from _counted(report, where)
        return
    known = [start for start in starts if start is not None]
    if report.dtstart is not None and known[0] != report.dtstart:
        yield Finding("RPT-24", f"{where}: dtstart is not that of the first interval")
    if known != sorted(known):
        yield Finding("RPT-24", f"{where}: intervals are not in order of time")
    elif not _contiguous(known, intervals):
        yield Finding("RPT-24", f"{where}: intervals leave a gap or overlap")
    yield from _whole(report, known[0], intervals[-1], known[-1], where)


def _counted(report: Report, where: str) -> Iterator[Finding]:
    """Intervals without dtstart: each needs a duration, and uid counts (RPT-25)."""
    if len(report.intervals) < 2 or any(interval.feeds for interval in report.intervals):
        return
    if any(interval.duration is None for interval in report.intervals):
        yield Finding("RPT-25", f"{where}: intervals have neither dtstart nor duration")
    if [interval.uid for interval in report.intervals] != [str(n) for n in range(len(report.intervals))]:
        yield Finding("RPT-25", f"{where}: intervals without dtstart count uid 0, 1, 2, ...")


def _contiguous(starts: Sequence[datetime], intervals: Sequence[ReportInterval]) -> bool:
    ends = [
        interval.duration.after(start)
        for start, interval in zip(starts, intervals, strict=True)
        if interval.duration
    ]
    return not ends or list(starts[1:]) == ends[:-1]


def _whole(
    report: Report, first: datetime, last: ReportInterval, last_start: datetime, where: str
) -> Iterator[Finding]:
    if report.duration is None or not last.duration:
        return
    if report.duration.after(first) != last.duration.after(last_start):
        yield Finding("RPT-27", f"{where}: duration is not from the first start to the last end")


def data_of(report: Report, offered: Report) -> Iterator[Finding]:
    """Rules of data that follow from the metadata that offered them.

    A quantity of energy or a count belongs to an interval, the state of a resource to an instant (RPT-26);
    other units are either, as the sender says.
    """
    where = f"report {report.report_specifier_id}"
    of_intervals = {item.r_id for item in offered.report_descriptions if _is_of_intervals(item)}
    for interval in report.intervals:
        timed = interval.duration is not None or (len(report.intervals) == 1 and report.duration is not None)
        found = [payload.r_id for payload in interval.payloads if payload.r_id in of_intervals]
        if found and interval.dtstart is not None and not timed:
            yield Finding("RPT-26", f"{where}, rID {found[0]}: an interval without a duration")
            return


def _is_of_intervals(item: ReportDescription) -> bool:
    kind = "" if item.item_base is None else item.item_base.kind
    return kind.startswith("energy") or kind == "pulseCount"


def _states(report: Report, where: str) -> Iterator[Finding]:
    """States of resources are points in time (RPT-26), alike in all intervals of a report (RPT-30)."""
    for interval in report.intervals:
        states = [payload.resource_status for payload in interval.payloads if payload.resource_status]
        if states and interval.duration:
            yield Finding("RPT-26", f"{where}: the state of a resource has no duration")
            break
    parts: dict[str, frozenset[str]] = {}
    for payload in (each for interval in report.intervals for each in interval.payloads):
        if payload.resource_status is None:
            continue
        found = _parts(payload.resource_status.load_control_state)
        if parts.setdefault(payload.r_id, found) != found:
            yield Finding("RPT-30", f"{where}, rID {payload.r_id}: parts of oadrLoadControlState come and go")
            return


def _parts(state: LoadControlState | None) -> frozenset[str]:
    return frozenset(
        () if state is None else (field.name for field in fields(state) if getattr(state, field.name))
    )


def _payloads(report: Report, where: str) -> Iterator[Finding]:
    for interval in report.intervals:
        ids = [payload.r_id for payload in interval.payloads]
        if len(set(ids)) < len(ids):
            yield Finding("RPT-28", f"{where}: an interval has two values of one rID")
            return
        for payload in interval.payloads:
            if payload.resource_status is not None and (payload.accuracy, payload.confidence) != (None, None):
                yield Finding(
                    "RPT-29", f"{where}: accuracy and confidence do not belong to a resource status"
                )
                return
