"""The VEN's side of the conversation with its VTN: what to send next, and what an answer changes. No I/O.

One request is open at a time. `due(now)` gives the requests to send, in order; the answer to the first goes
to `receive`, which gives what that adds. Reports in flight run beside it: see `reported`.

Rule 1: what may be sent in a state, which answers it may have, and the state after a good and after a bad
answer stand in `ven.states.TRANSITIONS` and nowhere else. An answer that is not in it is refused.
Rule 2: an answer with code 463 (not registered), and any 4xx to a poll (whose only fault can be its venID or
its registration: ERR-02), leads to UNREGISTERED from every state.
Rule 3: a VTN may ask to renew the registration in answer to anything (some do so instead of 463):
REREGISTERING. What the first registration still lacked (metadata, events) follows the renewal.

Invariant: `saved` is all that is needed to go on after a restart; it is written before anything that follows
from it is sent, so an event is stored before its CreatedEvent leaves.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta

from openadr import (
    CancelPartyRegistration,
    CancelReport,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    Message,
    Poll,
    QueryRegistration,
    RegisterReport,
    RequestEvent,
    RequestReregistration,
    Response,
    UpdatedReport,
    UpdateReport,
)
from openadr.enums import OptType
from ven import opt, registration, report, verdict
from ven.answer import Answered, Context, answer, forgotten, never_taken, withdrawn
from ven.errors import UnexpectedMessageError
from ven.facility import Facility
from ven.numbered import NumberedPoints
from ven.offer import Pace
from ven.reporter import Reporter
from ven.request import metadata_due
from ven.rhythm import Rhythm
from ven.saved import Saved, steady, tidied
from ven.settings import VenSettings
from ven.skew import Skew
from ven.states import TRANSITIONS, Next, State
from ven.verdict import Delivery
from ven.waiting import Waiting

__all__ = ["Delivery", "Session"]

log = logging.getLogger(__name__)

RENEWAL_LIMIT = 2
"""Renewals and losses of the registration in a row before the VEN waits (REG-28)."""
_HEARD = frozenset({State.READY, State.LEAVING})
"""States in which the VTN has told its events: the site's own words go out."""
_WITH_REPORTS = frozenset({State.SYNCING, State.READY, State.REREGISTERING})


