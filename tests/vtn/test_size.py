"""The sizes that the server is built for (MIN-03)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert

from openadr import (
    ActivePeriod,
    CancelReport,
    CreatedOpt,
    CreateReport,
    DistributeEvent,
    Duration,
    Event,
    Message,
    Poll,
    ReportRequest,
    ReportSpecifier,
    RequestEvent,
    Response,
    SamplingRate,
    SignalInterval,
    SpecifierPayload,
    Target,
    encode,
)
from openadr.parser import DEFAULT_LIMITS
from openadr.wire import NAMESPACES
from tests.vtn.desk import ALICE, NOW, QUARTER, Desk, anything_goes, make_event, metadata
from tests.vtn.test_opt import schedule
from tests.vtn.test_report_request import ASK, MINUTE, data, ready, stop
from vtn import availability, event, opt_list, outbox, own_report
from vtn.availability import schedules_of
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


def shortened(message: Message) -> bytes:
    """The message with prefixes of one letter."""
    body = encode(message)
    for letter, prefix in zip("abcdefghijklmnopqrstuvwxyz", NAMESPACES, strict=False):
        body = re.sub(rf"(</?|xmlns:| ){prefix}(?=[:=])".encode(), rf"\g<1>{letter}".encode(), body)
    return body


async def test_what_a_ven_has_said_may_be_longer_as_it_is_kept(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    hours = [NOW + timedelta(hours=number) for number in range(310)]
    periods = tuple(ActivePeriod(dtstart=hour, duration=Duration(60)) for hour in hours)
    message = schedule(ven_id, availability=periods)
    assert len(shortened(message)) < DEFAULT_LIMITS.max_bytes < len(encode(message))
    assert (await desk.post("EiOpt", shortened(message)))[0] == 200
    assert (await desk.post("EiOpt", encode(schedule(ven_id, opt_id="next"))))[0] == 200
    async with desk.db.read() as conn:
        assert [each.opt_id for each in await schedules_of(conn, ven_id)] == ["next"]
        told = [kept.message for kept in await opt_list.newest(conn, limit=2)]
    assert [len(each.availability) for each in told if each is not None] == [1, 310]


async def test_our_own_metadata_may_be_longer_than_what_a_ven_may_send(desk: Desk) -> None:
    (report, *_) = metadata("x").reports
    rate = SamplingRate(min_period=Duration(900), max_period=Duration(900))
    point = replace(report.report_descriptions[0], sampling_rate=rate)
    points = tuple(replace(point, r_id=f"meter-{number:030}") for number in range(1_000))
    many = replace(report, report_descriptions=points)
    async with desk.db.write() as conn:
        await own_report.offer(conn, [many], NOW)
        assert await own_report.offered(conn) == [many]


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


async def test_the_periods_of_all_schedules_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "PERIODS", 5)
    ven_id = await desk.settle_in()
    two = tuple(ActivePeriod(dtstart=NOW + n * QUARTER, duration=Duration(60)) for n in range(2))
    many = [
        schedule(ven_id, opt_id=f"o{n}", target=Target(resource_id=(f"home-{n}",)), availability=two)
        for n in range(3)
    ]
    replies = [await desk.say(each) for each in many]
    codes = [reply.response.code for reply in replies if isinstance(reply, CreatedOpt)]
    assert codes == ["200", "200", "469"]
    async with desk.db.read() as conn:
        assert [each.opt_id for each in await schedules_of(conn, ven_id)] == ["o0", "o1"]


async def test_reports_that_keep_coming_after_the_end_are_cancelled_by_one_message(desk: Desk) -> None:
    ven_id = await ready(desk)
    await stop(desk, ven_id, ASK)
    for _ in range(4):  # the first report takes the cancellation along
        await desk.say(data(ven_id, desk.now))
        desk.now += MINUTE
    told = await desk.poll()
    assert isinstance(told, CancelReport)
    async with desk.db.write() as conn:
        assert await outbox.waiting(conn, ven_id, outbox.CANCEL_REPORT) == {told.request_id: 1}
        for _ in range(outbox.OFFERS):
            await outbox.offered(conn, ven_id, outbox.CANCEL_REPORT, [told.request_id], desk.now)
    assert isinstance(await desk.poll(), Response)
    await desk.say(data(ven_id, desk.now))
    assert await desk.poll() == told
