"""Reports, their descriptions and requests, and the messages that carry them."""

from openadr import (
    ActivePeriod,
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    Duration,
    ItemBase,
    LoadControlState,
    LoadControlValue,
    Message,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportDescription,
    ReportInterval,
    ReportPayload,
    ReportRequest,
    ReportSpecifier,
    ResourceStatus,
    SamplingRate,
    SpecifierPayload,
    Target,
    UpdatedReport,
    UpdateReport,
)
from openadr.enums import DataQuality, ReadingType, ReportName, ReportType
from tests.openadr.samples.feed import FEED
from tests.openadr.samples.parts import OK, REFUSED, at, minutes

METADATA_USAGE = Report(
    duration=Duration(7 * 86_400),
    report_descriptions=(
        ReportDescription(
            r_id="load",
            report_data_source=Target(resource_id=("home-01",)),
            report_type=ReportType.USAGE,
            item_base=ItemBase.energy_real(),
            reading_type=ReadingType.DIRECT_READ,
            market_context="http://programme.example/peak",
            sampling_rate=SamplingRate(min_period=minutes(1), max_period=minutes(15), on_change=True),
        ),
        ReportDescription(
            r_id="flexible",
            report_subject=Target(end_device_asset=("Water_Heater",)),
            report_type="x-flexible",
            item_base=ItemBase.power(),
            reading_type="x-forecast",
            sampling_rate=SamplingRate(min_period=minutes(15), max_period=minutes(15)),
        ),
    ),
    report_request_id="0",
    report_specifier_id="usage",
    report_name=ReportName.METADATA_TELEMETRY_USAGE,
    created_date_time=at(8),
)

USAGE = Report(
    dtstart=at(8),
    duration=minutes(30),
    intervals=tuple(
        ReportInterval(
            dtstart=at(8, 15 * number),
            duration=minutes(15),
            uid=str(number),
            payloads=(
                ReportPayload(
                    r_id="load",
                    confidence=95,
                    accuracy=0.5,
                    payload_float=value,
                    data_quality=DataQuality.GOOD,
                ),
                ReportPayload(r_id="0012", payload_float=-1e-07, data_quality="x-corrected"),
            ),
        )
        for number, value in enumerate((412.0, 398.25))
    ),
    report_id="report-1",
    report_request_id="request-1",
    report_specifier_id="usage",
    report_name=ReportName.TELEMETRY_USAGE,
    created_date_time=at(8, 31),
)

STATUS = Report(
    dtstart=at(8),
    intervals=(
        ReportInterval(
            dtstart=at(8),
            payloads=(
                ReportPayload(
                    r_id="home-01",
                    resource_status=ResourceStatus(
                        online=True,
                        manual_override=False,
                        load_control_state=LoadControlState(
                            capacity=LoadControlValue(minimum=0.0, maximum=1.0, current=0.5, normal=1.0),
                            level_offset=LoadControlValue(current=2.0),
                            percent_offset=LoadControlValue(current=-10.0),
                            set_point=LoadControlValue(current=21.5),
                        ),
                    ),
                ),
            ),
        ),
    ),
    report_request_id="request-2",
    report_specifier_id="status",
    report_name=ReportName.TELEMETRY_STATUS,
    created_date_time=at(8, 1),
)

GREEN_BUTTON = Report(
    dtstart=at(8),
    intervals=(ReportInterval(dtstart=at(8), duration=minutes(15), feeds=(FEED,)),),
    report_request_id="request-3",
    report_specifier_id="green",
    report_name=ReportName.HISTORY_GREENBUTTON,
    created_date_time=at(8, 31),
)

REQUESTS = (
    ReportRequest(
        report_request_id="request-1",
        report_specifier=ReportSpecifier(
            report_specifier_id="usage",
            granularity=minutes(15),
            report_back_duration=minutes(15),
            report_interval=ActivePeriod(dtstart=at(8), duration=Duration(0)),
            specifier_payloads=(SpecifierPayload(r_id="load"), SpecifierPayload(r_id="0012")),
        ),
    ),
    ReportRequest(
        report_request_id="request-2",
        report_specifier=ReportSpecifier(
            report_specifier_id="METADATA",
            granularity=Duration(0),
            report_back_duration=Duration(0),
            specifier_payloads=(SpecifierPayload(r_id="0"),),
        ),
    ),
)

CANCEL_REPORT = CancelReport(
    request_id="req-1", report_request_ids=("request-1", "request-2"), report_to_follow=True, ven_id="ven-1"
)

REPORTS: dict[str, Message] = {
    "register_report": RegisterReport(
        request_id="req-1", reports=(METADATA_USAGE,), ven_id="ven-1", report_request_id="request-2"
    ),
    "register_report_empty": RegisterReport(request_id="req-1"),
    "registered_report": RegisteredReport(response=OK, report_requests=REQUESTS, ven_id="ven-1"),
    "create_report": CreateReport(request_id="req-1", report_requests=REQUESTS, ven_id="ven-1"),
    "created_report": CreatedReport(response=OK, pending_reports=("request-1",), ven_id="ven-1"),
    "created_report_none": CreatedReport(response=REFUSED),
    "update_report": UpdateReport(request_id="req-1", reports=(USAGE, STATUS), ven_id="ven-1"),
    "update_report_green_button": UpdateReport(request_id="req-1", reports=(GREEN_BUTTON,), ven_id="ven-1"),
    "updated_report": UpdatedReport(response=OK, cancel_report=CANCEL_REPORT, ven_id="ven-1"),
    "cancel_report": CANCEL_REPORT,
    "canceled_report": CanceledReport(response=OK, pending_reports=("request-2",), ven_id="ven-1"),
}
