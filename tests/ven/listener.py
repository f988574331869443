"""The event desk of a VEN in tests, without a conversation around it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from openadr import CreatedEvent, DistributeEvent, Event, EventResponse
from openadr.enums import OptType
from openadr.timeline import Timeline
from tests.ven.messages import VEN, VTN, distribute
from tests.ven.site import NOW
from ven.event import Desk, HeldEvent, followed, take
from ven.scope import Scope
from ven.settings import SIGNALS

SCOPE = Scope(
    ven_id=VEN,
    vtn_id=VTN,
    signals=SIGNALS,
    market_contexts=frozenset({"http://programme.test/a"}),
    groups=frozenset({"north"}),
    parties=frozenset({"party-7"}),
    resources=frozenset({"home-01"}),
    device_classes=frozenset({"Water_Heater", "Thermostat"}),
    meters=frozenset({"m-1"}),
    grid_nodes=frozenset({"node-1"}),
    links=frozenset({("bus-1", "bus-2")}),
    position=(11.0, 18.5),
)
Held = dict[str, HeldEvent]


class Listener:
    """A VEN's event desk over time: what it holds, what it answered, what the site was asked."""

    def __init__(self, opt: OptType = OptType.OPT_IN, draw: Callable[[], float] = lambda: 0.5) -> None:
        self.held: Held = {}
        self.opt = opt
        self.draw = draw
        self.decided: list[int] = []

    def decide(self, event: Event, now: datetime) -> OptType:
        self.decided.append(event.modification_number)
        return self.opt

    def hear(
        self, message: DistributeEvent, now: datetime = NOW, *, complete: bool = True
    ) -> CreatedEvent | None:
        desk = Desk(SCOPE, self.decide, self.draw, now)
        taken = take(self.held, message, desk, complete=complete)
        self.held = taken.held
        return taken.answer

    def told(self, *events: Event, now: datetime = NOW) -> EventResponse:
        """The answer to the last of the events."""
        answer = self.hear(distribute(*events), now)
        assert answer is not None
        return answer.event_responses[-1]

    @property
    def timeline(self) -> Timeline:
        return Timeline.from_events(followed(self.held.values()))
