"""What the contract lacks of an event, and what is to be called next: plain functions of what is kept and
what the chain shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from ledger.agreement import Revision, Settled, Standing, Status, Suspender, Terms
from ledger.agreement_contract import (
    book_call,
    booking_hash,
    call,
    change_hash,
    propose_call,
    revise_call,
)
from ledger.agreement_store import Account
from ledger.call_store import Order

LOOK_AGAIN_S = 3600
"""When what needs a person is tried again by itself."""
DISPUTE_LOOK_S = 600
WINDOW_LOOK_S = 60
"""When the end of a window is looked at again if the chain's clock is behind ours."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A call that would bring the contract to what is wanted; the name is the same after a restart."""

    name: str
    agreement_id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Next:
    """What follows for one event: a call, or a time to look again (None: nothing is left), and what a person
    should know.
    """

    goal: Goal | None
    look_at: int | None
    text: str = ""


def propose(agreement_id: bytes, terms: Terms) -> Goal:
    """The call that offers an agreement."""
    return Goal(f"propose {agreement_id.hex()}", agreement_id, propose_call(agreement_id, terms))


def next_for(account: Account, settled: Settled | None, terms: Terms, now: int) -> Next:
    """What follows for an event of which the contract holds `settled`."""
    if settled is None:
        return Next(_call("book", account, book_call(*_ids(account), account.booking)), None)
    if said := _contradiction(account, settled):
        return Next(None, now + LOOK_AGAIN_S, said)
    if settled.revision == len(account.revisions):
        return _payment(account, settled, now, "")
    revision = account.revisions[settled.revision]
    closes_at = settled.booked_at + terms.dispute_window_s
    if settled.status is Status.OPEN and now < closes_at:
        data = revise_call(*_ids(account), revision)
        return Next(_call(f"revise-{revision.number}", account, data), None)
    return _payment(account, settled, now, _too_late(account, settled, revision, closes_at))


def _payment(account: Account, settled: Settled, now: int, said: str) -> Next:
    """What follows once the contract holds the newest revision that it takes."""
    if settled.status is Status.PAID:
        return Next(None, None, said)
    if now < settled.final_at:
        disputed = settled.status is Status.DISPUTED  # the arbiter may decide at any time
        return Next(None, min(now + DISPUTE_LOOK_S, settled.final_at) if disputed else settled.final_at, said)
    return Next(_call("pay", account, call("pay", *_ids(account))), None, said)


def _call(kind: str, account: Account, data: bytes) -> Goal:
    name = f"{kind} {account.agreement_id.hex()} {account.event_key.hex()}"
    return Goal(name, account.agreement_id, data)


def _ids(account: Account) -> tuple[bytes, bytes]:
    return account.agreement_id, account.event_key


def order_goal(order: Order) -> Goal:
    """The call that an order of the operator asks for."""
    ids = [order.agreement_id] + ([order.event_key] if order.event_key else [])
    arguments: list[object] = [*ids]
    if order.kind == "suspend":
        arguments.append(int(order.argument))
    elif order.kind == "dispute":
        arguments.append(bytes.fromhex(order.argument))
    return Goal(order_name(order), order.agreement_id, call(order.kind, *arguments))


def order_name(order: Order) -> str:
    """The name of the goal of an order."""
    return f"{order.kind} {order.agreement_id.hex()} {order.order_id}"


def is_carried_out(order: Order, standing: Standing, settled: Settled | None) -> bool:
    """Whether the contract shows what an order asked for."""
    match order.kind:
        case "suspend":
            return standing.suspender is not Suspender.NOBODY
        case "lift":
            return standing.suspender is Suspender.NOBODY
        case "close":
            return bool(standing.closes_at)
        case _:
            return settled is not None and settled.status in (Status.DISPUTED, Status.RESOLVED)


def _contradiction(account: Account, settled: Settled) -> str:
    """What the contract holds that this database never said; empty if nothing."""
    key = account.event_key.hex()
    ours = booking_hash(account.booking)
    if settled.booking_hash != ours:
        return f"event {key}: the contract holds the booking {settled.booking_hash.hex()}, not {ours.hex()}"
    if settled.revision > len(account.revisions):
        return (
            f"event {key}: the contract holds revision {settled.revision}, this database has"
            f" {len(account.revisions)}"
        )
    change = change_hash(account.revisions[settled.revision - 1])
    if settled.revision > 1 and settled.change_hash != change:
        return f"event {key}: the contract holds the change {settled.change_hash.hex()}, not {change.hex()}"
    return ""


def _too_late(account: Account, settled: Settled, revision: Revision, closes_at: int) -> str:
    """What the contract will never hear of; empty where it says the same already, as after a waiver."""
    newest = account.revisions[-1]
    if (newest.outcome, newest.delivered_wh) == (settled.outcome, settled.delivered_wh):
        return ""
    closed = datetime.fromtimestamp(closes_at, UTC).isoformat()
    why = f"the window closed at {closed}"
    if settled.status in (Status.DISPUTED, Status.RESOLVED):
        why = f"the settlement is {settled.status.name.lower()}"
    return (
        f"event {account.event_id}: revision {revision.number} of the statement ({revision.delivered_wh} Wh)"
        f" is not in the contract, which keeps {settled.delivered_wh} Wh: {why}"
    )
