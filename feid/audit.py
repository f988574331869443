"""What the box has sent and received, held against what the aggregator's log says of it. Pure.

Reports are compared by the hash of the bytes that were acknowledged, versions of events by the hash of their
content, opts by what they say. Rules:

- acknowledged or received here, and the log goes on after it without it: missing; nothing after it in the log
  yet: not sealed yet, for as long as `patience`, then missing;
- in the log with another content: different;
- a report signed in its XML has other bytes each time it is sent, and the log keeps the first: one that our
  key has signed speaks for what was sent of that request and moment, also where its answer was lost;
- in the log as ours, and neither remembered here nor signed by our key: forged. What is older than the memory
  itself is not judged.
- what was done under another id than ours of today must be in the log under the id of then, unless an earlier
  audit has found it: a VTN that gives a new id makes nobody forget;
- an audit that goes on from the one before is given the newer records alone: what was done up to then was
  found. A record of it that is told to have come much later is a second one.
- a record that is dated later than now, by more than the clocks may be apart, is broken;
- a version of an event in the log that never came here is no alarm (a newer one may have come in its place),
  but it is said: nobody can be held to what he was never told.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ledger.errors import VerificationError
from ledger.record import Record
from ledger.source import XML, verify_source
from ven.deed import Deed, Kind, opt_subject
from ven.store import Recollection

PATIENCE = timedelta(hours=1)
"""How long after a deed the log may be without it: facts are sealed in minutes."""
MARGIN = timedelta(minutes=20)
"""How far the box's clock and the log's may be apart without an alarm: a quarter hour, which lies between two
checkpoints, and five minutes for the clocks and for what comes between doing and acknowledgement.

