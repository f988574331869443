"""GOALS 74: whatever is created, modified, cancelled, lost or restarted, the VEN ends with the VTN's list."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from openadr import CreatedEvent, Event, Message, Poll, decode, encode
from openadr.enums import OptType
from tests.ven.conversation import make_session, ready
from tests.ven.messages import HOUR, cancelled, distribute, make_event, ok
from tests.ven.site import NOW, Site
from ven.event import followed
from ven.saved import Saved
from ven.session import Session

NAMES = st.sampled_from(["e1", "e2", "e3"])
PERIOD = timedelta(minutes=10)


class Talk(RuleBasedStateMachine):
    """A model of the VTN's event list, and a session that hears of it through a bad line."""

    @initialize()
    def start(self) -> None:
        self.site = Site()
        self.session: Session = ready(site=self.site)
        self.disk: Saved = self.session.saved
        self.now = NOW
        self.events: dict[str, Event] = {}
        self.waiting: set[str] = set()
        self.highest: Counter[str] = Counter()

    @rule(name=NAMES, hours=st.integers(1, 40))
    def create_or_modify(self, name: str, hours: int) -> None:
        number = self.highest[name]
        self.highest[name] += 1
        self.events[name] = make_event(name, number, start=self.now + hours * HOUR)
        self.waiting.add(name)

    @rule(name=NAMES)
    def cancel(self, name: str) -> None:
        if name in self.events and not self.events[name].is_cancelled:
            self.events[name] = cancelled(self.events[name])
            self.highest[name] += 1
            self.waiting.add(name)

    @rule(name=NAMES)
    def leave_out(self, name: str) -> None:
        if self.events.pop(name, None) is not None:
            self.waiting.discard(name)

    @rule(hours=st.integers(1, 20))
    def time_goes_by(self, hours: int) -> None:
        self.now += hours * HOUR
        over = [name for name, event in self.events.items() if event.end and event.end <= self.now]
        for name in over:
            del self.events[name]
            self.waiting.discard(name)

    @rule(lost=st.booleans(), twice=st.booleans())
    def exchange(self, lost: bool, twice: bool) -> None:
        """One request; its answer may be lost, and the VTN may get it twice."""
        due = self.session.due(self.now)
        if not due:
            self.now += PERIOD
            due = self.session.due(self.now)
        answer = self.ask(due[0])
        if twice:
            answer = self.ask(due[0])
        if not lost:
            self.session.receive(answer, self.now)
            self.disk = self.session.saved

    @rule()
    def restart(self) -> None:
        self.session = make_session(self.disk, self.site)

    def ask(self, message: Message) -> Message:
        """What the VTN answers: its whole list where something changed and is not answered yet."""
        asked = decode(encode(message))
        if isinstance(asked, CreatedEvent):
            for each in asked.event_responses:
                event = self.events.get(each.event_id)
                if event is not None and event.modification_number == each.modification_number:
                    assert each.code == "200", each
                    self.waiting.discard(each.event_id)
                    if event.is_cancelled:
                        del self.events[each.event_id]
            return ok()
        assert isinstance(asked, Poll)
        return distribute(*self.events.values()) if self.waiting else ok()

    @invariant()
    def each_modification_is_decided_once(self) -> None:
        counts = Counter(getattr(self, "site", Site()).decided)
        # an event that was left out and comes back is a new one to the VEN; its number is higher here
        assert all(count == 1 for count in counts.values()), counts

    def teardown(self) -> None:
        """The line gets better: the VEN follows what the VTN wants, and nothing else."""
        if not hasattr(self, "events"):
            return
        self.waiting |= set(self.events) or {"none"}
        for _ in range(8):
            self.exchange(lost=False, twice=False)
        self.waiting.discard("none")  # only now: the first exchange need not be a poll
        wanted = {name: event for name, event in self.events.items() if not event.is_cancelled}
        live = [
            event
            for event in followed(self.session.saved.events.values())
            if event.end is None or event.end > self.now
        ]
        assert {event.event_id: event for event in live} == {
            name: replace(event) for name, event in wanted.items()
        }
        assert all(held.opt_type is OptType.OPT_IN for held in self.session.saved.events.values())


TestTalk = Talk.TestCase
TestTalk.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
