"""The state that an event's plan is made from, taken at one instant before the event.

What is usual is learned from registers that were complete an hour before, so that it does not matter how fast
the meters answer.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from feid.control import could_give_kw, grid_floor
from feid.devices import Device, DeviceKind, DeviceState, Driver, DriverError, DriverUnreachableError
from feid.metering import quarter_floor
from feid.site import QUARTER, SiteState, UsualBattery, UsualHome
from feid.store import Register, Store
from openadr import Event

FREEZE_BEFORE = timedelta(minutes=15)
_USUAL_DAYS = 21
_FADE_PER_DAY = 0.93
_OTHER_KIND = 0.25  # weight of a working day for a weekend, and the other way round
_LONGEST = timedelta(hours=24)


def freeze_at(event: Event) -> datetime:
    """The five-minute mark at which the state for this event is taken."""
    return grid_floor(event.dtstart) - FREEZE_BEFORE


async def frozen_state(event: Event, driver: Driver, store: Store, devices: Sequence[Device]) -> SiteState:
    """The node's state at the event's freezing mark, with what is usual in its quarter hours; DriverError."""
    at = freeze_at(event)
    end = min(event.end or at + _LONGEST, at + _LONGEST)
    quarters = -(-(end - at) // QUARTER)
    return SiteState(
        at=at,
        devices=tuple(devices),
        states=tuple(await driver.states(at)),
        homes=_usual_homes(store, at, quarters),
        yesterday=await _yesterday(driver, devices, at, quarters),
    )


def _usual_homes(store: Store, at: datetime, quarters: int) -> tuple[UsualHome, ...]:
    """Each home's load and flexibility at these hours: the mean of days past, recent and like days first."""
    begin = quarter_floor(at)
    known_until = begin - timedelta(hours=1)
    by_home: dict[str, dict[datetime, Register]] = {}
    for age in range(1, _USUAL_DAYS + 1):
        first = begin - timedelta(days=age) - QUARTER
        for register in store.registers(first, min(known_until, first + QUARTER * (quarters + 2))):
            by_home.setdefault(register.home_id, {})[register.start] = register
    starts = [begin + QUARTER * n for n in range(quarters)]
    return tuple(
        UsualHome(
            home,
            tuple(_usual_kw(known, start, "energy_wh") for start in starts),
            tuple(_usual_kw(known, start, "flexible_wh") for start in starts),
        )
        for home, known in sorted(by_home.items())
    )


def _usual_kw(known: dict[datetime, Register], start: datetime, name: str) -> float:
    total = weights = 0.0
    for age in range(1, _USUAL_DAYS + 1):
        day = start - timedelta(days=age)
        alike = (day.weekday() >= 5) == (start.weekday() >= 5)
        for shift, near in ((-1, 0.5), (0, 1.0), (1, 0.5)):
            register = known.get(day + QUARTER * shift)
            if register is not None:
                weight = near * _FADE_PER_DAY**age * (1.0 if alike else _OTHER_KIND)
                total += weight * getattr(register, name) / 250.0
                weights += weight
    return round(total / weights, 4) if weights else 0.0


async def _yesterday(
    driver: Driver, devices: Sequence[Device], at: datetime, quarters: int
) -> tuple[UsualBattery, ...]:
    """What batteries did at these hours a day ago; what is not kept any more counts as nothing."""
    ids = [d.device_id for d in devices if d.kind is DeviceKind.BATTERY]
    past: list[dict[str, DeviceState]] = []
    for n in range(quarters):
        mark = grid_floor(at) + QUARTER * n + timedelta(minutes=10) - timedelta(days=1)
        try:
            past.append({s.device_id: s for s in await driver.states(mark)})
        except DriverUnreachableError:
            raise
        except DriverError:
            past.append({})
    return tuple(
        UsualBattery(
            device_id,
            tuple(round(s[device_id].power_kw, 4) if device_id in s else 0.0 for s in past),
            tuple(round(could_give_kw(s[device_id]), 4) if device_id in s else 0.0 for s in past),
        )
        for device_id in ids
    )
