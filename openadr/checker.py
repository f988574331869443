"""The checker: what is to be said of a message somebody sent, from its bytes alone."""

from dataclasses import dataclass
from enum import StrEnum

from lxml import etree

from openadr import profile_a, rules
from openadr.codec import payload_element, profile, read
from openadr.enums import SignalName
from openadr.errors import MalformedXml, ProtocolError, TooLarge, TransportError
from openadr.event import DistributeEvent
from openadr.finding import Finding
from openadr.parser import DEFAULT_LIMITS, Limits, readable_name, validate, with_tree


class Outcome(StrEnum):
    """How far a message came: parsed, valid under the schema, within the rules."""

    OK = "ok"
    RULE = "rule"
    SCHEMA = "schema"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker says of one message. `rule` is the first broken rule, `text` for a person.

    `profile` (`2.0a`, `2.0b`) and `message` (its element name) are None where they could not be told.
    Warnings leave the outcome `ok` and stand in `text`. `findings` are those of a message that could be read.
    """

    outcome: Outcome
    profile: str | None = None
    message: str | None = None
    rule: str | None = None
    text: str = ""
    findings: tuple[Finding, ...] = ()


def check_bytes(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Verdict:
    """The verdict on one message; never raises for what the bytes say."""
    try:
        return with_tree(raw, limits, lambda root: _check(root, limits))
    except (MalformedXml, TooLarge) as error:
        return Verdict(Outcome.MALFORMED, text=error.description)


def _check(root: etree._Element, limits: Limits) -> Verdict:
    payload = payload_element(root)
    found = profile(root)
    name = etree.QName(payload).localname
    if found is None:
        return Verdict(
            Outcome.SCHEMA, None, name, None, f"element {readable_name(root.tag)}: not OpenADR 2.0"
        )
    try:
        findings = _findings_a(root) if found == "2.0a" else _findings_b(root, payload, limits)
    except TooLarge as error:
        return Verdict(Outcome.MALFORMED, found, name, None, error.description)
    except TransportError as error:
        return Verdict(Outcome.SCHEMA, found, name, None, error.description)
    except ProtocolError as error:
        return Verdict(Outcome.RULE, found, name, error.rule, error.description)
    return _verdict(found, name, findings)


def _verdict(found: str, name: str, findings: list[Finding]) -> Verdict:
    broken = [finding for finding in findings if not finding.warning]
    text = "; ".join(
        f"{finding.rule}{' (warning)' if finding.warning else ''}: {finding.text}"
        for finding in (*broken, *(finding for finding in findings if finding.warning))
    )
    if broken:
        return Verdict(Outcome.RULE, found, name, broken[0].rule, text, tuple(findings))
    return Verdict(Outcome.OK, found, name, None, text, tuple(findings))


def _findings_b(root: etree._Element, payload: etree._Element, limits: Limits) -> list[Finding]:
    validate(root)
    return rules.check(read(payload, limits)) + rules.check_wire(root, payload)


def _findings_a(root: etree._Element) -> list[Finding]:
    """2.0a has SIMPLE signals only; the type of a signal says nothing there (A20-04)."""
    moved = profile_a.as_profile_b(root)
    validate(moved)
    message = read(moved)
    findings = [finding for finding in rules.check(message) if finding.rule not in ("EVT-27", "EVT-28")]
    if isinstance(message, DistributeEvent):
        for event in message.events:
            names = [signal.signal_name for signal in event.signals]
            if len(names) != 1 or names[0] not in (SignalName.SIMPLE, SignalName.SIMPLE_LOWER):
                text = (
                    f"event {event.event_id}: 2.0a has exactly one signal, SIMPLE, found {', '.join(names)}"
                )
                findings.insert(0, Finding("A20-04", text))
    return findings
