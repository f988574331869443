"""Conformance rules as functions of a message: the one source for the checker and the servers.

Each finding names its rule by the ID of the project's conformance list. Rules here need one message alone;
those that compare with what is stored (known ids, modification numbers) are the servers' own.
"""

from collections.abc import Callable, Iterator

from lxml import etree

from openadr import event_rules, opt_rules, report_rules
from openadr.enums import TransportName
from openadr.event import CreatedEvent, DistributeEvent
from openadr.finding import Finding
from openadr.opt import CreateOpt
from openadr.registration import CreatedPartyRegistration, CreatePartyRegistration
from openadr.report import CreateReport, RegisteredReport, RegisterReport, UpdateReport
from openadr.response import EiResponse
from openadr.wire import Message, clark

UNASSIGNED_CODES = frozenset({"455", "456", "457", "458", "464", "465", "466", "467", "468"})
_SCHEMA_VERSION = clark("ei:schemaVersion")
_SCHEMA_LOCATION = clark("xsi:schemaLocation")
_PAYLOAD = clark("oadr:oadrPayload")
_INSTANTS = tuple(clark(name) for name in ("xcal:date-time", "ei:createdDateTime", "ei:modificationDateTime"))


def check(message: Message) -> list[Finding]:
    """All findings in one message, those that are no warning first."""
    findings = list(_response_code(message))
    rule = _RULES.get(type(message))
    if rule is not None:
        findings.extend(rule(message))
    return sorted(findings, key=lambda finding: finding.warning)


def check_wire(root: etree._Element, payload: etree._Element) -> list[Finding]:
    """Warnings on what the values do not show: wrapper, version, spelling of times (GEN-03 to GEN-06)."""
    return [Finding(rule, text, warning=True) for rule, text in _wire(root, payload)]


def _wire(root: etree._Element, payload: etree._Element) -> Iterator[tuple[str, str]]:
    if root.tag != _PAYLOAD:
        yield "GEN-03", "not inside oadrPayload/oadrSignedObject"
    if payload.get(_SCHEMA_VERSION) != "2.0b":
        yield "GEN-04", "ei:schemaVersion is not 2.0b"
    if root.get(_SCHEMA_LOCATION) is not None or payload.get(_SCHEMA_LOCATION) is not None:
        yield "GEN-05", "xsi:schemaLocation is never sent"
    for element in root.iter(*_INSTANTS):
        if not (element.text or "").strip().endswith("Z"):
            yield "GEN-06", f"date-time without Z in line {element.sourceline}"
            return


def _response_code(message: Message) -> Iterator[Finding]:
    response = getattr(message, "response", None)
    codes = [response.code] if isinstance(response, EiResponse) else []
    if isinstance(message, CreatedEvent):
        codes += [answer.code for answer in message.event_responses]
    for code in codes:
        if code in UNASSIGNED_CODES:
            yield Finding("ERR-01", f"responseCode {code} is unassigned")
        elif code[0] not in "245":
            yield Finding("ERR-06", f"responseCode {code} is neither success nor error", warning=True)


def _create_party_registration(message: CreatePartyRegistration) -> Iterator[Finding]:
    if message.transport_name is TransportName.XMPP:
        if message.transport_address is None:
            yield Finding("REG-06", "xmpp needs oadrTransportAddress")
    elif message.http_pull_model is None:
        yield Finding("REG-06", "simpleHttp needs oadrHttpPullModel")
    elif not message.http_pull_model and message.transport_address is None:
        yield Finding("REG-06", "push needs oadrTransportAddress")


def _created_party_registration(message: CreatedPartyRegistration) -> Iterator[Finding]:
    if (message.registration_id is None) != (message.ven_id is None):
        yield Finding("REG-08", "registrationID and venID come together or not at all")
    if message.requested_poll_freq is not None and message.requested_poll_freq.is_negative:
        yield Finding("REG-24", "oadrRequestedOadrPollFreq is negative")


def _registered_report(message: RegisteredReport) -> Iterator[Finding]:
    yield from report_rules.report_requests(message.report_requests)


_RULES: dict[type, Callable[..., Iterator[Finding]]] = {
    DistributeEvent: event_rules.distribute_event,
    CreatedEvent: event_rules.created_event,
    CreateOpt: opt_rules.create_opt,
    CreatePartyRegistration: _create_party_registration,
    CreatedPartyRegistration: _created_party_registration,
    RegisterReport: report_rules.register_report,
    RegisteredReport: _registered_report,
    CreateReport: report_rules.create_report,
    UpdateReport: report_rules.update_report,
}
