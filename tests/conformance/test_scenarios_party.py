"""Appendix E of the conformance list: G-05, G-06 and G-15, our VEN and our VTN joined in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from openadr import (
    ActivePeriod,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    DistributeEvent,
    Duration,
    EiResponse,
    Message,
    Poll,
    ProtocolError,
    QueryRegistration,
    RegisterReport,
    RequestEvent,
    decode,
)
from openadr.enums import OptReason, OptType
from tests.openadr.samples import MESSAGES
from tests.pair import Pair
from tests.ven.site import NOW, Site
from tests.ven.wire import plain
from tests.vtn.desk import anything_goes, make_event, request_all
from ven.registration import Registration
from ven.states import State
from ven.transport import service_of
from ven.voice import Voice
from vtn import availability, event, qualification, registration, report
from vtn.availability import WHOLE, Part, stance
from vtn.exchange import ROUTES, Peer, exchange, refusal
from vtn.opt_policy import OptPolicy
from vtn.registration import Ven
from vtn.store import Database
from vtn.written import written

IN, OUT = OptType.OPT_IN, OptType.OPT_OUT
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
async def pair(database: Database, tmp_path: Path) -> Pair:
    return await Pair.join(database, plain(1, tmp_path / "unused"), Site(), request_all, NOW)


def names(said: list[tuple[Message, Message]]) -> list[str]:
    return [f"{type(asked).__name__} {type(answer).__name__}" for asked, answer in said]


def known(pair: Pair) -> Registration:
    assert pair.session.saved.registration is not None
    return pair.session.saved.registration


async def at_the_vtn(pair: Pair) -> Ven:
    async with pair.db.read() as conn:
        (found,) = await registration.vens(conn)
    return found


async def requests(pair: Pair) -> int:
    async with pair.db.read() as conn:
        return len(await report.requests(conn, (await at_the_vtn(pair)).ven_id))


def voice(pair: Pair, now: datetime) -> Voice:
    ids = count()
    return Voice(pair.session, lambda: f"opt-{now:%H%M}-{next(ids)}", lambda: now, lambda: None)


def code(answer: Message) -> str:
    response = getattr(answer, "response", None)
    assert isinstance(response, EiResponse)
    return response.code


# G-05: query, re-register, requested re-register, fresh register, cancel x2, bad cancel x2


@pytest.mark.criterion("REG-02", "REG-04", "REG-15", "REG-24")
async def test_g_05_a_query_and_a_renewal_in_the_middle_change_nothing(pair: Pair) -> None:
    await pair.run(NOW)
    before, asked_for = known(pair), await requests(pair)
    pair.session.query()
    said = await pair.run(NOW + 2 * MINUTE)
    assert names(said)[0] == "QueryRegistration CreatedPartyRegistration"
    answer = said[0][1]
    assert isinstance(answer, CreatedPartyRegistration)
    assert (answer.ven_id, answer.registration_id) == (before.ven_id, before.registration_id)
    assert (known(pair), await requests(pair)) == (before, asked_for)


@pytest.mark.criterion("REG-14", "REG-15", "REG-16")
async def test_g_05_a_requested_renewal_keeps_ids_events_and_reports(pair: Pair) -> None:
    await pair.run(NOW)
    before, asked_for, held = known(pair), await requests(pair), dict(pair.session.saved.requests)
    async with pair.db.write() as conn:
        await event.publish(conn, make_event(), before.ven_id, NOW, anything_goes)
        await registration.ask_to_register_again(conn, before.ven_id, NOW)
    said = await pair.run(NOW + 2 * MINUTE)
    assert names(said) == [
        "Poll DistributeEvent",
        "CreatedEvent Response",
        "Poll RequestReregistration",
        "Response Response",
        "CreatePartyRegistration CreatedPartyRegistration",
        "Poll Response",
    ]
    assert (known(pair), await requests(pair)) == (before, asked_for)
    assert (dict(pair.session.saved.requests), set(pair.session.saved.events)) == (held, {"e1"})


@pytest.mark.criterion("REG-11", "REG-12", "REG-13", "REG-17")
async def test_g_05_a_fresh_registration_starts_over_with_metadata_both_ways(pair: Pair) -> None:
    await pair.run(NOW)
    before = known(pair)
    pair.session.saved = replace(pair.session.saved, registration=None)  # the box has forgotten
    pair.restart()
    said = await pair.run(NOW + 2 * MINUTE)
    kinds = names(said)
    assert kinds[:2] == [
        "QueryRegistration CreatedPartyRegistration",
        "CreatePartyRegistration CreatedPartyRegistration",
    ]
    create = said[1][0]
    assert isinstance(create, CreatePartyRegistration)
    assert (create.registration_id, create.ven_id) == (None, None)
    for kind in ("RegisterReport RegisteredReport", "RequestEvent DistributeEvent", "Poll RegisterReport"):
        assert kind in kinds
    assert kinds.index("RegisterReport RegisteredReport") < kinds.index("RequestEvent DistributeEvent")
    assert kinds.index("RequestEvent DistributeEvent") < kinds.index("Poll RegisterReport")
    assert (known(pair).ven_id, known(pair).registration_id) == (before.ven_id, before.registration_id)


@pytest.mark.criterion("REG-18", "REG-19", "REG-23")
@pytest.mark.parametrize("who", ["vtn", "ven"])
async def test_g_05_either_side_cancels_and_both_forget(pair: Pair, who: str) -> None:
    await pair.run(NOW)
    before = known(pair)
    if who == "ven":
        pair.session.leave()
    else:
        async with pair.db.write() as conn:
            await registration.cancel(conn, before.ven_id, NOW)
    said = await pair.run(NOW + 2 * MINUTE)
    assert names(said) == (
        ["CancelPartyRegistration CanceledPartyRegistration"]
        if who == "ven"
        else ["Poll CancelPartyRegistration", "CanceledPartyRegistration Response"]
    )
    assert pair.session.state is State.CANCELED
    assert (pair.session.saved.registration, dict(pair.session.saved.requests)) == (None, {})
    assert ((await at_the_vtn(pair)).registration_id, await requests(pair)) == (None, 0)
    assert await pair.run(NOW + 30 * MINUTE) == []  # neither polls nor reports
    again = await pair.run(NOW + 2 * HOUR)
    assert names(again)[1] == "CreatePartyRegistration CreatedPartyRegistration"
    assert known(pair).registration_id != before.registration_id


@pytest.mark.criterion("REG-20", "REG-21")
@pytest.mark.parametrize("wrong", [{"registration_id": "other"}, {"ven_id": "other"}], ids=["reg", "ven"])
async def test_g_05_a_bad_cancel_is_refused_by_either_side_and_changes_nothing(
    pair: Pair, wrong: dict[str, str]
) -> None:
    await pair.run(NOW)
    before = known(pair)
    ids = {"registration_id": before.registration_id, "ven_id": before.ven_id} | wrong
    bad = CancelPartyRegistration(request_id="bad", **ids)
    assert code(await pair.ask(bad, NOW)) == "452"
    later = NOW + 2 * MINUTE
    assert pair.session.due(later) == [Poll(before.ven_id)]
    (answer,) = pair.session.receive(bad, later)
    assert (type(answer).__name__, code(answer)) == ("CanceledPartyRegistration", "452")
    await pair.run(later)
    assert known(pair) == before
    assert (await at_the_vtn(pair)).registration_id == before.registration_id


@pytest.mark.criterion("GEN-18", "REG-17", "REG-18")
async def test_g_05_every_reply_of_a_whole_life_may_be_lost_once(pair: Pair) -> None:
    async def lossy(now: datetime) -> None:
        """Every request is answered twice; the first answer is lost."""
        while due := pair.session.due(now):
            await pair.ask(due[0], now)
            pair.session.receive(await pair.ask(due[0], now), now)

    await lossy(NOW)
    assert pair.session.state is State.READY
    registered = await at_the_vtn(pair)
    assert (registered.ven_id, registered.registration_id) == (
        known(pair).ven_id,
        known(pair).registration_id,
    )
    async with pair.db.write() as conn:
        await registration.ask_to_register_again(conn, registered.ven_id, NOW)
    await lossy(NOW + 2 * MINUTE)
    assert (await at_the_vtn(pair)).registration_id == registered.registration_id
    pair.session.leave()
    await lossy(NOW + 4 * MINUTE)
    assert pair.session.state is State.CANCELED
    assert (await at_the_vtn(pair)).registration_id is None


# G-06: unregistered traffic


@pytest.mark.criterion("REG-03", "REG-28", "POLL-06", "ERR-03", who="vtn")
async def test_g_06_nothing_of_a_stranger_is_taken_or_kept(pair: Pair) -> None:
    stranger = Peer("c3" * 32, None)
    before = await at_the_vtn(pair)
    for message in MESSAGES.values():
        if type(message) not in ROUTES:
            continue
        try:
            async with pair.db.write() as conn:
                answer = await exchange(message, service_of(message), stranger, conn, NOW, terms=pair.terms)
        except ProtocolError as error:
            answer = refusal(message, error, stranger, pair.terms)
        answer = decode(written(answer))
        expected = "200" if isinstance(message, QueryRegistration) else "463"
        assert (code(answer), getattr(answer, "ven_id", None)) == (expected, None), message
    assert await at_the_vtn(pair) == before
    async with pair.db.read() as conn:
        assert await registration.ven_of(conn, stranger.fingerprint, NOW) is None


@pytest.mark.criterion("REG-28", "REG-22", who="ven")
async def test_g_06_a_ven_that_was_forgotten_registers_anew_and_goes_on(pair: Pair) -> None:
    await pair.run(NOW)
    before = known(pair)
    async with pair.db.write() as conn:
        ven = await registration.find(conn, before.ven_id)
        message = CancelPartyRegistration(request_id="x", registration_id=before.registration_id)
        await registration.cancelled_by_ven(conn, message, ven, NOW)
    said = await pair.run(NOW + 2 * MINUTE)
    polls = [answer for asked, answer in said if isinstance(asked, Poll)]
    assert code(polls[0]) == "463"
    assert pair.session.state is State.READY
    assert known(pair).registration_id != before.registration_id
    kinds = [type(asked) for asked, _ in said]
    assert (
        kinds.count(CreatePartyRegistration) == kinds.count(RegisterReport) == kinds.count(RequestEvent) == 1
    )


# G-15: opt schedules incl. shared optID, supersede, open-ended, device class; G-14: qualified events


@pytest.mark.criterion("OPT-01", "OPT-07", "OPT-08", "OPT-10", "OPT-15", "OPT-16")
async def test_g_15_schedules_from_the_site_to_the_operator(pair: Pair) -> None:
    await pair.run(NOW)
    now = NOW + 2 * MINUTE
    site = voice(pair, now)
    tonight = ActivePeriod(dtstart=NOW + 6 * HOUR, duration=Duration.of(3 * HOUR))
    for_ever = ActivePeriod(dtstart=NOW + HOUR, duration=Duration(0))
    morning = ActivePeriod(dtstart=NOW + 20 * HOUR, duration=Duration.of(HOUR))
    site.declare(OUT, [tonight, morning], opt_id="away")
    site.declare(OUT, [for_ever], resources=["home-01"], opt_id="broken", reason=OptReason.OUTAGE_RUN_STATUS)
    site.declare(IN, [tonight], device_classes=["Storage"], opt_id="away")
    site.declare(OUT, [for_ever], market_context="http://other.test", opt_id="never")
    said = await pair.run(now)
    assert [code(answer) for asked, answer in said if type(asked).__name__ == "CreateOpt"] == ["200"] * 4
    policy, home = OptPolicy(), Part(target=("resource_id", "home-01"))
    schedules = await kept(pair)
    assert [each.opt_id for each in schedules] == ["away", "broken", "away", "never"]
    assert [stance(schedules, policy, WHOLE, NOW + hours * HOUR) for hours in (1, 6, 9, 20)] == [
        IN, OUT, IN, OUT,
    ]  # fmt: skip
    assert [stance(schedules, policy, home, NOW + hours * HOUR) for hours in (0, 1, 10_000)] == [IN, OUT, OUT]
    other = Part(market_context="http://OTHER.test/")
    assert stance(schedules, policy, other, NOW + 2 * HOUR) == OUT
    storage = Part(device_class="Storage")
    assert stance(schedules, OptPolicy(precedence=IN), storage, NOW + 6 * HOUR) == IN
    site.withdraw("away")
    await pair.run(now)
    assert [each.opt_id for each in await kept(pair)] == ["broken", "never"]
    site.declare(OUT, [morning])  # for the whole VEN: takes the place of both
    await pair.run(now)
    (left,) = await kept(pair)
    assert left.periods == (morning,)
    assert [code(answer) for _, answer in pair.said if type(answer).__name__ == "CanceledOpt"] == ["200"]


async def kept(pair: Pair) -> list[availability.Schedule]:
    async with pair.db.read() as conn:
        return await availability.schedules_of(conn, known(pair).ven_id)


@pytest.mark.criterion("OPT-11", "OPT-13", "EVT-37", "VEX-26", "POLL-07")
async def test_g_14_a_qualified_event_stays_as_the_site_said_whatever_follows(pair: Pair) -> None:
    await pair.run(NOW)
    ven_id = known(pair).ven_id

    async def opt_of() -> str | None:
        async with pair.db.read() as conn:
            (state,) = await event.event_states(conn, "e1")
        return state.opt

    start = NOW + 5 * HOUR
    async with pair.db.write() as conn:
        await event.publish(conn, make_event(start=start), ven_id, NOW, anything_goes)
    now = NOW + 2 * MINUTE
    await pair.run(now)
    assert await opt_of() == IN
    site = voice(pair, now)
    site.change("e1", OUT)
    await pair.run(now)
    assert await opt_of() == OUT
    site.change("e1", IN)
    site.qualify("e1", OUT)
    await pair.run(now)
    assert await opt_of() == OUT
    async with pair.db.write() as conn:
        await event.modify(conn, make_event(start=start + HOUR), ven_id, now, anything_goes)
    later = NOW + 4 * MINUTE
    said = await pair.run(later)
    told = next(answer for _, answer in said if isinstance(answer, DistributeEvent))
    assert told.events[0].modification_number == 1
    assert (await opt_of(), pair.session.saved.events["e1"].opt_type) == (OUT, OUT)
    voice(pair, later).change("e1", IN)
    said = await pair.run(later)
    assert [type(asked).__name__ for asked, _ in said] == ["CreateOpt"]
    assert await opt_of() == IN
    async with pair.db.read() as conn:
        found = await qualification.qualification(conn, ven_id, "e1")
    assert (found.whole, dict(found.parts)) == (IN, {})
