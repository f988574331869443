"""Alarms in words: what is wrong, in a title and a sentence, and what to do first. The rest stands in
docs/operations.md under the kind's own heading.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from aggregator.alarm import Alarm, AlarmKind, Severity
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.wording import UNKNOWN, Wording

_K = AlarmKind
TITLES: dict[AlarmKind, str] = {
    _K.NODE_SILENT: _("Node silent"),
    _K.REPORT_LATE: _("Reports are late"),
    _K.CERTIFICATE_ENDING: _("Certificate of a node ends"),
    _K.CLOCK_SKEW: _("Clock of a node is wrong"),
    _K.OUTBOX_BACKLOG: _("Node does not answer what it is offered"),
    _K.SHORTFALL: _("Event falls short"),
    _K.BREAKER_OPEN: _("Budget's breaker is open"),
    _K.SETTLEMENT_LATE: _("Settlement is late"),
    _K.SETTLEMENT_UNPAID: _("Settlement is not paid"),
    _K.AUDIT_LATE: _("Facts are not in the log"),
    _K.CHECKPOINT_LATE: _("Checkpoint is late"),
    _K.CHAIN_DOWN: _("Chain does not take anchors"),
    _K.ANCHORING_FAILED: _("Anchoring has stopped"),
    _K.WITNESS_FAILING: _("Witness does not cosign"),
    _K.SERVER_CERTIFICATE: _("Certificate of this server ends"),
    _K.DATABASE_REFUSES: _("Database takes no changes"),
    _K.DATABASE_SPACE: _("Disk is nearly full"),
    _K.TASK_FAILING: _("Task of the aggregator fails"),
    _K.NOTICES_STUCK: _("Notices are not taken"),
}
_SENTENCES: dict[AlarmKind, str] = {
    _K.NODE_SILENT: _("%(node)s has not spoken since %(last)s."),
    _K.REPORT_LATE: _("%(node)s is in contact, and has sent no metered values for an hour."),
    _K.CERTIFICATE_ENDING: _("The certificate of %(node)s ends on %(ends)s."),
    _K.CLOCK_SKEW: _("The clock of %(node)s is %(minutes)s minutes ahead of ours."),
    _K.OUTBOX_BACKLOG: _(
        "%(node)s polls, and has not answered what it is offered for half an hour (messages: %(messages)s)."
    ),
    _K.SHORTFALL: _(
        "Event %(event)s lacks %(missing_w)s of %(asked_w)s: "
        "nodes that stay out or have not answered: %(nodes)s."
    ),
    _K.BREAKER_OPEN: _("No event is sent since %(since)s: %(text)s"),
    _K.SETTLEMENT_LATE: _("Events that should have a statement by now and have none: %(events)s."),
    _K.SETTLEMENT_UNPAID: _("Accounts that the chain should have paid a day ago: %(accounts)s."),
    _K.AUDIT_LATE: _("What was done since %(since)s is not sealed in the log."),
    _K.CHECKPOINT_LATE: _("The newest checkpoint is of %(since)s, and the log has grown since."),
    _K.CHAIN_DOWN: _("Checkpoints have waited for their anchor since %(behind_since)s."),
    _K.ANCHORING_FAILED: _("A person must look: %(text)s"),
    _K.WITNESS_FAILING: _("%(name)s: %(text)s"),
    _K.SERVER_CERTIFICATE: _("The certificate of %(node)s ends on %(ends)s."),
    _K.DATABASE_REFUSES: _("Nothing new is kept: %(text)s"),
    _K.DATABASE_SPACE: _("Less than %(free_mb)s MB are free where the database lies."),
    _K.TASK_FAILING: _("The task %(name)s fails again and again: %(text)s"),
    _K.NOTICES_STUCK: _("Notices that have waited for a quarter of an hour: %(notices)s. %(text)s"),
}
_MANY: dict[AlarmKind, str] = {
    _K.NODE_SILENT: _("%(nodes)s nodes are silent, among them %(first)s."),
    _K.REPORT_LATE: _("%(nodes)s nodes have sent no metered values for an hour, among them %(first)s."),
    _K.CERTIFICATE_ENDING: _("The certificates of %(nodes)s nodes end within 30 days, among them %(first)s."),
    _K.CLOCK_SKEW: _("The clocks of %(nodes)s nodes are wrong, among them %(first)s."),
    _K.OUTBOX_BACKLOG: _("%(nodes)s nodes leave messages unanswered, among them %(first)s."),
}
REMEDIES: dict[AlarmKind, str] = {
    _K.NODE_SILENT: _("Look at power and network of the site; the node takes up its events when it is back."),
    _K.REPORT_LATE: _("Look at the meters behind the node; ask it for its history when they run again."),
    _K.CERTIFICATE_ENDING: _(
        "Issue a new certificate and enrol it beside the old one; both are taken meanwhile."
    ),
    _K.CLOCK_SKEW: _("Set up time synchronisation on the node; signed messages are refused until then."),
    _K.OUTBOX_BACKLOG: _("Turn on the trace of the node to see its answers; ask it to register again."),
    _K.SHORTFALL: _("Ask other nodes for the missing power, and tell whoever has ordered it."),
    _K.BREAKER_OPEN: _("Find out who asked for so much, and why; then an admin closes the breaker."),
    _K.SETTLEMENT_LATE: _(
        "Look at the log of the aggregator for the task attend; it settles what is due by itself."
    ),
    _K.SETTLEMENT_UNPAID: _(
        "Look at the account that pays and at the contract's answer on the page of the ledger."
    ),
    _K.AUDIT_LATE: _("Look at the log of the aggregator for the task look; do not delete anything."),
    _K.CHECKPOINT_LATE: _("Look whether the log's key can be read, or its token is there."),
    _K.CHAIN_DOWN: _(
        "Start the chain's node or name another one. Events go on, and all is anchored later at once."
    ),
    _K.ANCHORING_FAILED: _(
        "Do what the sentence names: funds, key or contract. Then restart the aggregator."
    ),
    _K.WITNESS_FAILING: _(
        "Call whoever runs the witness. If it refuses, compare both logs before anything else."
    ),
    _K.SERVER_CERTIFICATE: _("Put a new certificate in its place and send the aggregator SIGHUP."),
    _K.DATABASE_REFUSES: _("Make room, or mount the disk writable again. Active events are still served."),
    _K.DATABASE_SPACE: _(
        "Make room: old backups first. At 100 MB the database is about to stop taking changes."
    ),
    _K.TASK_FAILING: _(
        "Look at the log of the aggregator; the task goes on by itself when the cause is gone."
    ),
    _K.NOTICES_STUCK: _("Look at the address on the page of settings, and send a test."),
}
SEVERITIES: dict[Severity, str] = {
    Severity.INFO: _("to know"),
    Severity.WARNING: _("warning"),
    Severity.CRITICAL: _("critical"),
}
BADGES: dict[Severity, str] = {
    Severity.INFO: "info",
    Severity.WARNING: "warn",
    Severity.CRITICAL: "bad",
}
_INSTANTS = frozenset({"last", "ends", "since", "behind_since"})


def sentence(alarm: Alarm, words: Wording) -> str:
    """What is wrong, in the language and the zone of whoever looks."""
    many = "first" in alarm.detail
    text = (_MANY if many else _SENTENCES)[alarm.kind]
    return words.gettext(text) % {name: _shown(name, value, words) for name, value in alarm.detail.items()}


def described(words: Callable[[], Wording]) -> Callable[[Alarm], tuple[str, str]]:
    """Title, and sentence with what to do, for notices."""

    def describe(alarm: Alarm) -> tuple[str, str]:
        remedy = "" if alarm.cleared_at else f" {REMEDIES[alarm.kind]}"
        return TITLES[alarm.kind], sentence(alarm, words()) + remedy

    return describe


def help_path(kind: AlarmKind) -> str:
    """Where it is said at length: the heading in docs/operations.md."""
    return f"docs/operations.md#{anchor(kind)}"


def anchor(kind: AlarmKind) -> str:
    """The heading's own name."""
    return str(kind).replace("_", "-")


def _shown(name: str, value: Any, words: Wording) -> str:
    if name in _INSTANTS:
        return words.moment(datetime.fromisoformat(value)) if value else UNKNOWN
    if name.endswith("_w"):
        return words.power(value / 1000)
    return words.number(value) if isinstance(value, int) else str(value)
