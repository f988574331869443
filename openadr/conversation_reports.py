"""The part of a conversation that is about the VEN's reports: what is offered, asked for and sent."""

from collections.abc import Iterable, Iterator

from openadr.remark import Remark, of_ven, of_vtn
from openadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportRequest,
    UpdatedReport,
    UpdateReport,
)
from openadr.response import EiResponse, Poll
from openadr.wire import Message

_METADATA = "METADATA"


class ReportTalk:
    """What was said of the VEN's reports so far."""

    def __init__(self) -> None:
        self._offered: dict[str, set[str]] | None = None
        self._asked: dict[str, ReportRequest] = {}
        self._promised: set[str] = set()
        self._answered: set[str] = set()  # asked for once, and sent: it may come again (RPT-34)
        self._ended: set[str] = set()
        self._last: set[str] = set()
        self._cancelled: set[str] = set()
        self._piggy_back = False
        self._metadata_request: str | None = None
        self._metadata_owed = self._metadata_promised = False
        self._strange: set[str] = set()

    def request(self, request: Message) -> Iterator[Remark]:
        """What a VEN's request breaks."""
        if isinstance(request, RegisterReport):
            yield from self._metadata(request)
        elif isinstance(request, UpdateReport):
            self._strange.clear()
            for report in request.reports:
                yield from self._data(report)
        elif isinstance(request, CreatedReport):
            self._piggy_back = False
            self._promised |= self._asked.keys()
            self._metadata_promised = self._metadata_owed
            if request.response.is_success:
                yield from self._all_pending(request.pending_reports)
        elif isinstance(request, CanceledReport):
            yield from self._all_pending(request.pending_reports)

    def before_the_next_poll(self, *, drained: bool) -> Iterator[Remark]:
        """A request in oadrRegisteredReport is answered by oadrCreatedReport (RPT-09). A polled one may wait
        until all that waited was `drained`; metadata follow the answer to the request for them.
        """
        if self._piggy_back:
            text = "report requests in oadrRegisteredReport were not answered before the next poll"
            yield of_ven("RPT-09", text)
        self._piggy_back = False
        if self._metadata_owed and (drained or self._metadata_promised):
            yield of_ven("RPT-01", "a METADATA request was not followed by oadrRegisterReport")
            self._metadata_owed = False

    def response(self, request: Message, response: Message) -> Iterator[Remark]:
        """What a VTN's reply breaks."""
        if isinstance(request, RegisterReport) and _is_success(response):
            self._learn(request)
        if isinstance(response, RegisteredReport) and isinstance(request, RegisterReport):
            yield from self._requests(response.report_requests)
            self._piggy_back = bool(response.report_requests)
        elif isinstance(response, CreateReport) and isinstance(request, Poll):
            yield from self._requests(response.report_requests)
        elif isinstance(response, CancelReport) and isinstance(request, Poll):
            self._cancel(response)
        elif isinstance(request, UpdateReport) and isinstance(response, UpdatedReport):
            yield from self._taken(request, response)

    def _metadata(self, request: RegisterReport) -> Iterator[Remark]:
        self._metadata_owed = False
        answered = request.report_request_id
        if answered is not None and answered != self._metadata_request:
            text = f"reportRequestID {answered!r} in oadrRegisterReport, no METADATA request has it"
            yield of_ven("RPT-04", text)

    def _learn(self, request: RegisterReport) -> None:
        """Metadata that were taken replace what was offered, and end what was asked for (RPT-07)."""
        self._offered = {
            report.report_specifier_id: {point.r_id for point in report.report_descriptions}
            for report in request.reports
        }
        self._ended |= self._asked.keys()
        self._asked.clear()

    def _requests(self, requests: Iterable[ReportRequest]) -> Iterator[Remark]:
        for request in requests:
            name, specifier = f"request {request.report_request_id}", request.report_specifier
            known = self._asked.get(request.report_request_id)  # until it is answered it may be offered again
            if known is not None and (known != request or request.report_request_id in self._promised):
                yield of_vtn("RPT-12", f"{name}: the reportRequestID is in use")
            if specifier.report_specifier_id == _METADATA:
                self._metadata_request = request.report_request_id
                self._metadata_owed, self._metadata_promised = True, False
                continue
            if self._offered is not None:
                offered = self._offered.get(specifier.report_specifier_id)
                wanted = {point.r_id for point in specifier.specifier_payloads}
                if offered is None:
                    yield of_vtn("RPT-13", f"{name}: no report {specifier.report_specifier_id} is offered")
                elif wanted - offered:
                    yield of_vtn("RPT-13", f"{name}: not offered: rID {', '.join(sorted(wanted - offered))}")
            self._asked[request.report_request_id] = request
            self._promised.discard(request.report_request_id)
            self._ended.discard(request.report_request_id)

    def _cancel(self, message: CancelReport) -> None:
        for request_id in message.report_request_ids:
            if self._asked.pop(request_id, None) is not None:
                (self._last if message.report_to_follow else self._cancelled).add(request_id)

    def _data(self, report: Report) -> Iterator[Remark]:
        name = f"report for request {report.report_request_id}"
        asked = self._asked.get(report.report_request_id)
        if asked is None:
            if report.report_request_id in self._last:
                self._last.discard(report.report_request_id)
                self._cancelled.add(report.report_request_id)
            elif report.report_request_id in self._cancelled:
                yield of_ven("RPT-40", f"{name}: it was cancelled")
            elif report.report_request_id in self._ended:
                yield of_ven("RPT-07", f"{name}: new metadata have ended it", warning=True)
            elif self._offered is not None and report.report_request_id not in self._answered:
                self._strange.add(report.report_request_id)
                yield of_ven("RPT-44", f"{name}: nobody asked for it")
            return
        specifier = asked.report_specifier
        if report.report_specifier_id != specifier.report_specifier_id:
            text = f"reportSpecifierID {report.report_specifier_id}, asked {specifier.report_specifier_id}"
            yield of_ven("RPT-44", f"{name}: {text}")
        wanted = {point.r_id for point in specifier.specifier_payloads}
        sent = {payload.r_id for interval in report.intervals for payload in interval.payloads}
        if sent and wanted - sent:
            yield of_ven("RPT-28", f"{name}: no value for rID {', '.join(sorted(wanted - sent))}")
        if sent - wanted:
            yield of_ven("RPT-44", f"{name}: not asked: rID {', '.join(sorted(sent - wanted))}")
        if not specifier.report_back_duration:
            del self._asked[report.report_request_id]
            self._answered.add(report.report_request_id)

    def _taken(self, request: UpdateReport, response: UpdatedReport) -> Iterator[Remark]:
        if response.response.is_success:
            for request_id in sorted(self._strange):
                yield of_vtn("RPT-36", f"a report for the unknown request {request_id} is accepted")
        if response.cancel_report is not None:
            sent = {report.report_request_id for report in request.reports}
            strange = set(response.cancel_report.report_request_ids) - sent
            if strange:
                yield of_vtn("RPT-41", f"cancels {', '.join(sorted(strange))}, which the report did not hold")
            self._cancel(response.cancel_report)

    def _all_pending(self, listed: Iterable[str]) -> Iterator[Remark]:
        periodic = {
            request_id
            for request_id, request in self._asked.items()
            if request.report_specifier.report_back_duration
        }
        missing = periodic - set(listed)
        if missing:
            yield of_ven("RPT-22", f"oadrPendingReports lacks {', '.join(sorted(missing))}")


def _is_success(response: Message) -> bool:
    answer = getattr(response, "response", None)
    return not isinstance(answer, EiResponse) or answer.is_success
