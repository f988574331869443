"""Whether a report request fits what was offered: one rule for both sides (RPT-13 to RPT-20)."""

from collections.abc import Sequence

from openadr.enums import ReportName
from openadr.errors import ComplianceError, InvalidData, InvalidId, ReportNotSupported
from openadr.interval import Duration
from openadr.report import Report, ReportDescription, ReportRequest, ReportSpecifier

METADATA = "METADATA"
PREFIX = "METADATA_"
_HISTORY = "HISTORY_"
_NAMES = frozenset(str(name) for name in ReportName)


def asks_metadata(request: ReportRequest) -> bool:
    """Whether it asks what there is to report; its rID says nothing (RPT-11)."""
    return request.report_specifier.report_specifier_id == METADATA


def is_periodic(request: ReportRequest) -> bool:
    """Whether it asks for more than one report (RPT-16, RPT-17)."""
    return bool(request.report_specifier.report_back_duration)


def data_name(report: Report) -> str:
    """The name of the report that these metadata offer (RPT-23)."""
    return (report.report_name or "").removeprefix(PREFIX)


def longer(left: Duration, right: Duration) -> bool:
    """Whether `left` is longer for certain: a month counts 28 days on the left and 31 on the right."""
    return left.seconds + left.months * 28 * 86_400 > right.seconds + right.months * 31 * 86_400


def check_request(request: ReportRequest, offered: Sequence[Report]) -> None:
    """Raises what a request is refused with that `offered` (metadata) does not cover.

    InvalidId (452): the specifier or a data point is unknown. ReportNotSupported (461): known, but not
    offered: a report name of the standard or of somebody's own as the specifier, a data point of another
    report. ComplianceError (459): the span of a history is missing. InvalidData (454): more than is offered.
    """
    specifier = request.report_specifier
    report = next(
        (each for each in offered if each.report_specifier_id == specifier.report_specifier_id), None
    )
    if report is None:
        raise _unknown(specifier.report_specifier_id)
    asked = _descriptions(specifier, report, offered)
    if data_name(report).startswith(_HISTORY):
        _check_history(specifier, report)
    elif specifier.report_back_duration:  # a single report of telemetry ignores the rest (RPT-16, RPT-17)
        _check_rhythm(specifier, report, asked)


def _unknown(specifier_id: str) -> InvalidId | ReportNotSupported:
    if specifier_id in _NAMES or specifier_id.startswith("x-"):
        return ReportNotSupported(f"report {specifier_id} is not offered", rule="RPT-13")
    return InvalidId(f"reportSpecifierID {specifier_id} is unknown", rule="RPT-13")


def _descriptions(
    specifier: ReportSpecifier, report: Report, offered: Sequence[Report]
) -> list[ReportDescription]:
    known = {item.r_id: item for item in report.report_descriptions}
    for point in specifier.specifier_payloads:
        if point.r_id in known:
            continue
        if any(point.r_id == item.r_id for other in offered for item in other.report_descriptions):
            text = f"rID {point.r_id} is not offered in report {report.report_specifier_id}"
            raise ReportNotSupported(text, rule="RPT-13")
        raise InvalidId(f"rID {point.r_id} is unknown", rule="RPT-13")
    return [known[point.r_id] for point in specifier.specifier_payloads]


def _check_history(specifier: ReportSpecifier, report: Report) -> None:
    interval = specifier.report_interval
    if interval is None:
        raise ComplianceError("a history needs a reportInterval", rule="RPT-17")
    if specifier.report_back_duration:
        raise InvalidData("a history is asked for once", rule="RPT-16")
    if report.duration is not None and longer(interval.duration, report.duration):
        text = f"a history of {interval.duration} is longer than the {report.duration} offered"
        raise InvalidData(text, rule="RPT-20")


def _check_rhythm(specifier: ReportSpecifier, report: Report, asked: Sequence[ReportDescription]) -> None:
    granularity, back = specifier.granularity, specifier.report_back_duration
    if back.is_negative or granularity.is_negative:
        raise InvalidData("granularity or reportBackDuration is negative", rule="RPT-15")
    if report.duration is not None and longer(back, report.duration):
        text = f"reportBackDuration {back} is longer than the {report.duration} offered"
        raise InvalidData(text, rule="RPT-20")
    if longer(granularity, back):
        raise InvalidData(
            f"granularity {granularity} is longer than reportBackDuration {back}", rule="RPT-15"
        )
    for item in asked:
        rate = item.sampling_rate
        if rate is None or not granularity:  # 0: when a value changes (RPT-19)
            continue
        if longer(rate.min_period, granularity) or longer(granularity, rate.max_period):
            text = (
                f"rID {item.r_id}: granularity {granularity} is not in {rate.min_period} to {rate.max_period}"
            )
            raise InvalidData(text, rule="RPT-15")
