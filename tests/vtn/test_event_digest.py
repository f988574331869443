"""The hash of what an event says: in the journal what a VEN finds itself, whenever and however it is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from openadr import DistributeEvent, Event, RequestEvent, ServiceArea, Target
from openadr.event_digest import event_sha256
from tests.vtn.desk import NOW, Desk, make_event

HERE = ServiceArea(feature_id="a", polygon_id="b", positions=(1.0, 2.0, 3.0, 4.0, 1.0, 2.0))


async def told(desk: Desk, ven_id: str) -> Event:
    answer = await desk.say(RequestEvent(request_id="q", ven_id=ven_id))
    assert isinstance(answer, DistributeEvent)
    (got,) = answer.events
    return got


@pytest.mark.parametrize("target", [Target(), Target(service_area=(HERE,))], ids=["plain", "an area"])
async def test_it_is_the_same_before_during_and_after_a_change(desk: Desk, target: Target) -> None:
    ven_id = await desk.settle_in()
    made = make_event(start=NOW + timedelta(hours=1), target=target)
    await desk.publish(made)
    hashes, statuses = set(), set()
    for minutes in (0, 30, 45):
        desk.now += timedelta(minutes=minutes)
        got = await told(desk, ven_id)
        hashes.add(event_sha256(got).hex())
        statuses.add(got.descriptor.event_status)
    (fact,) = await desk.facts("signal")
    assert hashes == {fact.body["event_sha256"]}
    assert len(statuses) > 1
    longer = make_event(start=made.dtstart, length=timedelta(hours=2), target=target)
    await desk.modify(longer)
    modified = event_sha256(await told(desk, ven_id)).hex()
    await desk.cancel("e1")
    cancelled = event_sha256(await told(desk, ven_id)).hex()
    logged = [each.body["event_sha256"] for each in await desk.facts("signal")]
    assert logged == [*hashes, modified, cancelled]
    assert len(set(logged)) == 3


def test_every_part_of_the_content_counts() -> None:
    made = make_event()
    signals = (replace(made.signals[0], signal_id="other"), *made.signals[1:])
    others = [
        make_event("e2"),
        make_event(start=made.dtstart + timedelta(seconds=1)),
        make_event(priority=1),
        replace(made, signals=signals),
        replace(made, target=Target(ven_id=("v",))),
        replace(made, descriptor=replace(made.descriptor, modification_number=1)),
    ]
    assert len({event_sha256(each) for each in (made, *others)}) == 1 + len(others)
