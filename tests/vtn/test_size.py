"""The sizes that the server is built for (MIN-03)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import insert

from openadr import (
    CreateReport,
    DistributeEvent,
    Duration,
    Event,
    Poll,
    ReportRequest,
    ReportSpecifier,
    RequestEvent,
    SignalInterval,
    SpecifierPayload,
    encode,
)
from openadr.parser import DEFAULT_LIMITS
from tests.vtn.desk import ALICE, NOW, Desk, anything_goes, make_event
from vtn import event, outbox
from vtn.presence import Presence
from vtn.schema import certificate_table, ven_table
from vtn.store import Database


async def test_min_03_ten_thousand_vens_are_known(database: Database) -> None:
    numbers = range(10_000)
    vens = [
        {"ven_id": f"v{n}", "ven_name": f"n{n}", "enrolled_at": NOW, "report_only": False} for n in numbers
    ]
    prints = [{"fingerprint": f"{n:064x}", "ven_id": f"v{n}", "since": NOW} for n in numbers]
    async with database.write() as conn:
        await conn.execute(insert(ven_table), vens)
        await conn.execute(insert(certificate_table), prints)
    presence = Presence(database)
    await presence.open()
    for number in (0, 4_999, 9_999):
        guest = presence.known(f"{number:064x}", NOW)
        assert guest is not None
        assert guest.ven.ven_id == f"v{number}"


async def test_min_03_of_a_thousand_events_of_a_ven_the_first_ones_can_be_asked_for(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    async with desk.db.write() as conn:
        for number in range(1_000):
            made = make_event(f"e{number:04}", NOW + timedelta(hours=number + 1))
            await event.publish(conn, made, ven_id, NOW, anything_goes)
    page = await desk.say(RequestEvent(request_id="r", ven_id=ven_id, reply_limit=10))
    assert isinstance(page, DistributeEvent)
    assert [told.event_id for told in page.events] == [f"e{number:04}" for number in range(10)]


async def test_what_waits_for_a_ven_may_be_longer_than_what_a_ven_may_send(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    r_ids = tuple(SpecifierPayload(r_id=f"meter-{number:030}") for number in range(1_000))
    specifier = ReportSpecifier(
        report_specifier_id="s",
        granularity=Duration(900),
        report_back_duration=Duration(900),
        specifier_payloads=r_ids,
    )
    request = ReportRequest(report_request_id="many", report_specifier=specifier)
    message = CreateReport(request_id="r", report_requests=(request,), ven_id=ven_id)
    async with desk.db.write() as conn:
        await outbox.queue(conn, ven_id, outbox.CREATE_REPORT, "many", message=message, now=NOW)
    status, body = await desk.post("OadrPoll", encode(Poll(ven_id=ven_id)))
    assert (status, len(body) > DEFAULT_LIMITS.max_bytes) == (200, True)


def long_event(steps: int) -> Event:
    """An event of so many minutes, each with a value of its own."""
    made = make_event("long", NOW + timedelta(hours=1), timedelta(minutes=steps))
    intervals = tuple(
        SignalInterval(duration=Duration(60), uid=str(n), payload_float=float(n % 4)) for n in range(steps)
    )
    return replace(made, signals=(replace(made.signals[0], intervals=intervals),))


async def test_min_03_an_event_may_have_ten_thousand_intervals(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    await desk.publish(long_event(10_000))
    status, body = await desk.post("EiEvent", encode(RequestEvent(request_id="r", ven_id=ven_id)), ALICE)
    assert (status, body.count(b"<ei:interval>")) == (200, 10_000)
