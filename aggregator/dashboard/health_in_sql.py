"""How nodes are doing, worked out by the database: what `health.health` says, for many nodes at once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, case, func, literal, null, or_, type_coerce

from aggregator.dashboard.health import LATE_POLLS, SILENT_POLLS, Health
from vtn.schema import micros, ven_table


def health_in_sql(contact: ColumnElement[Any], poll_period_s: int, now: datetime) -> ColumnElement[str]:
    """The state of each row of the VENs' table; `contact` in microseconds since 1970, as is kept."""
    t = ven_table.c
    period = func.coalesce(func.nullif(t.poll_period_s, 0), poll_period_s) * 1_000_000
    passed = literal(micros(now), BigInteger) - type_coerce(contact, BigInteger)
    return case(
        (t.suspended_at.is_not(None), literal(str(Health.SUSPENDED))),
        (t.registration_id.is_(None), literal(str(Health.WAITING))),
        (or_(contact.is_(null()), passed > SILENT_POLLS * period), literal(str(Health.SILENT))),
        (passed > LATE_POLLS * period, literal(str(Health.LATE))),
        else_=literal(str(Health.OK)),
    )
