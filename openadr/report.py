"""EiReport: each side says what it can report, the other asks, data follow."""

from dataclasses import dataclass, field
from datetime import datetime

from openadr.enums import DataQuality, ReadingType, ReportName, ReportType
from openadr.interval import ActivePeriod, Duration
from openadr.item_base import ITEM_BASE, ItemBase, XmlNode
from openadr.response import EiResponse
from openadr.target import Target
from openadr.wire import Message, xml


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingRate:
    """How often a data point can be sampled: fastest and slowest period, or when it changes (RPT-06)."""

    min_period: Duration = field(metadata=xml("oadr:oadrMinPeriod"))
    max_period: Duration = field(metadata=xml("oadr:oadrMaxPeriod"))
    on_change: bool = field(default=False, metadata=xml("oadr:oadrOnChange"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDescription:
    """One data point that a party can report (metadata only)."""

    r_id: str = field(metadata=xml("ei:rID"))
    report_subject: Target | None = field(default=None, metadata=xml("ei:reportSubject"))
    report_data_source: Target | None = field(default=None, metadata=xml("ei:reportDataSource"))
    report_type: str = field(metadata=xml("ei:reportType", extends=ReportType))
    item_base: ItemBase | None = field(default=None, metadata=xml(*ITEM_BASE))
    reading_type: str = field(metadata=xml("ei:readingType", extends=ReadingType))
    market_context: str | None = field(default=None, metadata=xml("emix:marketContext", collapse=True))
    sampling_rate: SamplingRate | None = field(default=None, metadata=xml("oadr:oadrSamplingRate"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadControlValue:
    """One quantity of a load's control state."""

    minimum: float | None = field(default=None, metadata=xml("oadr:oadrMin"))
    maximum: float | None = field(default=None, metadata=xml("oadr:oadrMax"))
    current: float = field(metadata=xml("oadr:oadrCurrent"))
    normal: float | None = field(default=None, metadata=xml("oadr:oadrNormal"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadControlState:
    """How far a load is controlled (RPT-30)."""

    capacity: LoadControlValue | None = field(default=None, metadata=xml("oadr:oadrCapacity"))
    level_offset: LoadControlValue | None = field(default=None, metadata=xml("oadr:oadrLevelOffset"))
    percent_offset: LoadControlValue | None = field(default=None, metadata=xml("oadr:oadrPercentOffset"))
    set_point: LoadControlValue | None = field(default=None, metadata=xml("oadr:oadrSetPoint"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceStatus:
    """State of a resource, the payload of TELEMETRY_STATUS."""

    online: bool = field(metadata=xml("oadr:oadrOnline"))
    manual_override: bool = field(metadata=xml("oadr:oadrManualOverride"))
    load_control_state: LoadControlState | None = field(
        default=None, metadata=xml("oadr:oadrLoadControlState")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPayload:
    """One value of one data point: a number (unit as its description says) or a resource status, never both.

    `confidence` is 0 to 100, `accuracy` in the unit of the value (RPT-29), `data_quality` a text of
    DataQuality.
    """

    r_id: str = field(metadata=xml("ei:rID"))
    confidence: int | None = field(default=None, metadata=xml("ei:confidence"))
    accuracy: float | None = field(default=None, metadata=xml("ei:accuracy"))
    payload_float: float | None = field(default=None, metadata=xml("ei:payloadFloat/ei:value"))
    resource_status: ResourceStatus | None = field(
        default=None, metadata=xml("oadr:oadrPayloadResourceStatus")
    )
    data_quality: str | None = field(default=None, metadata=xml("oadr:oadrDataQuality", extends=DataQuality))

    def __post_init__(self) -> None:
        if (self.payload_float is None) == (self.resource_status is None):
            raise ValueError(f"rID {self.r_id}: one value is needed, a number or a resource status")
        if self.confidence is not None and not 0 <= self.confidence <= 100:
            raise ValueError(f"confidence is 0 to 100, not {self.confidence}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInterval:
    """Values of one interval, one payload for each data point. Rules for the times: RPT-24 to RPT-26."""

    dtstart: datetime | None = field(default=None, metadata=xml("xcal:dtstart/xcal:date-time"))
    duration: Duration | None = field(default=None, metadata=xml("xcal:duration/xcal:duration"))
    uid: str | None = field(default=None, metadata=xml("xcal:uid/xcal:text"))
    payloads: tuple[ReportPayload, ...] = field(default=(), metadata=xml("oadr:oadrReportPayload"))
    feeds: tuple[XmlNode, ...] = field(default=(), metadata=xml("oadr:oadrGBPayload*/atom:feed"))

    def __post_init__(self) -> None:
        if not self.payloads and not self.feeds:
            raise ValueError("an interval of a report needs a payload")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """oadrReport: metadata (descriptions) in a RegisterReport, data (intervals) in an UpdateReport."""

    dtstart: datetime | None = field(default=None, metadata=xml("xcal:dtstart/xcal:date-time"))
    duration: Duration | None = field(default=None, metadata=xml("xcal:duration/xcal:duration"))
    intervals: tuple[ReportInterval, ...] = field(default=(), metadata=xml("strm:intervals/ei:interval"))
    report_id: str | None = field(default=None, metadata=xml("ei:eiReportID"))
    report_descriptions: tuple[ReportDescription, ...] = field(
        default=(), metadata=xml("oadr:oadrReportDescription")
    )
    report_request_id: str = field(default="0", metadata=xml("ei:reportRequestID"))
    report_specifier_id: str = field(metadata=xml("ei:reportSpecifierID"))
    report_name: str | None = field(default=None, metadata=xml("ei:reportName", extends=ReportName))
    created_date_time: datetime = field(metadata=xml("ei:createdDateTime"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecifierPayload:
    """One data point that is asked for; `item_base` is forbidden (RPT-14)."""

    r_id: str = field(metadata=xml("ei:rID"))
    item_base: ItemBase | None = field(default=None, metadata=xml(*ITEM_BASE))
    reading_type: str = field(
        default=ReadingType.NOT_APPLICABLE, metadata=xml("ei:readingType", extends=ReadingType)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSpecifier:
    """What is asked for and how often: `report_back_duration` 0 is one shot (RPT-16)."""

    report_specifier_id: str = field(metadata=xml("ei:reportSpecifierID"))
    granularity: Duration = field(metadata=xml("xcal:granularity/xcal:duration"))
    report_back_duration: Duration = field(metadata=xml("ei:reportBackDuration/xcal:duration"))
    report_interval: ActivePeriod | None = field(
        default=None, metadata=xml("ei:reportInterval/xcal:properties")
    )
    specifier_payloads: tuple[SpecifierPayload, ...] = field(metadata=xml("ei:specifierPayload"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """A request for one report; its id comes back in every report that answers it."""

    report_request_id: str = field(metadata=xml("ei:reportRequestID"))
    report_specifier: ReportSpecifier = field(metadata=xml("ei:reportSpecifier"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterReport(Message):
    """All that the sender can report; replaces what it said before (RPT-07)."""

    request_id: str = field(metadata=xml("pyld:requestID"))
    reports: tuple[Report, ...] = field(default=(), metadata=xml("oadr:oadrReport"))
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))
    report_request_id: str | None = field(default=None, metadata=xml("ei:reportRequestID"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredReport(Message):
    """Answer to RegisterReport, with requests where the sender wants reports (RPT-09)."""

    response: EiResponse = field(metadata=xml("ei:eiResponse"))
    report_requests: tuple[ReportRequest, ...] = field(default=(), metadata=xml("oadr:oadrReportRequest"))
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateReport(Message):
    """Asks for reports."""

    request_id: str = field(metadata=xml("pyld:requestID"))
    report_requests: tuple[ReportRequest, ...] = field(metadata=xml("oadr:oadrReportRequest"))
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedReport(Message):
    """Answer to requests; `pending_reports` are the request ids of all reports still to come (RPT-22)."""

    response: EiResponse = field(metadata=xml("ei:eiResponse"))
    pending_reports: tuple[str, ...] = field(
        default=(), metadata=xml("oadr:oadrPendingReports!/ei:reportRequestID")
    )
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateReport(Message):
    """Data of reports that were asked for."""

    request_id: str = field(metadata=xml("pyld:requestID"))
    reports: tuple[Report, ...] = field(default=(), metadata=xml("oadr:oadrReport"))
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelReport(Message):
    """Ends reports; with `report_to_follow` one more is sent (RPT-40)."""

    request_id: str = field(metadata=xml("pyld:requestID"))
    report_request_ids: tuple[str, ...] = field(metadata=xml("ei:reportRequestID"))
    report_to_follow: bool = field(default=False, metadata=xml("pyld:reportToFollow"))
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatedReport(Message):
    """Answer to UpdateReport, which may end reports on the way (RPT-41)."""

    response: EiResponse = field(metadata=xml("ei:eiResponse"))
    cancel_report: CancelReport | None = field(default=None, metadata=xml("oadr:oadrCancelReport"))
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CanceledReport(Message):
    """Answer to CancelReport; `pending_reports` as in CreatedReport."""

    response: EiResponse = field(metadata=xml("ei:eiResponse"))
    pending_reports: tuple[str, ...] = field(
        default=(), metadata=xml("oadr:oadrPendingReports!/ei:reportRequestID")
    )
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))