By a clock that is slow, what was just done seems older than what the log holds already, until it is sealed
itself. Well below `PATIENCE`: what is really missing is told an hour later at most.
"""


DONE = ("report", "signal", "opt")
"""The kinds of records of what was sent and received here."""


class Fault(StrEnum):
    """What is wrong; broken is evidence that does not hold in itself."""

    MISSING = "missing"
    DIFFERENT = "different"
    FORGED = "forged"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, in a sentence."""

    fault: Fault
    text: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What was found; everything but `findings` is a number."""

    reports: int = 0
    signals: int = 0
    opts: int = 0
    pending: int = 0
    """Done here, and not sealed yet."""
    unjudged: int = 0
    """In the log, from before the box's memory, or without a hash to compare."""
    never_came: int = 0
    """Versions of events in the log that never came here."""
    findings: tuple[Finding, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class Present:
    """When the audit is made, the SHA-256 of our own keys, and how long the log may take."""

    now: datetime
    own_keys: Collection[str] = ()
    patience: timedelta = PATIENCE
    xml_certificate: str | None = None
    """SHA-256 of our certificate where its key signs in the XML alone, which no record shows by itself."""
    found_until: datetime | None = None
    """Up to when earlier audits have found all that was done."""
    goes_on: bool = False
    """Whether the records are those behind what the last audit has found, not all of them."""


def found_until(memory: Recollection, records: Sequence[Record], now: datetime) -> datetime | None:
    """Up to when an audit that holds has found all that was done; None if the log has nothing of it yet.

    By the same records as what is missing: what is pending was done later.
    """
    reached = _reached(_own(memory, records))
    return None if reached is None else min(reached, now) - MARGIN


def _own(memory: Recollection, records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.body.get("ven_id") in memory.ids]


def _reached(own: Sequence[Record]) -> datetime | None:
    """Up to when the log has what was done; statements and registrations have times of their own."""
    return max((record.at for record in own if record.kind in DONE), default=None)


def compare(memory: Recollection, records: Sequence[Record], present: Present) -> Tally:
    """What the log's records of this VEN come to against what it remembers; other VENs' are left out."""
    own = _own(memory, records)
    facts = {kind: [record for record in own if record.kind == kind] for kind in DONE}
    deeds = {kind: [deed for deed in memory.deeds if deed.kind is kind] for kind in Kind}
    # facts of the minutes before the memory began, by a clock that is ahead of ours, are not forged
    since = min((deed.at for deed in memory.deeds), default=present.now) + MARGIN
    clerk = _Clerk(present, since, _reached(own), memory.ven_id)
    clerk.dates(own)
    clerk.reports(facts["report"], deeds[Kind.REPORT], memory.unacknowledged)
    clerk.signals(facts["signal"], deeds[Kind.SIGNAL])
    clerk.opts(facts["opt"], deeds[Kind.OPT], deeds[Kind.SAID])
    return clerk.tally()


class _Clerk:
    """Counts as it goes."""

    def __init__(
        self, present: Present, since: datetime, reached: datetime | None, ven_id: str | None
    ) -> None:
        self._ven_id = ven_id
        self._present = present
        self._since = since
        self._reached = reached
        self._counts = dict.fromkeys(("reports", "signals", "opts", "pending", "unjudged", "never_came"), 0)
        self._findings: list[Finding] = []

    def tally(self) -> Tally:
        return Tally(**self._counts, findings=tuple(self._findings))

    def dates(self, records: Sequence[Record]) -> None:
        """What is dated in the future would pass for the newest for good."""
        for record in records:
            if record.at > self._present.now + MARGIN:
                said = f"{record.key} is dated {record.at.isoformat()}, later than now"
                self._say(Fault.BROKEN, said)

    def reports(self, records: Sequence[Record], deeds: Sequence[Deed], maybe: Collection[bytes]) -> None:
        sent = {deed.sha256.hex(): deed for deed in deeds}
        unsure = {digest.hex() for digest in maybe}
        found: dict[str, Record] = {}
        subjects: set[str] = set()
        for record in records:
            digest, subject = str(record.body.get("raw_sha256")), _report_subject(record)
            deed = sent.get(digest)
            signed = self._signed(record)
            if deed is None and digest not in unsure and not signed:
                self._stranger(record, next((each for each in deeds if each.subject == subject), None))
                subjects.add(subject)
            elif digest in found:
                self._say(
                    Fault.FORGED, f"{record.key} is a second record of the bytes of {found[digest].key}"
                )
            elif deed is not None and self._was_found(deed) and record.at > deed.at + MARGIN:
                said = f"{record.key} is a second record of the bytes of report {deed.subject}, found before"
                self._say(Fault.FORGED, said)
            elif deed is not None and not subject.startswith(
                deed.subject
            ):  # of old ones the time is not kept
                self._say(Fault.DIFFERENT, f"{record.key} is of {subject}, what was sent of {deed.subject}")
            else:
                self._counts["reports"] += deed is not None
                found[digest] = record
                # two empty reports of one second are one fact; what we signed and do not know was sent again
                if _is_empty(record) or (deed is None and signed):
                    subjects.add(subject)
        self._missing(
            (deed for digest, deed in sent.items() if digest not in found and deed.subject not in subjects),
            lambda deed: f"report {deed.subject} with SHA-256 {deed.sha256.hex()}",
        )

    def signals(self, records: Sequence[Record], deeds: Sequence[Deed]) -> None:
        came = {deed.subject: deed for deed in deeds}
        logged = set()
        for record in records:
            subject = f"{record.body.get('event_id')}/{record.body.get('modification_number')}"
            digest, deed = record.body.get("event_sha256"), came.get(subject)
            logged.add(subject)
            if deed is None:
                self._counts["unjudged" if record.at < self._since else "never_came"] += 1
            elif digest is None:
                self._counts["unjudged"] += 1
            elif digest != deed.sha256.hex():
                self._say(
                    Fault.DIFFERENT,
                    f"event {subject} came with content {deed.sha256.hex()}, the log has {digest}",
                )
            else:
                self._counts["signals"] += 1
        self._missing(
            (deed for deed in deeds if deed.subject not in logged), lambda deed: f"event {deed.subject}"
        )

    def opts(self, records: Sequence[Record], deeds: Sequence[Deed], said: Sequence[Deed]) -> None:
        known = {deed.subject for deed in (*deeds, *said)}
        logged = {_opt_subject(record): record for record in records}
        for subject, record in logged.items():
            if subject not in known and record.at >= self._since:
                self._say(Fault.FORGED, f"{record.key} says {subject}, which was never said here")
            self._counts["unjudged"] += subject not in known and record.at < self._since
        self._counts["opts"] += sum(deed.subject in logged for deed in deeds)
        self._missing(
            (deed for deed in deeds if deed.subject not in logged), lambda deed: f"opt {deed.subject}"
        )

    def _signed(self, record: Record) -> bool:
        """Whether our own key has signed what the record rests on, whatever is remembered."""
        try:
            source = verify_source(record)
        except VerificationError as error:
            self._say(Fault.BROKEN, f"{record.key}: {error}")
            return False
        return source is not None and source.key_sha256 in self._present.own_keys

    def _names_us(self, record: Record) -> bool:
        """Whether it rests on the XML signature of our certificate, by the log's own word."""
        source, ours = record.body.get("source"), self._present.xml_certificate
        named = (
            source.get("certificate") if isinstance(source, dict) and source.get("algorithm") == XML else None
        )
        return ours is not None and named == ours

    def _stranger(self, record: Record, deed: Deed | None) -> None:
        """A report that nothing here speaks for."""
        if deed is not None and self._names_us(record):
            self._counts["unjudged"] += 1  # maybe an earlier sending; the message itself shows it
        elif deed is not None:
            logged = record.body.get("raw_sha256")
            text = f"{record.key} rests on {logged}, what was sent has {deed.sha256.hex()}"
            self._say(Fault.DIFFERENT, text)
        elif record.at < self._since:
            self._counts["unjudged"] += 1
        else:
            self._say(Fault.FORGED, f"{record.key} is of a report that was never sent from here")

    def _missing(self, deeds: Iterable[Deed], describe: Callable[[Deed], str]) -> None:
        for deed in deeds:
            former = self._is_former(deed)
            if self._was_found(deed):
                continue
            passed = self._reached is not None and deed.at <= self._reached - MARGIN
            if passed or deed.at < self._present.now - self._present.patience:
                under = f" as {deed.ven_id}" if former else ""
                text = f"{describe(deed)}, done at {deed.at.isoformat()}{under}, is not in the log"
                self._say(Fault.MISSING, text)
            else:
                self._counts["pending"] += 1

    def _is_former(self, deed: Deed) -> bool:
        """Whether it was done under another id than ours of today."""
        return deed.ven_id not in (None, self._ven_id)

    def _was_found(self, deed: Deed) -> bool:
        """Whether an earlier audit has found it, and it is not given again."""
        until = self._present.found_until
        given_once = self._present.goes_on or self._is_former(deed)
        return given_once and until is not None and deed.at <= until

    def _say(self, fault: Fault, text: str) -> None:
        self._findings.append(Finding(fault, text))


def _report_subject(record: Record) -> str:
    return f"{record.body.get('report_request_id')}/{record.body.get('created_at')}"


def _opt_subject(record: Record) -> str:
    body = record.body
    mark = body.get("code", body.get("opt_id"))
    number = body.get("modification_number")
    whole = number if isinstance(number, int) else -1
    return opt_subject(str(body.get("event_id")), whole, str(body.get("opt_type")), str(mark))


def _is_empty(record: Record) -> bool:
    return record.body.get("readings") == 0 and record.body.get("quarantined") == 0
