"""What the platform knows about itself, as JSON: status, summary, nodes, events, forecasts, statements.

Read only. Power in kW, energy in kWh, money in minor units or as text in units of the currency, times as
ISO text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import share, store
from aggregator.curve import PORTFOLIO, CurveMaker, Curves, numbers, portfolio_load, times
from aggregator.dispatch import energy_wh
from aggregator.errors import UnknownObjectError
from aggregator.forecast import weekly_naive
from aggregator.portfolio import Portfolio
from aggregator.profile import QUARTER, LoadProfile, Period
from aggregator.readings import LOAD, LOAD_FORECAST, OFFER, metered
from aggregator.tally import Tally
from aggregator.totals import totals as all_totals
from ledger import store as ledger_store
from vtn import event as vtn_event
from vtn import registration
from vtn.schema import ven_table

WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Overview:
    """Answers questions from one consistent view of the database."""

    portfolio: Portfolio
    maker: CurveMaker
    tally: Tally

    async def status(
        self, conn: AsyncConnection, contacts: Mapping[str, datetime], now: datetime
    ) -> dict[str, Any]:
        """How things stand at ``now``: nodes, newest event, the day's curves, counts."""
        await self.tally.advance(conn)
        calendar = self.portfolio.calendar
        vens = await registration.vens(conn)
        day = calendar.day(calendar.day_of(now))
        history = {ven.ven_id: self.tally.history_days(ven.ven_id) for ven in vens}
        curves = await self.maker.curves(conn, [ven.ven_id for ven in vens], day, history)
        newest = await store.newest_request(conn)
        event = None if newest is None else await self.event(conn, newest.event_id, now)
        parts = {part["ven_id"]: part for part in event["nodes"]} if event else {}
        offers = await store.newest_series(conn, OFFER, now)
        rows = [
            {
                **_node_row(ven, curves, offers, parts.get(ven.ven_id, {}), now=now),
                "last_contact": _text(contacts.get(ven.ven_id, ven.last_contact)),
                "history_days": history[ven.ven_id],
            }
            for ven in vens
        ]
        return {
            "now": now.isoformat(),
            "nodes": rows,
            "event": event,
            "portfolio": described(curves),
            "counts": await self.counts(conn),
            "incentive_total": await incentive_total(conn),
        }

    async def counts(self, conn: AsyncConnection) -> dict[str, int]:
        """Everything that is counted; ``delivered`` and ``opted_in`` count nodes, ``reports`` leave history
        out.
        """
        await self.tally.advance(conn)
        registered = select(func.count()).where(ven_table.c.registration_id.is_not(None))
        totals = await all_totals(conn)
        return {
            "vens": int((await conn.execute(registered)).scalar_one()),
            "events": totals.events,
            "delivered": totals.delivered,
            "opted_in": totals.opted_in,
            "reports": self.tally.reports,
            "readings": self.tally.readings,
            "history_reports": self.tally.history_reports,
            "history_days": self.tally.all_history_days(),
            "statements": totals.statements,
            "leaves": await ledger_store.log_size(conn),
            "checkpoints": await ledger_store.checkpoint_count(conn),
            "anchored": await ledger_store.anchored_size(conn),
        }

    async def summary(self, conn: AsyncConnection) -> dict[str, Any]:
        """The counts, and what all settled events asked for and got by their newest statements."""
        totals = await all_totals(conn)
        return {
            **await self.counts(conn),
            "requested_kwh": totals.requested_wh / 1000,
            "delivered_kwh": totals.delivered_wh / 1000,
            "incentive_total": await incentive_total(conn),
        }

    async def event(self, conn: AsyncConnection, event_id: str, now: datetime) -> dict[str, Any]:
        """One event with the part of each node; UnknownObjectError if there is none of that name."""
        calls = await store.calls(conn, event_id=event_id)
        if not calls:
            raise UnknownObjectError(f"there is no event {event_id}")
        request = await store.find_request(conn, event_id=event_id)
        ended = (None, request.cancelled_at if request else None)  # who was taken out before is not in it
        calls = [call for call in calls if call.cancelled_at in ended] or calls
        period = calls[0].period
        names = {ven.ven_id: ven.ven_name for ven in await registration.vens(conn)}
        states = {state.ven_id: state for state in await vtn_event.event_states(conn, event_id)}
        statements = store.newest(await store.statements(conn, event_id=event_id))
        delivered_wh = {stored.statement.ven_id: stored.statement.delivered_wh for stored in statements}
        return {
            "event_id": event_id,
            "start": period.start.isoformat(),
            "end": period.end.isoformat(),
            "power_kw": sum(call.power_w for call in calls) / 1000,
            "requested_kwh": sum(energy_wh(call.power_w, period) for call in calls) / 1000,
            "delivered_kwh": sum(delivered_wh.values()) / 1000 if delivered_wh else None,
            "status": _event_status(calls[0], now),
            "nodes": [
                {
                    "ven_id": call.ven_id,
                    "ven_name": names[call.ven_id],
                    "power_kw": call.power_w / 1000,
                    "delivered_at": _text(states[call.ven_id].delivered_at),
                    "opt": states[call.ven_id].opt,
                    "responded_at": _text(states[call.ven_id].responded_at),
                    "status": _event_status(call, now),
                    "delivered_kwh": delivered_wh[call.ven_id] / 1000
                    if call.ven_id in delivered_wh
                    else None,
                }
                for call in calls
            ],
        }

    async def statements(self, conn: AsyncConnection, event_id: str | None = None) -> list[dict[str, Any]]:
        """Every revision, oldest first: the ledger record's fields, and how they came about."""
        names = {ven.ven_id: ven.ven_name for ven in await registration.vens(conn)}
        found = await store.statements(conn, event_id=event_id)
        return [
            {
                **stored.statement.body(),
                "ven_name": names[stored.statement.ven_id],
                "made_at": stored.made_at.isoformat(),
                "detail": share.shown(stored.detail),
            }
            for stored in found
        ]

    async def forecasts(self, conn: AsyncConnection, day: date) -> dict[str, Any]:
        """What was forecast for a local day before it began, beside weekly naive and what was metered since.

        A node's forecast is the last one issued by midnight, or its first one of the day where it had none
        yet.
        """
        calendar = self.portfolio.calendar
        period = calendar.day(day)
        nodes = await self.portfolio.nodes(conn)
        ven_ids = [node.ven_id for node in nodes]
        past = Period(period.start - WEEK - timedelta(days=1), period.end)
        found = await metered(conn, ven_ids, [LOAD], past)
        series = {name: await _issued(conn, name, period) for name in (LOAD_FORECAST, OFFER)}
        earlier = await store.newest_series(conn, OFFER, period.start - WEEK)
        rows = []
        for node in nodes:
            load = found.profile(node.ven_id, LOAD, past)
            naive = (
                earlier[node.ven_id][1].window(_shifted(period))
                if node.ven_id in earlier
                else _unknown(period)
            )
            rows.append(
                {
                    "ven_id": node.ven_id,
                    "ven_name": node.ven_name,
                    "issued_at": _text(series[LOAD_FORECAST].get(node.ven_id, (None,))[0]),
                    "load_forecast_kw": _part(series[LOAD_FORECAST], node.ven_id, period),
                    "offer_kw": _part(series[OFFER], node.ven_id, period),
                    "load_naive_kw": numbers(weekly_naive(load, day, calendar)),
                    "offer_naive_kw": numbers(naive),
                    "metered_kw": numbers(load.window(period)),
                }
            )
        load = await portfolio_load(conn, ven_ids, past)
        made = await store.newest_series(conn, LOAD_FORECAST, period.start)
        own = {PORTFOLIO: made[PORTFOLIO]} if PORTFOLIO in made and made[PORTFOLIO][0] == period.start else {}
        return {
            "day": day.isoformat(),
            "times": times(period),
            "nodes": rows,
            "portfolio": {
                "issued_at": period.start.isoformat() if own else None,
                "forecast_kw": _part(own, PORTFOLIO, period),
                "naive_kw": numbers(weekly_naive(load, day, calendar)),
                "metered_kw": numbers(load.window(period)),
            },
        }


