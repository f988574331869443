"""What the operator, the grid and the node's metadata make of a home's word, and of his way back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aggregator import budget, override_book, request, sent_event
from aggregator.clearance import MACHINE_OWNER, Rules
from aggregator.dispatch import ReductionRequest
from aggregator.errors import Obstacle, OverrideError
from aggregator.limit_settings import LimitSettings
from aggregator.profile import Period
from aggregator.request import Asked, Change
from openadr import Target
from tests.aggregator.box import REPORTS
from tests.aggregator.conftest import START, Platform
from tests.aggregator.test_override import DAY, HOMES, Prosumer, called, db_of, second_day, told


async def lowered(me: Prosumer) -> int:
    """By how much less his node is asked for what homes have said."""
    async with db_of(me.platform).read() as conn:
        standing = await override_book.standing(conn, me.event_id, me.ven_id)
    return sum(one.lowered_w for one in standing[me.ven_id])


async def test_a_home_comes_back_twice_and_then_stays_out(platform: Platform) -> None:
    me = await called(platform)
    for _ in range(2):
        await me.stays_out()
        await me.comes_back()
    await me.stays_out()
    with pytest.raises(OverrideError) as refused:
        await me.comes_back()
    assert refused.value.obstacle is Obstacle.OFTEN
    assert (await me.part()).out_since is not None
    assert len(await me.words()) == 5
    other = Prosumer(platform, me.event_id, HOMES[1])
    await other.stays_out()
    await other.comes_back()


async def test_who_comes_back_asks_no_more_of_the_grid_than_is_allowed_then(platform: Platform) -> None:
    me = await second_day(platform)
    assert platform.aggregator is not None
    portfolio, db = platform.aggregator._portfolio, db_of(platform)

    async def comes_back_in_vain(home: str, **limits: float) -> None:
        he = Prosumer(platform, me.event_id, home)
        first_w = (await me.call()).power_w
        await he.stays_out()
        lowered_w = (await me.call()).power_w
        assert lowered_w < first_w
        settings = LimitSettings.model_validate(
            {name: lowered_w / 1000 if kw else None for name, kw in limits.items()}
        )
        portfolio.rules = Rules(settings, portfolio.calendar)
        await he.comes_back()
        portfolio.rules = Rules(LimitSettings(), portfolio.calendar)
        assert ((await me.call()).power_w, (await he.part()).out_since) == (lowered_w, None)
        event = await told(platform.boxes["node-1"], me.event_id)
        assert event.target == Target(ven_id=(me.ven_id,))

    await comes_back_in_vain(HOMES[0], max_concurrent_kw=1)
    async with db.read() as conn:
        assert await budget.breaker(conn) is None, "a home's word opens nothing"
    await comes_back_in_vain(HOMES[1], approval_above_kw=1)
    async with db.write() as conn:
        await budget.open_breaker(conn, "a test", "admin", platform.clock.now)
    await comes_back_in_vain(HOMES[2])
    async with db.write() as conn:
        await budget.close_breaker(conn, "admin", platform.clock.now)
    await platform.jump(START + DAY + timedelta(hours=16, minutes=30))  # an hour of notice is agreed
    await comes_back_in_vain(HOMES[0])


async def test_a_change_by_power_asks_nothing_of_who_is_out_and_his_way_back_nothing_beyond_it(
    platform: Platform,
) -> None:
    me = await second_day(platform)
    await me.stays_out()
    left_w = (await me.call()).power_w
    assert platform.aggregator is not None
    portfolio, now = platform.aggregator._portfolio, platform.clock.now

    async def asks(power_w: int) -> None:
        async with db_of(platform).write() as conn:
            sent = await sent_event.find(conn, me.event_id)
            change = Change(me.event_id, sent.version)
            wanted = Asked(ReductionRequest(sent.period, power_w), change=change)
            await request.send(conn, portfolio, "http://test/programme", wanted, now, sender=MACHINE_OWNER)

    box = platform.boxes["node-1"]
    expected_w = round(box.offer_kw * 1000) - (await lowered(me))
    await asks(50_000)
    assert (await me.call()).power_w == expected_w >= left_w
    await asks(1000)
    asked_w = (await me.call()).power_w
    await me.comes_back()
    assert (await me.call()).power_w == asked_w, "the operator asks for no more"


@pytest.mark.parametrize("left", [("load",), ("load", HOMES[1])], ids=["no home", "one home"])
async def test_a_home_stays_out_whatever_its_nodes_metadata_become(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, left: tuple[str, ...]
) -> None:
    me = await called(platform)
    await me.stays_out()
    box = platform.boxes["node-1"]
    for name in ("history", "telemetry"):
        monkeypatch.setitem(REPORTS, name, (REPORTS[name][0], left))
    await box.offer_reports(platform.clock.now)
    assert platform.aggregator is not None
    portfolio, now = platform.aggregator._portfolio, platform.clock.now
    async with db_of(platform).write() as conn:
        version = (await sent_event.find(conn, me.event_id)).version
        period = Period(START + timedelta(hours=18), START + timedelta(hours=20))
        wanted = Asked(ReductionRequest(period, 5000), change=Change(me.event_id, version))
        await request.send(conn, portfolio, "http://test/programme", wanted, now, sender=MACHINE_OWNER)
    assert (await told(box, me.event_id)).target == Target(resource_id=("home-02", "home-03"))
    await me.comes_back()
    assert (await told(box, me.event_id)).target == Target(ven_id=(me.ven_id,))
