"""Agreements between an aggregator and its nodes as the contract `DRAgreement` holds them: terms, standing,
bookings and settlements as values.

Times are whole seconds since 1970, energy is Wh, power W, money whole minor units. Ids, event keys and hashes
are 32 bytes, accounts 20. Nothing here speaks to a chain.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

SALT_BYTES = 32
NO_HASH = bytes(32)


class State(IntEnum):
    """Where an agreement stands; by time alone it passes into SUSPENDED (a due payment is missing) and
    EXPIRED.
    """

    NONE = 0
    PROPOSED = 1
    ACTIVE = 2
    SUSPENDED = 3
    EXPIRED = 4
    CLOSED = 5


class Outcome(IntEnum):
    """Which rule decided a statement; MEASURED and LATE_OPT_OUT earn and owe, the others do neither."""

    MEASURED = 0
    LATE_OPT_OUT = 1
    TEST = 2
    NOT_DELIVERED = 3
    OPTED_OUT = 4
    UNMEASURED = 5


class Status(IntEnum):
    """Where a settlement stands: open ones can be revised and disputed inside the window, disputed ones
    resolved inside the window that the dispute has opened.
    """

    NONE = 0
    OPEN = 1
    DISPUTED = 2
    RESOLVED = 3
    PAID = 4


class Suspender(IntEnum):
    """Who has suspended an agreement by hand."""

    NOBODY = 0
    AGGREGATOR = 1
    ARBITER = 2


@dataclass(frozen=True, slots=True)
class Terms:
    """What two parties agree on, in the contract's order; prices are millionths of a minor unit for a kWh."""

    aggregator: bytes
    starts_at: int
    expires_at: int
    node: bytes
    capacity_w: int
    notice_s: int
    threshold_ppm: int
    arbiter: bytes
    payment_term_s: int
    dispute_window_s: int
    utc_offset_s: int
    price_micro: int
    penalty_micro: int
    max_calls_per_day: int

    def day_of(self, at: int) -> int:
        """The local day on which a call that starts then counts, in days since 1970."""
        return (at + self.utc_offset_s) // 86_400


@dataclass(frozen=True, slots=True)
class Standing:
    """An agreement as a block shows it; 0 stands for a time that is not set.

    `earliest_due_at` is when the next payment is due: from then on it is missing.
    """

    terms: Terms
    accepted_at: int
    closes_at: int
    debt: int
    withdrawable: int
    suspender: Suspender
    parties_active: bool
    earliest_due_at: int

    def state_at(self, now: int) -> State:
        """Where the agreement stands at an instant, if nothing else happens until then."""
        if self.closes_at and now >= self.closes_at:
            return State.CLOSED
        if now >= self.terms.expires_at:
            return State.EXPIRED
        if not self.accepted_at:
            return State.PROPOSED
        return State.SUSPENDED if self.why_suspended(now) else State.ACTIVE

    def why_suspended(self, now: int) -> str:
        """What suspends the agreement at an instant, in words; empty if nothing does."""
        if self.suspender is not Suspender.NOBODY:
            return f"suspended by the {self.suspender.name.lower()}"
        if not self.parties_active:
            return "the registry has suspended a party, or its certificate is revoked"
        if self.earliest_due_at and now >= self.earliest_due_at:
            since = datetime.fromtimestamp(self.earliest_due_at, UTC).isoformat().replace("+00:00", "Z")
            return f"a payment is missing since {since}"
        return ""

    def covers(self, starts_at: int) -> bool:
        """Whether a call that starts then falls under this agreement."""
        from_ = max(self.accepted_at, self.terms.starts_at)
        until = min(self.terms.expires_at, self.closes_at or self.terms.expires_at)
        return bool(self.accepted_at) and from_ <= starts_at < until


@dataclass(frozen=True, slots=True)
class Booking:
    """What is booked of one event, in the contract's order; a hash of zeros stands for none."""

    signal_hash: bytes
    response_hash: bytes
    measurement_hash: bytes
    notified_at: int
    starts_at: int
    duration_s: int
    requested_wh: int
    delivered_wh: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Revision:
    """What one revision of a statement says; number 1 is the booking itself."""

    number: int
    outcome: Outcome
    delivered_wh: int
    measurement_hash: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """One event's money as a block shows it. `final_at`: from when on it can be paid, a dispute if nobody
    decides it; `due_at`: until when it must be, 0 if nothing is to be paid. `penalty_waived`: it owes nothing
    because the agreement was suspended or in arrears between the notification and the start.
    """

    booking_hash: bytes
    change_hash: bytes
    booked_at: int
    changed_at: int
    requested_wh: int
    delivered_wh: int
    revision: int
    outcome: Outcome
    status: Status
    incentive_minor: int
    penalty_minor: int
    final_at: int
    due_at: int
    penalty_waived: bool = False

    @property
    def amount_minor(self) -> int:
        """What the node receives; negative if it owes."""
        return self.incentive_minor - self.penalty_minor


def new_salt() -> bytes:
    """Fresh salt for one id or key."""
    return secrets.token_bytes(SALT_BYTES)


def salted_id(salt: bytes, *names: str) -> bytes:
    """The id of an agreement, or the key of an event: a hash that says nothing to who lacks the salt."""
    named = json.dumps(names, ensure_ascii=True, separators=(",", ":")).encode()
    return hashlib.sha256(b"\x02" + salt + named).digest()


def salted_digest(text: str) -> tuple[bytes, bytes]:
    """Fresh salt, and the SHA-256 of salt and text: a short text alone could be guessed from its hash."""
    salt = new_salt()
    return salt, hashlib.sha256(salt + text.encode()).digest()


def to_json(value: Terms | Standing | Booking | Revision | Settled) -> str:
    """A value as canonical JSON, bytes as hexadecimal digits."""
    return json.dumps(asdict(value), sort_keys=True, default=bytes.hex)


def terms_from(fields: Mapping[str, Any]) -> Terms:
    """The terms behind `to_json`."""
    return Terms(**{**fields, **_raw(fields, "aggregator", "node", "arbiter")})


def standing_from(fields: Mapping[str, Any]) -> Standing:
    """The standing behind `to_json`."""
    changed = {"terms": terms_from(fields["terms"]), "suspender": Suspender(fields["suspender"])}
    return Standing(**{**fields, **changed})


def booking_from(fields: Mapping[str, Any]) -> Booking:
    """The booking behind `to_json`."""
    hashes = _raw(fields, "signal_hash", "response_hash", "measurement_hash")
    return Booking(**{**fields, **hashes, "outcome": Outcome(fields["outcome"])})


def revision_from(fields: Mapping[str, Any]) -> Revision:
    """The revision behind `to_json`."""
    return Revision(**{**fields, **_raw(fields, "measurement_hash"), "outcome": Outcome(fields["outcome"])})


def settled_from(fields: Mapping[str, Any]) -> Settled:
    """The settlement behind `to_json`."""
    changed = {"outcome": Outcome(fields["outcome"]), "status": Status(fields["status"])}
    return Settled(**{**fields, **_raw(fields, "booking_hash", "change_hash"), **changed})


def _raw(fields: Mapping[str, Any], *names: str) -> dict[str, bytes]:
    return {name: bytes.fromhex(fields[name]) for name in names}