def described(curves: Curves) -> dict[str, Any]:
    """The portfolio's curves as JSON."""
    return {
        "times": times(curves.period),
        "metered_kw": numbers(curves.metered_total),
        "baseline_kw": numbers(curves.baseline_total),
        "forecast_kw": numbers(curves.forecast_total),
    }


async def incentive_total(conn: AsyncConnection) -> str:
    """All incentives by the newest statements, in units of the currency with two decimals."""
    totals = await all_totals(conn)
    return str(Decimal(totals.incentive_minor).scaleb(-2).quantize(Decimal("0.01")))


async def _issued(
    conn: AsyncConnection, r_id: str, period: Period
) -> dict[str, tuple[datetime, LoadProfile]]:
    late = await store.first_series(conn, r_id, period.start)
    in_time = await store.newest_series(conn, r_id, period.start)
    useful = {ven_id: found for ven_id, found in in_time.items() if found[1].end > period.start}
    return {**{ven_id: found for ven_id, found in late.items() if found[0] < period.end}, **useful}


def _part(
    series: Mapping[str, tuple[datetime, LoadProfile]], ven_id: str, period: Period
) -> list[float | None]:
    return numbers(series[ven_id][1].window(period) if ven_id in series else _unknown(period))


def _shifted(period: Period) -> Period:
    return Period(period.start - WEEK, period.end - WEEK)


def _unknown(period: Period) -> LoadProfile:
    return LoadProfile(period.start, QUARTER, tuple(math.nan for _ in period.slots()))


def _event_status(call: store.StoredCall, now: datetime) -> str:
    if call.cancelled_at is not None:
        return "cancelled"
    if now >= call.period.end:
        return "completed"
    return "active" if now >= call.period.start else "far"


def _node_row(
    ven: registration.Ven,
    curves: Curves,
    offers: Mapping[str, tuple[datetime, LoadProfile]],
    part: Mapping[str, Any],
    *,
    now: datetime,
) -> dict[str, Any]:
    last, load_kw = _last_known(curves.metered.get(ven.ven_id))
    usual = curves.baseline.get(ven.ven_id)
    offer = offers.get(ven.ven_id)
    return {
        "ven_name": ven.ven_name,
        "ven_id": ven.ven_id,
        "registered": ven.registration_id is not None,
        "load_kw": load_kw,
        "baseline_kw": None if usual is None else _number(usual.at(last or now)),
        "offer_kw": None if offer is None else _number(offer[1].at(now)),
        "target_kw": part.get("power_kw"),
        "opt": part.get("opt"),
        "event_status": part.get("status"),
    }


def _last_known(profile: LoadProfile | None) -> tuple[datetime | None, float | None]:
    kw: Sequence[float] = () if profile is None else profile.kw
    for index in range(len(kw) - 1, -1, -1):
        if profile is not None and not math.isnan(kw[index]):
            return profile.start + index * profile.step, _number(kw[index])
    return None, None


def _number(kw: float) -> float | None:
    return None if math.isnan(kw) else round(kw, 3)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