class Session:
    """The conversation of one VEN with one VTN; see the module for its rules."""

    def __init__(
        self,
        settings: VenSettings,
        facility: Facility,
        saved: Saved,
        *,
        new_id: Callable[[], str],
        draw: Callable[[], float],
    ) -> None:
        """Go on from `saved`. `new_id` makes ids of messages, `draw` gives random numbers from [0, 1)."""
        self.saved = saved
        self.revoked: set[str] = set()
        """Requests that are void: the keeper of unsent reports drops theirs and empties this."""
        self.offer: CreatedPartyRegistration | None = None
        """What the VTN said last of its profiles, services and extensions (REG-02)."""
        self._skew = Skew(timedelta(seconds=settings.clock_skew_s))
        self._settings = settings
        self._facility = NumberedPoints(facility) if settings.numbered_points else facility
        self._new_id = new_id
        self._draw = draw
        self._renewals = 0
        self._capabilities = tuple(self._facility.capabilities())
        self._reporter = Reporter.of(settings, self._facility, self._capabilities, new_id)
        self._rhythm = Rhythm()
        self._pace = Pace(timedelta(seconds=settings.register_retry_s))
        self.state = self._resumed()
        if settings.metadata_at_start and self.state in _WITH_REPORTS and not saved.renewing:
            self.state = State.OFFERING  # RPT-01
        self._waiting = Waiting(saved.answers, heard=self.state in _HEARD)
        known = self.saved.registration
        if known is not None and known.xml_signature != settings.xml_signature:
            # before anything else: until the VTN is told, neither believes the other (SIG-11)
            self.state = State.REREGISTERING
            self._waiting.put_first(registration.create(settings, new_id(), known))

    def _resumed(self) -> State:
        if self.saved.registration is None:
            return State.UNREGISTERED if self.saved.barred_until is None else State.CANCELED
        if self.saved.renewing:
            return State.REREGISTERING
        if self._lacks_metadata:
            return State.OFFERING
        return State.READY if self.saved.synced or self._settings.report_only else State.SYNCING

    def _context(self, now: datetime) -> Context:
        return Context(self._settings, self._facility, self._capabilities, self._new_id, self._draw, now)

    def due(self, now: datetime) -> list[Message]:
        """The requests to send now, in order, each after the answer to the one before; empty: wait."""
        self._tidy(now)
        if not self._waiting and not self._is_waiting(now):
            self._rhythm.end()
            self._waiting.add([self._next(now)])
        return self._waiting.now

    def _tidy(self, now: datetime) -> None:
        pause_s, before = self._settings.register_after_cancel_s, self.saved
        self.saved = tidied(before, now, None if pause_s is None else timedelta(seconds=pause_s))
        if before.synced and not self.saved.synced and self.state is State.READY:
            self.state = self._resumed()

    def _is_waiting(self, now: datetime) -> bool:
        until = self.waits_until
        return until is not None and now < until and not self._rhythm.set_back(now) and not self.saved.leaving

    @property
    def waits_until(self) -> datetime | None:
        """Before this instant `due` has nothing by itself; None: at once."""
        return self.saved.barred_until if self.state is State.CANCELED else self._rhythm.until

    def _next(self, now: datetime) -> Message:
        if self.state is State.CANCELED:
            self.state = State.UNREGISTERED
            self.saved = replace(self.saved, barred_until=None)
        known = self.saved.registration
        if self.saved.leaving:
            self.state = State.LEAVING
        if self.state is State.UNREGISTERED:
            return QueryRegistration(request_id=self._new_id())
        if known is None or self.state in {State.REGISTERING, State.REREGISTERING}:
            # after a renewal that failed the old ids are left out: they may be what the VTN refused
            renewed = known if self.state is State.REREGISTERING else None
            return registration.create(self._settings, self._new_id(), renewed)
        offers_again = self.state is State.READY and self._lacks_metadata and self._pace.is_due(now)
        if self.state is State.OFFERING or offers_again:
            return self._context(now).metadata(known.ven_id)
        if self.state is State.SYNCING and self._settings.report_only:
            self.state = State.READY
        if self.state is State.SYNCING:
            return RequestEvent(request_id=self._new_id(), ven_id=known.ven_id)
        if self.state is State.LEAVING:
            return CancelPartyRegistration(
                request_id=self._new_id(), registration_id=known.registration_id, ven_id=known.ven_id
            )
        return self._metadata_due(known.ven_id, now) or Poll(known.ven_id)

    @property
    def _lacks_metadata(self) -> bool:
        """Whether the VTN does not have our metadata: without them it never asks for reports (RPT-01)."""
        return self.saved.metadata != report.digest(self._capabilities)

    def _metadata_due(self, ven_id: str, now: datetime) -> Message | None:
        due = metadata_due(self.saved.requests, now)
        return None if due is None else self._context(now).metadata(ven_id, due)

    def receive(self, message: Message, now: datetime) -> list[Message]:
        """Takes the answer to the first request of `due`; gives the requests that it adds.

        UnexpectedMessageError where such a message cannot answer it; then nothing has changed.
        """
        if not self._waiting:
            raise UnexpectedMessageError(f"{type(message).__name__} without a request")
        asked = self._waiting.first
        following = self._following(asked, message)
        self._waiting.answered()
        if verdict.is_lost(asked, message) and self.saved.registration is not None:
            self._lose(now)
            return []
        if isinstance(message, CreatedPartyRegistration):
            self.offer = message
        good = verdict.is_good(message, asked, self.saved.registration)
        if isinstance(asked, Poll) and good and not isinstance(message, RequestReregistration):
            self._renewals = 0
        self._skew.measure(message, now)
        self._enter(following.good if good else following.bad, asked, message, now)
        outcome = answer(message, asked, self.saved, self._context(now), good=good)
        news = self._apply(outcome)
        self._settle(asked, message, now, news=news)
        if isinstance(message, RequestReregistration) and good:
            self._count_renewal(now)
        if isinstance(asked, CreatePartyRegistration) and self.state is State.READY:
            self.state = self._resumed()  # rule 3
        self._speak_again()
        return [each for each in outcome.messages if each in self._waiting]

    def _following(self, asked: Message, message: Message) -> Next:
        if isinstance(message, RequestReregistration) and self.saved.registration is not None:
            return Next(State.REREGISTERING, self.state)  # rule 3
        following = TRANSITIONS[self.state].get(type(asked), {}).get(type(message))
        if following is None:
            raise UnexpectedMessageError(
                f"{type(message).__name__} cannot answer {type(asked).__name__} in state {self.state}"
            )
        return following

    def _apply(self, outcome: Answered) -> bool:
        """Takes over what an answer changes; whether that, or what is to be said to it, is new."""
        if self.saved.registration is not None and outcome.saved.registration is None:
            self._waiting.ended()
        news = steady(self.saved, outcome.saved) != self.saved
        self.saved = outcome.saved
        self.revoked |= outcome.revoked
        new_words = self._waiting.add(outcome.messages, news=news)
        self._remember()
        return news or new_words

    def _remember(self) -> None:
        if self._waiting.kept != self.saved.answers:
            self.saved = replace(self.saved, answers=self._waiting.kept)

    def _speak_again(self) -> None:
        known = self.saved.registration
        if known is None or self.state not in _HEARD:
            return
        self._waiting.heard(known.ven_id)
        opts = tuple(opt.renamed(each, known.ven_id) for each in self.saved.opts)
        if opts != self.saved.opts:
            self.saved = replace(self.saved, opts=opts)
        self._remember()

    def give_up(self, now: datetime) -> None:
        """Drops the first request of `due`, which the VTN will not take: as after a bad answer."""
        asked = self._waiting.answered()
        self.saved = never_taken(asked, self.saved, now)
        following = next(iter(TRANSITIONS[self.state].get(type(asked), {}).values()), None)
        self._enter(following.bad if following else self.state, asked, None, now)
        self._remember()
        self._settle(asked, None, now, news=True)

    def put_off(self) -> bool:
        """Lets the site's words wait for another answer where the VTN broke at the first; False: no use."""
        return self._waiting.put_off()

    def _settle(self, asked: Message, message: Message | None, now: datetime, *, news: bool) -> None:
        if isinstance(asked, RegisterReport):
            self._pace.answered(taken=not self._lacks_metadata, now=now)
        if not isinstance(asked, Poll) or self.state is State.UNREGISTERED:
            return
        idle = message is None or isinstance(message, Response)
        if self._rhythm.polled(idle=idle, known=None if idle or news else type(message)):
            # only longer: the VTN's rhythm is a lower bound (POLL-07)
            jitter = 1 + self._settings.poll_jitter * self._draw()
            self._rhythm.pause(self.poll_period_s * jitter, now)

    def _enter(self, state: State, asked: Message, message: Message | None, now: datetime) -> None:
        self.state = state
        response = verdict.response_of(message)
        if response is not None and not response.is_success:
            log.warning(
                "the VTN refused %s: %s %s", type(asked).__name__, response.code, response.description
            )
        if state is not State.READY or isinstance(asked, Poll):
            self._rhythm.end()  # what the site says by itself makes no poll come early (POLL-07)
        if state is State.UNREGISTERED:
            self._waiting.lost()
            self._rhythm.pause(self._settings.register_retry_s, now)

    @property
    def clock_skew(self) -> timedelta:
        """How far the VTN's clock is ahead of ours (GEN-20)."""
        return self._skew.ahead

    @property
    def poll_period_s(self) -> float:
        """The rhythm that the VTN asked for, else ours (REG-24)."""
        known = self.saved.registration
        return (known.poll_period_s if known else None) or self._settings.poll_period_s

    def _lose(self, now: datetime) -> None:
        """The VTN does not know us: start over, or done if that was our wish; events go on meanwhile."""
        self._rhythm.end()
        self._start_over(now)
        if self.state is not State.CANCELED:
            log.warning("the VTN does not know this VEN any more: registering anew")
            self._count_renewal(now)

    def _start_over(self, now: datetime) -> None:
        if self.saved.leaving:
            self._apply(forgotten(self.saved, self._context(now)))
            self.state = State.CANCELED
            return
        self.revoked |= set(self.saved.requests)
        self.saved = Saved(events=self.saved.events, opts=self.saved.opts)
        self._waiting.lost()
        self._remember()
        self.state = State.UNREGISTERED

    def _count_renewal(self, now: datetime) -> None:
        self._renewals += 1
        if self._renewals > RENEWAL_LIMIT:
            self._renewals = 0
            self._start_over(now)
            self._rhythm.pause(self._settings.register_retry_s, now)

    # reports, beside the conversation

    def reports_due(self, now: datetime, busy: Collection[str] = ()) -> list[UpdateReport]:
        """The reports that can be made now, at most one for each request; `saved` then counts them as made.

        `busy`: requests whose earlier reports still wait to be sent.
        """
        if self.state not in _WITH_REPORTS:
            return []
        self.saved, made = self._reporter.make(self.saved, now, busy)
        return made

    def next_report_at(self) -> datetime | None:
        """When the next report falls due; its data may come later. None while nothing is asked for."""
        return self._reporter.next_at(self.saved)

    def reported(self, message: Message, request_id: str | None = None) -> Delivery:
        """Takes the VTN's answer to an UpdateReport; UnexpectedMessageError where it is none.

        `request_id` names the request of the report: the answer may end that one alone (RPT-41).
        """
        if isinstance(message, RequestReregistration):
            self._poll_soon()
            return Delivery.LATER
        if not isinstance(message, UpdatedReport | Response):
            raise UnexpectedMessageError(f"{type(message).__name__} cannot answer UpdateReport")
        if isinstance(message, UpdatedReport) and message.cancel_report is not None:
            self._cancel_along(message.cancel_report, request_id)
        response = message.response
        if not response.is_success:
            log.warning("the VTN refused a report: %s %s", response.code, response.description)
        if response.code == "463":
            self._poll_soon()
        return verdict.delivery(response)

    def _cancel_along(self, message: CancelReport, request_id: str | None) -> None:
        ids = tuple(each for each in message.report_request_ids if request_id in (None, each))
        self.saved, _, revoked = withdrawn(replace(message, report_request_ids=ids), self.saved)
        self.revoked |= revoked

    def _poll_soon(self) -> None:
        # the poll meets the same answer, and the registration is renewed in one place
        if self.state is State.READY:
            self._rhythm.end()

    # what the site wants to say by itself

    def change_opt(self, event_id: str, opt_type: OptType) -> None:
        """The site has changed its mind about an event (VEX-26); KeyError where the event is not held."""
        changed = replace(self.saved.events[event_id], opt_type=opt_type)
        self.saved = replace(self.saved, events={**self.saved.events, event_id: changed})
        known = self.saved.registration
        message = opt.change(changed, known.ven_id) if known else None
        if message is not None:
            self.send(message)

    def send(self, message: Message) -> None:
        """Adds a message of the VEN's own to what is due.

        CreateOpt, CancelOpt, CreatedEvent; CreateReport and CancelReport where it reads the VTN's reports.
        ValueError, and nothing has changed, where too many wait already, or no message can say it
        (`ven.waiting`).
        """
        self._waiting.say(message, heard=self.state in _HEARD)
        self._remember()

    def query(self) -> None:
        """Asks again what the VTN offers, which changes no registration (REG-02)."""
        if self.state is State.READY:
            self.send(QueryRegistration(request_id=self._new_id()))

    def leave(self) -> None:
        """Ends the registration (REG-18): a wish that lasts until the VTN has answered it."""
        if self.saved.registration is not None:
            self.saved = replace(self.saved, leaving=True)  # from the next request on: one may be under way
            self._rhythm.end()
