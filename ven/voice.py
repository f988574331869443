"""What a site says by itself: whether it takes part in an event, or when it takes part at all.

Called from the VEN's own thread. What is said is on the disk, and the site follows it, when the call is back;
it is sent before the next poll, and repeated until the VTN has answered: also after an outage, a restart or
a new registration.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from openadr import ActivePeriod, CreateOpt
from openadr.enums import OptReason, OptType
from ven import opt
from ven.session import Session


@dataclass(frozen=True, slots=True)
class Voice:
    """The site's own words in a session. `clock` gives aware UTC, `said` makes them last and hold.

    Every method raises StateError where the state cannot be written.
    """

    session: Session
    new_id: Callable[[], str]
    clock: Callable[[], datetime]
    said: Callable[[], None]

    def change(self, event_id: str, opt_type: OptType) -> None:
        """A change of mind about an event (VEX-26); KeyError where it is not held.

        What was said by `qualify` can only be changed so (OPT-13).
        """
        if opt.qualified(self.session.saved.opts, event_id) is not None:
            self.qualify(event_id, opt_type)
            return
        self.session.change_opt(event_id, opt_type)
        self.said()

    def qualify(self, event_id: str, opt_type: OptType, resources: Sequence[str] = ()) -> None:
        """Says for some resources (none: all) whether they take part in an event, whatever becomes of it.

        KeyError where the event is not held, ValueError where it wants no response or too much waits.
        """
        known = self.session.saved.events[event_id]
        ids = (self.new_id(), self.new_id())
        registration = self.session.saved.registration
        # between two registrations the event is still held; the next venID takes the place of none
        ven_id = registration.ven_id if registration else ""
        self._say(opt.qualify(known, ven_id, ids, self.clock(), resources, opt_type=opt_type))
        if not resources:
            events = {**self.session.saved.events, event_id: replace(known, opt_type=opt_type)}
            self.session.saved = replace(self.session.saved, events=events)
        self.said()

    def declare(
        self,
        opt_type: OptType,
        periods: Sequence[ActivePeriod],
        *,
        reason: str = OptReason.SCHEDULE,
        resources: Sequence[str] = (),
        market_context: str | None = None,
        device_classes: Sequence[str] = (),
        opt_id: str | None = None,
    ) -> str:
        """Says when the VEN, or the part of it that is named, takes part; gives the id to withdraw it by.

        Several schedules may share an `opt_id`. It takes the place of earlier ones of its kind for that part.
        """
        if any(each.opt_id == opt_id and each.event_id is not None for each in self.session.saved.opts):
            raise ValueError(f"the optID {opt_id} qualifies an event")
        message = opt.schedule(
            opt_type,
            reason,
            periods,
            ven_id=self._ven_id(),
            ids=(opt_id or self.new_id(), self.new_id()),
            now=self.clock(),
            resources=resources,
            market_context=market_context,
            device_classes=device_classes,
        )
        self._say(message)
        self.said()
        return message.opt_id

    def withdraw(self, opt_id: str) -> None:
        """Takes back every schedule of this id; ValueError where there is none, or it qualifies an event."""
        mine = [each for each in self.session.saved.opts if each.opt_id == opt_id]
        if not mine:
            raise ValueError(f"no schedule has the optID {opt_id}")
        if any(each.event_id is not None for each in mine):
            raise ValueError(f"the optID {opt_id} qualifies an event: that is not taken back (OPT-14)")
        self.session.send(opt.cancel(opt_id, self._ven_id(), self.new_id()))
        left = tuple(each for each in self.session.saved.opts if each.opt_id != opt_id)
        self.session.saved = replace(self.session.saved, opts=left)
        self.said()

    def leave(self) -> None:
        """Ends the registration; the VEN registers again after `register_after_cancel_s`, or never (REG-18).

        The wish lasts until the VTN has answered it. ValueError where there is no registration.
        """
        self._ven_id()
        self.session.leave()
        self.said()

    def _say(self, message: CreateOpt) -> None:
        before = self.session.saved.answers
        self.session.send(message)
        saved = self.session.saved
        # what was outdated before it went out was never said
        unsaid = frozenset(before) - frozenset(saved.answers)
        opts = (each for each in opt.kept(saved.opts, saved.events, self.clock()) if each not in unsaid)
        self.session.saved = replace(saved, opts=(*opts, message))

    def _ven_id(self) -> str:
        known = self.session.saved.registration
        if known is None:
            raise ValueError("the VEN is not registered")
        return known.ven_id
