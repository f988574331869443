"""The states of a VEN's session: what may be sent in each, which answers that may have, and where they lead.

`docs/ven-session.md` shows this table; a test keeps the two equal.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from openadr import (
    CanceledOpt,
    CanceledPartyRegistration,
    CanceledReport,
    CancelOpt,
    CancelPartyRegistration,
    CancelReport,
    CreatedEvent,
    CreatedOpt,
    CreatedPartyRegistration,
    CreatedReport,
    CreateOpt,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    Message,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    RequestReregistration,
    Response,
    UpdatedReport,
    UpdateReport,
)


class State(StrEnum):
    """Where the conversation stands."""

    UNREGISTERED = "unregistered"
    """Knows no registration; asks what the VTN offers."""
    REGISTERING = "registering"
    """The VTN speaks our profile; asks for a registration."""
    OFFERING = "offering"
    """Registered; says what can be reported (REG-11)."""
    SYNCING = "syncing"
    """Asks for all events once (VEX-29)."""
    READY = "ready"
    """Polls, answers, reports."""
    REREGISTERING = "reregistering"
    """The VTN asked to renew the registration (REG-16)."""
    LEAVING = "leaving"
    """Takes its registration back (REG-18)."""
    CANCELED = "canceled"
    """The registration was ended; registers again later, or never (REG-23)."""


class Next(NamedTuple):
    """The state after an answer that says success (or carries no code), and after one that says an error."""

    good: State
    bad: State


Answers = Mapping[type[Message], Next]
Requests = Mapping[type[Message], Answers]


def _stay(state: State, *answers: type[Message]) -> Answers:
    return {answer: Next(state, state) for answer in answers}


ANSWERS: tuple[type[Message], ...] = (
    CreatedEvent,
    RegisteredReport,
    CreatedReport,
    UpdatedReport,
    CanceledReport,
    CanceledPartyRegistration,
    Response,
)
"""What a pull VEN posts in answer to a polled message: each is a request of its own (POLL-04)."""


OWN: Mapping[type[Message], tuple[type[Message], ...]] = {
    QueryRegistration: (CreatedPartyRegistration,),
    CreateReport: (CreatedReport, Response),
    CancelReport: (CanceledReport, Response),
    CreateOpt: (CreatedOpt, Response),
    CancelOpt: (CanceledOpt, Response),
}
"""What a site says by itself, and its answers: a poll may be under way then that leads to another state."""


def _answers(state: State) -> Requests:
    # a VTN that was asked for reports along with the answer to its metadata confirms them (RPT-09)
    confirmed = {RegisteredReport: _stay(state, Response, CreatedReport)}
    own = {asked: _stay(state, *answers) for asked, answers in OWN.items()}
    return {answer: _stay(state, Response) for answer in ANSWERS} | confirmed | own


TRANSITIONS: Mapping[State, Requests] = {
    State.UNREGISTERED: {
        QueryRegistration: {CreatedPartyRegistration: Next(State.REGISTERING, State.UNREGISTERED)},
    },
    State.REGISTERING: {
        CreatePartyRegistration: {CreatedPartyRegistration: Next(State.OFFERING, State.UNREGISTERED)},
    },
    State.OFFERING: {
        **_answers(State.OFFERING),
        RegisterReport: {
            RegisteredReport: Next(State.SYNCING, State.SYNCING),
            Response: Next(State.SYNCING, State.SYNCING),
        },
    },
    State.SYNCING: {
        **_answers(State.SYNCING),
        RequestEvent: {
            DistributeEvent: Next(State.READY, State.READY),
            # some VTNs answer so where there are no events (docs/ven-session.md)
            Response: Next(State.READY, State.READY),
        },
    },
    State.READY: {
        **_answers(State.READY),
        Poll: {
            **_stay(
                State.READY,
                DistributeEvent,
                CreateReport,
                RegisterReport,
                CancelReport,
                UpdateReport,
                Response,
            ),
            CancelPartyRegistration: Next(State.CANCELED, State.READY),
            RequestReregistration: Next(State.REREGISTERING, State.READY),
        },
        RegisterReport: _stay(State.READY, RegisteredReport, Response),
    },
    State.REREGISTERING: {
        **_answers(State.REREGISTERING),
        CreatePartyRegistration: {CreatedPartyRegistration: Next(State.READY, State.UNREGISTERED)},
    },
    State.LEAVING: {
        **_answers(State.LEAVING),
        CancelPartyRegistration: {
            CanceledPartyRegistration: Next(State.CANCELED, State.READY),
            Response: Next(State.CANCELED, State.READY),
        },
    },
    State.CANCELED: {
        CanceledPartyRegistration: _stay(State.CANCELED, Response),
    },
}
