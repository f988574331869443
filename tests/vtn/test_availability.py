"""Opt schedules: what supersedes what, for which part of a VEN, and what the programme makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import aiohttp
import pytest

from openadr import (
    ActivePeriod,
    CanceledOpt,
    CancelOpt,
    CreatedOpt,
    CreateOpt,
    Duration,
    EiResponse,
    Response,
    Target,
    encode,
)
from openadr.enums import OptReason, OptType
from tests.vtn.desk import ALICE, BOB, NOW, Desk, anything_goes, make_event
from tests.vtn.test_opt import schedule
from vtn import availability, event
from vtn.availability import Part, Schedule, out_during, stance, unless_opted_out
from vtn.errors import NotAdmitted
from vtn.opt_policy import OptPolicies, OptPolicy
from vtn.store import Database

IN, OUT = OptType.OPT_IN, OptType.OPT_OUT
HOUR = timedelta(hours=1)
MARKET, OTHER = "http://market.test/a", "http://market.test/b"
BATTERY, CAR = ("resource_id", "battery"), ("resource_id", "car")
DEFAULT = OptPolicy()


def period(start: datetime = NOW, hours: float = 1) -> ActivePeriod:
    return ActivePeriod(dtstart=start, duration=Duration.of(hours * HOUR))


def made(opt_type: OptType = OUT, *periods: ActivePeriod, **more: object) -> Schedule:
    values: dict[str, object] = {
        "opt_id": "o1",
        "opt_type": opt_type,
        "reason": "economic",
        "received_at": NOW,
        "periods": periods or (period(),),
        "targets": frozenset(),
        "market_context": None,
        "device_classes": frozenset(),
    }
    return Schedule(**(values | more))  # type: ignore[arg-type] - fields by name


def at(schedules: list[Schedule], hours: float = 0, policy: OptPolicy = DEFAULT, **part: object) -> OptType:
    return stance(schedules, policy, Part(**part), NOW + hours * HOUR)  # type: ignore[arg-type] - fields by name


# pure


def test_a_schedule_holds_in_each_of_its_periods_and_not_at_their_ends() -> None:
    two = made(OUT, period(), period(NOW + 3 * HOUR, 2))
    assert [at([two], hours) for hours in (-0.1, 0, 0.9, 1, 2.9, 3, 4.9, 5)] == [
        IN, OUT, OUT, IN, IN, OUT, OUT, IN,
    ]  # fmt: skip


@pytest.mark.criterion("OPT-10", who="vtn")
def test_a_duration_of_zero_has_no_end() -> None:
    open_ended = made(OUT, period(hours=0))
    assert [at([open_ended], hours) for hours in (-1, 0, 100_000)] == [IN, OUT, OUT]
    assert out_during([open_ended], DEFAULT, Part(), NOW + HOUR, None) == NOW + HOUR


@pytest.mark.criterion("OPT-07")
def test_the_newest_schedule_that_covers_a_part_is_the_only_one_of_its_kind() -> None:
    whole = made(OUT, period(hours=2))
    later = made(OUT, period(NOW + 5 * HOUR), targets=frozenset({BATTERY}))
    assert at([whole, later], 0, target=BATTERY) == IN
    assert at([whole, later], 5, target=BATTERY) == OUT
    assert at([whole, later], 0, target=CAR) == OUT
    assert at([whole, later], 0) == OUT
    assert at([later, whole], 5, target=BATTERY) == IN  # the whole VEN, said later, covers the battery too


@pytest.mark.criterion("OPT-07")
def test_schedules_in_and_out_are_independent() -> None:
    both = [made(OUT, period(hours=4)), made(IN, period(NOW + HOUR))]
    assert at(both, 0) == OUT
    assert at(both, 2) == OUT


@pytest.mark.criterion("OPT-08", "GEN-13", who="vtn")
def test_a_market_context_limits_a_schedule_to_its_events() -> None:
    limited = made(OUT, market_context=MARKET)
    assert at([limited], market_context="HTTP://Market.TEST/a") == OUT
    assert at([limited], market_context=OTHER) == IN
    assert at([limited]) == IN


@pytest.mark.criterion("OPT-09", who="vtn")
def test_device_class_target_and_market_context_are_joined_by_and() -> None:
    narrow = made(
        OUT,
        targets=frozenset({BATTERY}),
        market_context=MARKET,
        device_classes=frozenset({"Storage", "EVSE"}),
    )
    full: dict[str, object] = {"target": BATTERY, "market_context": MARKET, "device_class": "EVSE"}
    assert at([narrow], **full) == OUT
    for key, other in (("target", CAR), ("market_context", OTHER), ("device_class", "Sauna")):
        assert at([narrow], **(full | {key: other})) == IN
        assert at([narrow], **(full | {key: None})) == IN


@pytest.mark.criterion("OPT-18")
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (OptPolicy(), [IN, IN, OUT, OUT, IN]),
        (OptPolicy(precedence=IN), [IN, IN, IN, OUT, IN]),
        (OptPolicy(outside=OUT), [OUT, IN, OUT, OUT, OUT]),
        (OptPolicy(outside=OUT, precedence=IN), [OUT, IN, IN, OUT, OUT]),
    ],
    ids=["default", "in-rules", "out-outside", "out-outside-in-rules"],
)
def test_the_programme_says_what_holds_outside_and_which_kind_rules(
    policy: OptPolicy, expected: list[OptType]
) -> None:
    both = [made(IN, period(NOW, 2)), made(OUT, period(NOW + HOUR, 2))]
    assert [at(both, hours, policy) for hours in (-1, 0, 1, 2, 3)] == expected


def test_a_time_in_which_a_ven_is_out_for_a_moment_is_found() -> None:
    later = made(OUT, period(NOW + 2 * HOUR))
    assert out_during([later], DEFAULT, Part(), NOW, NOW + 4 * HOUR) == NOW + 2 * HOUR
    assert out_during([later], DEFAULT, Part(), NOW, NOW + 2 * HOUR) is None
    assert out_during([later], DEFAULT, Part(), NOW + 3 * HOUR, None) is None
    gap = [made(IN, period(NOW), period(NOW + 2 * HOUR))]
    assert out_during(gap, OptPolicy(outside=OUT), Part(), NOW, NOW + 3 * HOUR) == NOW + HOUR


def test_only_the_newest_schedule_of_a_kind_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    holds_at = Schedule.holds_at

    def counted(self: Schedule, instant: datetime) -> bool:
        asked.append(self.opt_id)
        return holds_at(self, instant)

    monkeypatch.setattr(Schedule, "holds_at", counted)
    old = [made(OUT, *(period(NOW + n * HOUR, 0.5) for n in range(50)), opt_id=f"o{n}") for n in range(50)]
    old.append(made(OUT, period(NOW + 3 * HOUR), opt_id="new"))
    assert out_during(old, DEFAULT, Part(), NOW, None) == NOW + 3 * HOUR
    assert asked == ["new", "new"]


def test_schedules_meet_where_periods_of_both_hold_at_one_instant() -> None:
    many = made(OUT, period(NOW + 4 * HOUR), period(NOW), period(NOW, 0.1))
    for start, hours, expected in (
        (1, 3, False),
        (1, 3.1, True),
        (-1, 1, False),
        (0.9, 0.1, True),
        (4, 0, True),
    ):
        other = made(IN, period(NOW + start * HOUR, hours))
        assert many.meets(other) is other.meets(many) is expected
    assert made(OUT, period(hours=0)).meets(made(IN, period(NOW + 100 * HOUR)))


def test_policies_are_found_by_market_context_as_a_uri() -> None:
    policies = OptPolicies(markets={MARKET: OptPolicy(outside=OUT)})
    assert policies.of("HTTP://MARKET.test:80/a").outside == OUT
    assert policies.of(OTHER).outside == policies.of(None).outside == IN


# on the wire


def part(ven_id: str, *resources: str) -> Target:
    return Target(ven_id=(ven_id,), resource_id=resources)


async def kept(desk: Desk, who: str = ALICE) -> list[Schedule]:
    async with desk.db.read() as conn:
        return await availability.schedules_of(conn, desk.ids[who])


async def send(desk: Desk, *messages: CreateOpt | CancelOpt) -> list[str]:
    codes = []
    for message in messages:
        reply = await desk.say(message)
        assert isinstance(reply, CreatedOpt | CanceledOpt)
        assert (reply.opt_id, reply.response.request_id) == (message.opt_id, message.request_id)  # OPT-06
        codes.append(reply.response.code)
    return codes


@pytest.mark.criterion("OPT-05", "OPT-06", "OPT-08", "OPT-19", who="vtn")
@pytest.mark.criterion("OPT-10", who="vtn")
async def test_everything_that_a_schedule_says_is_kept(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    message = schedule(
        ven_id,
        IN,
        opt_reason="x-holiday",
        market_context=MARKET.upper().replace("/A", "/a"),
        availability=(period(), period(NOW + 7 * HOUR, 0)),
        target=part(ven_id, "battery", "car"),
        device_class=Target(end_device_asset=("Storage",)),
        request_id="r-77",
    )
    assert await send(desk, message) == ["200"]
    (found,) = await kept(desk)
    assert found == made(
        IN,
        period(),
        period(NOW + 7 * HOUR, 0),
        reason="x-holiday",
        targets=frozenset({BATTERY, CAR}),
        market_context=MARKET,
        device_classes=frozenset({"Storage"}),
    )


@pytest.mark.criterion("OPT-07")
async def test_a_part_that_is_superseded_in_full_is_gone_and_others_stay(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    said = [
        ("o1", OUT, part(ven_id, "battery")),
        ("o2", OUT, part(ven_id, "battery", "car")),  # swallows o1
        ("o3", OUT, part(ven_id, "car")),  # o2 goes on for the battery
        ("o4", IN, Target()),  # an empty target is the whole VEN, and of another kind
        ("o5", IN, part(ven_id, "battery")),
    ]
    await send(desk, *(schedule(ven_id, kind, name, target=target) for name, kind, target in said))
    assert [each.opt_id for each in await kept(desk)] == ["o2", "o3", "o4", "o5"]
    await send(desk, schedule(ven_id, OUT, "o6", market_context=MARKET))
    assert [each.opt_id for each in await kept(desk)] == ["o2", "o3", "o4", "o5", "o6"]
    await send(desk, schedule(ven_id, OUT, "o7"))
    assert [each.opt_id for each in await kept(desk)] == ["o4", "o5", "o7"]


@pytest.mark.criterion("OPT-15", "OPT-16", "OPT-17", "GEN-18", who="vtn")
async def test_one_opt_id_for_several_schedules_is_taken_back_at_once(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    await send(
        desk,
        schedule(ven_id, OUT, "shared", target=part(ven_id, "battery")),
        schedule(ven_id, IN, "shared"),
        schedule(ven_id, OUT, "other", target=part(ven_id, "car")),
    )
    cancel = CancelOpt(request_id="r9", opt_id="shared", ven_id=ven_id)
    assert await send(desk, cancel, cancel) == ["200", "200"]
    assert [each.opt_id for each in await kept(desk)] == ["other"]
    unknown = replace(cancel, opt_id="Shared")
    assert await send(desk, unknown) == ["452"]


@pytest.mark.criterion("GEN-18", who="vtn")
async def test_a_late_repeat_of_a_schedule_that_was_cancelled_does_not_bring_it_back(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    message = schedule(ven_id)
    await send(desk, message, CancelOpt(request_id="r", opt_id="o1", ven_id=ven_id))
    assert await send(desk, message) == ["200"]
    assert await kept(desk) == []


async def test_the_opts_of_another_ven_are_unknown(desk: Desk) -> None:
    theirs = await desk.settle_in(BOB, "bob")
    ven_id = await desk.settle_in()
    await desk.say(schedule(theirs, opt_id="bobs"), BOB)
    assert await send(desk, CancelOpt(request_id="r", opt_id="bobs", ven_id=ven_id)) == ["452"]
    assert len(await kept(desk, BOB)) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"opt_id": ""}, "452", marks=pytest.mark.criterion("OPT-05")),
        pytest.param({"ven_id": "other"}, "452", marks=pytest.mark.criterion("OPT-05")),
        pytest.param({"availability": ()}, "459"),
        pytest.param(
            {"availability": (replace(period(), notification=Duration(60)),)},
            "459",
        ),
        pytest.param(
            {"availability": (ActivePeriod(dtstart=NOW, duration=Duration(-60)),)},
            "454",
            marks=pytest.mark.criterion("OPT-10", who="vtn"),
        ),
        pytest.param(
            {"device_class": Target(resource_id=("battery",))},
            "459",
            marks=pytest.mark.criterion("OPT-09", "TGT-06", who="vtn"),
        ),
        pytest.param(
            {"device_class": Target(end_device_asset=("Toaster",))},
            "459",
            marks=pytest.mark.criterion("OPT-09", "TGT-06", who="vtn"),
        ),
    ],
    ids=["opt-id", "ven-id", "no-period", "notification", "negative", "resource", "class"],
)
async def test_a_schedule_that_breaks_a_rule_is_refused(
    desk: Desk, changes: dict[str, object], code: str
) -> None:
    ven_id = await desk.settle_in()
    message = replace(schedule(ven_id), **changes)  # type: ignore[arg-type] - fields by name
    assert await send(desk, message) == [code]
    assert await kept(desk) == []


@pytest.mark.criterion("OPT-19", who="vtn")
async def test_every_reason_of_the_standard_and_any_x_reason_is_taken_and_no_other(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    reasons = [*OptReason, "x-anything"]
    assert await send(desk, *(schedule(ven_id, opt_reason=str(reason)) for reason in reasons)) == ["200"] * 9
    body = encode(schedule(ven_id)).replace(b"economic", b"boredom")
    assert (await desk.post("EiOpt", body))[0] == 406


@pytest.fixture
async def strict_desk(database: Database) -> AsyncIterator[Desk]:
    """A programme that takes schedules of opting out alone, and one that lets none overlap."""
    opt = {"markets": {MARKET: {"schedules": ["optOut"]}, OTHER: {"overlap": False}}}
    async with aiohttp.ClientSession() as http:
        opened = await Desk.open(database, http, opt=opt)
        yield opened
        await opened.server.stop()


@pytest.mark.criterion("OPT-18")
async def test_the_programme_says_which_schedules_are_taken_and_whether_they_may_overlap(
    strict_desk: Desk,
) -> None:
    ven_id = await strict_desk.settle_in()

    def said(kind: OptType, name: str, context: str, start: datetime = NOW) -> CreateOpt:
        return schedule(ven_id, kind, name, market_context=context, availability=(period(start),))

    codes = await send(
        strict_desk,
        said(IN, "o1", MARKET),
        said(OUT, "o2", MARKET),
        said(OUT, "o3", OTHER),
        said(IN, "o4", OTHER, NOW + HOUR / 2),
        said(IN, "o5", OTHER, NOW + HOUR),
        said(OUT, "o6", OTHER, NOW + HOUR / 2),
    )
    assert codes == ["451", "200", "200", "451", "200", "451"]
    assert [each.opt_id for each in await kept(strict_desk)] == ["o2", "o3", "o5"]


@pytest.mark.criterion("OPT-18")
@pytest.mark.parametrize("allowed", [True, False], ids=["allowed", "forbidden"])
async def test_an_event_for_a_time_out_is_published_only_where_the_programme_allows_it(
    desk: Desk, *, allowed: bool
) -> None:
    ven_id = await desk.settle_in()
    out = schedule(ven_id, availability=(period(NOW + 1.5 * HOUR),))
    await send(desk, out)
    policies = OptPolicies(default=OptPolicy(events_in_opt_out=allowed))
    admit = unless_opted_out(policies, anything_goes)

    async def publish(name: str, start: datetime) -> None:
        async with desk.db.write() as conn:
            await event.publish(conn, make_event(name, start), ven_id, NOW, admit)

    await publish("before", NOW + HOUR / 2)
    await publish("after", NOW + 2.5 * HOUR)
    if allowed:
        await publish("within", NOW + HOUR)
        return
    with pytest.raises(NotAdmitted, match="opted out at 2026-03-02T13:30:00"):
        await publish("within", NOW + HOUR)


async def test_schedules_without_end_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "LIMIT", 3)
    ven_id = await desk.settle_in()
    many = [schedule(ven_id, opt_id=f"o{n}", target=part(ven_id, f"home-{n}")) for n in range(4)]
    assert await send(desk, *many) == ["200", "200", "200", "469"]
    assert len(await kept(desk)) == 3


@pytest.mark.parametrize("kind", [CreatedOpt, CanceledOpt])
async def test_answers_about_opts_are_never_taken_from_a_ven(
    desk: Desk, kind: type[CreatedOpt] | type[CanceledOpt]
) -> None:
    await desk.settle_in()
    reply = await desk.say(kind(response=EiResponse.ok(), opt_id="o1"), service="EiOpt")
    assert isinstance(reply, Response)
    assert reply.response.code == "459"
