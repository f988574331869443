"""What an operator can do about a node: in each case what it will do, whether it is done already, and how.

The sentences are said before anything is done; the work is that of the API's operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.node_facts import Certificate, Facts
from aggregator.dashboard.wording import Wording
from vtn import outbox


class Need(StrEnum):
    """Whether somebody must say why."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Case:
    """What a deed is about: the node, its open events, and the certificate that the address names."""

    facts: Facts
    open_events: Sequence[str]
    fingerprint: str
    words: Wording

    def said(self, message: str, **values: object) -> str:
        """A sentence in the user's language."""
        return self.words.gettext(message) % values

    @property
    def certificate(self) -> Certificate | None:
        """The certificate that is meant."""
        for one in self.facts.certificates:
            if self.fingerprint in (one.enrolled.fingerprint, one.enrolled.short):
                return one
        return None


def _no_body(_case: Case) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One of them. `effects` are sentences, `hindrance` says why it cannot be done, empty if it can."""

    title: str
    button: str
    operation: str
    effects: Callable[[Case], list[str]]
    is_done: Callable[[Case], bool]
    hindrance: Callable[[Case], str] = field(default=lambda _case: "")
    body: Callable[[Case], Mapping[str, Any]] = _no_body
    danger: bool = False
    need: Need = Need.NONE


def _suspend(case: Case) -> list[str]:
    said = [
        case.said(
            _("From now on no message of it is taken: to the node it is as if it were not registered.")
        ),
        case.said(_("Its registration, its events and what waits for it stay as they are.")),
    ]
    if case.open_events:
        said.append(
            case.said(
                _("It has %(count)s open events (%(ids)s). It can neither answer nor report them meanwhile."),
                count=case.words.number(len(case.open_events)),
                ids=", ".join(case.open_events[:3]),
            )
        )
    return said


def _resume(case: Case) -> list[str]:
    registered = case.facts.ven.registration_id is not None
    return [
        case.said(_("Its messages are taken again, from its next poll on.")),
        case.said(_("Its registration is as it was: it need not register again."))
        if registered
        else case.said(_("It was not registered, and has to register first.")),
    ]


def _cancel(case: Case) -> list[str]:
    return [
        case.said(
            _("It is told at its next poll (it polls every %(span)s) and forgotten when it has answered."),
            span=case.words.duration(case.facts.poll_period),
        ),
        case.said(_("All that it was asked to report ends then, and what waits for it but events.")),
        case.said(_("It may register again: its certificates are still taken. To keep it out, suspend it.")),
        *_open_events(case),
    ]


def _open_events(case: Case) -> list[str]:
    if not case.open_events:
        return []
    count = case.words.number(len(case.open_events))
    return [case.said(_("It has %(count)s open events, which stay ours to cancel."), count=count)]


def _again(case: Case) -> list[str]:
    return [
        case.said(
            _("It is asked at its next poll (it polls every %(span)s) to send its registration again."),
            span=case.words.duration(case.facts.poll_period),
        ),
        case.said(_("Its registration, events and reports stay.")),
    ]


def _withdraw(case: Case) -> list[str]:
    one = case.certificate
    others = [
        each
        for each in case.facts.certificates
        if each.taken and one is not None and each.enrolled.short != one.enrolled.short
    ]
    said = [
        case.said(
            _("The certificate %(short)s is not taken any more, from the next request on, and never again."),
            short=one.enrolled.short if one else "",
        )
    ]
    if others:
        shorts = ", ".join(each.enrolled.short for each in others)
        said.append(case.said(_("These are still taken: %(shorts)s."), shorts=shorts))
    else:
        said.append(case.said(_("It is its only one: the node cannot connect until you enrol another.")))
        said += _open_events(case)
    return said


def _is_withdrawn(case: Case) -> bool:
    one = case.certificate
    return one is not None and not one.taken


def _not_registered(case: Case) -> str:
    return "" if case.facts.ven.registration_id is not None else case.said(_("It is not registered."))


DEEDS: Mapping[str, Deed] = {
    "suspend": Deed(
        title=_("Suspend the node"),
        button=_("Suspend"),
        operation="suspendVen",
        effects=_suspend,
        is_done=lambda case: case.facts.ven.suspended_at is not None,
        danger=True,
        need=Need.REQUIRED,
    ),
    "resume": Deed(
        title=_("Lift the suspension"),
        button=_("Lift the suspension"),
        operation="resumeVen",
        effects=_resume,
        is_done=lambda case: case.facts.ven.suspended_at is None,
        need=Need.OPTIONAL,
    ),
    "cancel": Deed(
        title=_("Cancel the registration"),
        button=_("Cancel the registration"),
        operation="cancelRegistration",
        effects=_cancel,
        is_done=lambda case: outbox.CANCEL_PARTY_REGISTRATION in case.facts.waiting,
        hindrance=_not_registered,
        danger=True,
        need=Need.REQUIRED,
    ),
    "again": Deed(
        title=_("Ask to register again"),
        button=_("Ask"),
        operation="askToRegisterAgain",
        effects=_again,
        is_done=lambda case: outbox.REQUEST_REREGISTRATION in case.facts.waiting,
        hindrance=_not_registered,
    ),
    "withdraw": Deed(
        title=_("Withdraw the certificate"),
        button=_("Withdraw"),
        operation="withdrawCertificate",
        effects=_withdraw,
        is_done=_is_withdrawn,
        hindrance=lambda case: "" if case.certificate else case.said(_("It has no such certificate.")),
        danger=True,
        need=Need.REQUIRED,
    ),
    "trace-on": Deed(
        title=_("Keep its messages"),
        button=_("Keep them"),
        operation="turnTrace",
        effects=lambda case: [
            case.said(_("From now on what it says and is answered is kept, the newest 1,000 for 7 days.")),
            case.said(_("The messages hold readings of its homes: do so only to find a fault.")),
        ],
        is_done=lambda case: case.facts.traced_since is not None,
        body=lambda _case: {"on": True},
    ),
    "trace-off": Deed(
        title=_("Keep no more messages"),
        button=_("Keep no more"),
        operation="turnTrace",
        effects=lambda case: [
            case.said(_("No more messages are kept. What is kept already stays until it is 7 days old."))
        ],
        is_done=lambda case: case.facts.traced_since is None,
        body=lambda _case: {"on": False},
    ),
}
"""By the word that stands in the address."""
