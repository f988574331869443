"""Sentences of events for the catalogue: the clauses that stand against a call, the budget and its breaker,
what sending, changing, approving and taking back are refused with, why there is no
baseline. What stands between brackets is a value.
"""

from __future__ import annotations

from aggregator.dashboard.marked import marked as _

OF_CLAUSES = (
    _("%(asked_w)s asked, %(agreed_w)s agreed"),
    _("starts in %(left)s min, %(agreed)s min of notice agreed"),
    _("%(calls)s calls on that day at UTC%(offset)s h, %(agreed)s agreed"),
    _("%(calls)s calls on %(day)s, %(agreed)s agreed"),
    _("is called already: %(period)s"),
    _("has opted out from %(since)s on"),
    _("offers nothing for the whole period"),
    _("offers whole quarter hours, and it holds none"),
    _("was taken out of this event before, which cannot be undone"),
    _("has no agreement on the chain, and one is required"),
    _("is suspended (%(why)s), active is agreed"),
    _("is %(state)s, active is agreed"),
    _("starts at %(start)s, agreed from %(agreed)s"),
    _("ends at %(end)s, agreed until %(agreed)s"),
    _("starts at %(start)s, the agreement is closed from %(closed)s on"),
    _("proposed"),
    _("expired"),
    _("closed"),
    _("suspended by the aggregator"),
    _("suspended by the arbiter"),
    _("the registry has suspended a party, or its certificate is revoked"),
    _("a payment is missing since %(since)s"),
)
OF_BUDGET = (
    _("the breaker is open since %(since)s: %(reason)s"),
    _("%(reason)s. The breaker is open now: an admin closes it."),
    _("limits that were set cannot be read (%(names)s): an admin saves them anew"),
    _("%(wanted_kw)s at once, the budget is %(allowed_kw)s"),
    _("%(wanted_kw)s within a minute, the budget is %(allowed_kw)s"),
    _("%(wanted)s events on that day, the budget is %(allowed)s"),
)
OF_REFUSALS = (
    _("no node can give anything; %(reasons)s"),
    _("no node can give anything"),
    _("start: %(start)s has passed, it is %(now)s"),
    _("test_event: a test stays a test, and an event that is paid stays one"),
    _("idempotency_key: keys that begin with %(prefix)s are those of approvals"),
    _("start and end need a time zone, such as a Z at the end"),
    _("it must end after it starts: %(start)s to %(end)s"),
    _("it lasts %(length)s, at most %(most)s can be asked for"),
    _("%(name)s: %(instant)s is no whole second"),
    _("it ended at %(end)s"),
    _("there is no event %(event)s"),
    _("there is no request %(request)s"),
    _("there is no node %(node)s"),
    _("there is no proposal %(proposal)s"),
    _("there is no template %(template)s"),
    _("%(event)s was taken back"),
    _("%(event)s began at %(start)s: it can be taken back, not changed"),
    _("it has been decided already"),
    _("who proposed an event does not approve it: another person does"),
    _("it has expired at %(end)s: propose it again"),
    _("it would not be the event that was proposed any more: propose it again"),
    _("the event has changed since this was proposed: propose it again"),
    _("it is so large that two people decide: make it as a request"),
    _("an event without an end cannot be settled"),
    _("nothing is agreed with this node"),
    _("there are %(most)s templates: delete one that nobody needs"),
    _("somebody else has changed it: it is at version %(version)s, and you have seen %(seen)s"),
    _("name: another template is called %(name)s"),
    _("The request cannot be carried out as asked."),
    _("This idempotency key was used for a different request before; use a new key."),
    _("What would be sent now is not what was previewed; look at the new preview."),
    _("The event has changed since you looked at it: look again."),
    _("Two people decide about events of this size: propose it, and another person approves it."),
    _("It cannot be approved."),
    _("event %(event)s is over but for its random start"),
    _("event %(event)s is over"),
    _("event %(event)s would be over before it is published"),
    _("the start of an event that has started is in the past"),
    _("the new start %(start)s is in the past"),
    _("the new end %(end)s is past: cancel the event"),
    _("a value of an interval that has begun would change in the past"),
    _("VEN %(ven)s is opted out at %(at)s"),
    _("VEN %(ven)s is registered for reports only"),
)
OF_BASELINES = (
    _("the event %(period)s holds no whole quarter hour"),
    _("%(count)s complete like days before %(start)s, needed %(needed)s"),
)
OF_EVENTS = (*OF_CLAUSES, *OF_BUDGET, *OF_REFUSALS, *OF_BASELINES)
NESTED = frozenset({"reason", "reasons", "why", "state"})
"""Values that are sentences themselves, or several, with semicolons between them."""
