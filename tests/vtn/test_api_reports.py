"""The operator's API: what VENs can report and were asked for, their opts, what was said on the wire."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

from openadr import (
    ActivePeriod,
    CancelReport,
    CreatedReport,
    CreateOpt,
    CreateReport,
    Duration,
    EiResponse,
    Poll,
    Target,
    decode,
    encode,
)
from openadr.enums import OptReason, OptType
from tests.vtn.desk import ALICE, BOB, NOW, metadata, usage
from tests.vtn.office import Clerk, peak

ASKED = {
    "report_request_id": "mine",
    "specifier_id": "spec-TELEMETRY_USAGE",
    "r_ids": ["load"],
    "granularity": "PT15M",
    "report_back": "PT15M",
    "start": "2026-03-02T13:00:00Z",
    "duration": "PT0S",
}
REQUESTS = "/vtn/vens/alice/report-requests"


async def reporting(clerk: Clerk) -> str:
    ven_id = await clerk.desk.settle_in()
    await clerk.desk.say(metadata(ven_id))
    return ven_id


async def test_the_catalogue_of_a_ven_is_shown(clerk: Clerk) -> None:
    await reporting(clerk)
    reports = (await clerk.get("/vtn/vens/alice/reports"))["reports"]
    shown = {report["specifier_id"]: report for report in reports}["spec-TELEMETRY_USAGE"]
    assert (shown["report_name"], shown["duration"]) == ("TELEMETRY_USAGE", "P28D")
    assert shown["points"][0] == {
        "r_id": "load",
        "report_type": "usage",
        "reading_type": "Direct Read",
        "unit": "energyReal",
        "scale": "none",
    }
    assert (await clerk.get("/vtn/vens/bob/reports"))["reports"] == []


async def test_a_report_is_asked_for_at_the_next_poll_and_cancelled_at_a_later_one(clerk: Clerk) -> None:
    ven_id = await reporting(clerk)
    asked = await clerk.post(REQUESTS, ASKED)
    assert (asked["state"], asked["r_ids"], asked["by_operator"]) == ("asked", ["load"], True)
    assert await clerk.post(REQUESTS, ASKED) == asked
    told = await clerk.desk.poll()
    assert isinstance(told, CreateReport)
    (request,) = told.report_requests
    specifier = request.report_specifier
    assert (request.report_request_id, str(specifier.report_back_duration)) == ("mine", "PT15M")
    assert specifier.report_interval == ActivePeriod(dtstart=NOW + timedelta(hours=1), duration=Duration(0))
    await clerk.desk.say(
        CreatedReport(
            response=EiResponse.ok(told.request_id),
            pending_reports=("ask-TELEMETRY_USAGE", "mine"),
            ven_id=ven_id,
        )
    )
    mine = [each for each in (await clerk.get(REQUESTS))["requests"] if each["report_request_id"] == "mine"]
    assert mine[0]["state"] == "running"
    stopped = await clerk.post(f"{REQUESTS}/mine/cancel", {"report_to_follow": True})
    assert stopped["state"] == "cancelling"
    told = await clerk.desk.poll()
    assert isinstance(told, CancelReport)
    assert (told.report_request_ids, told.report_to_follow) == (("mine",), True)


async def test_all_points_of_a_report_are_asked_for_where_none_is_named(clerk: Clerk) -> None:
    await reporting(clerk)
    asked = await clerk.post(REQUESTS, {"specifier_id": "spec-TELEMETRY_USAGE"})
    assert (asked["r_ids"], asked["report_back"]) == (["load", "home-01"], "PT0S")
    again = await clerk.post(REQUESTS, {"specifier_id": "METADATA"})
    assert again["report_name"] == "METADATA"


async def test_what_comes_periodically_begins_now_where_nothing_else_is_said(clerk: Clerk) -> None:
    await reporting(clerk)
    body = {key: value for key, value in ASKED.items() if key not in ("start", "duration")}
    asked = await clerk.post(REQUESTS, body)
    assert (asked["start"], asked["duration"]) == ("2026-03-02T12:00:00Z", "PT0S")
    clerk.desk.now += timedelta(minutes=1)
    assert await clerk.post(REQUESTS, body) == asked  # repeated: the same


async def test_a_request_that_cannot_be_is_refused_by_field(clerk: Clerk) -> None:
    await reporting(clerk)
    await clerk.post(REQUESTS, ASKED)
    for status, field, change in (
        (422, "specifier_id", {"specifier_id": "spec-NONE"}),
        (422, "specifier_id", {"specifier_id": "spec-NONE", "r_ids": None}),
        (422, "r_ids", {"r_ids": ["cellar"]}),
        (422, "granularity", {"granularity": "PT1H"}),
        (422, "report_back", {"report_back": "P29D"}),
        (422, "duration", {"duration": None}),
        (422, "start", {"start": None}),
        (422, "granularity", {"granularity": "often"}),
        (422, "r_ids", {"r_ids": []}),
        (409, "report_request_id", {"report_back": "PT30M"}),
    ):
        body = {name: value for name, value in {**ASKED, **change}.items() if value is not None}
        if status == 422:
            body["report_request_id"] = "other"
        problem = await clerk.refused(status, "POST", REQUESTS, body)
        assert [error["field"] for error in problem["errors"]] == [field]
    await clerk.refused(404, "POST", f"{REQUESTS}/none/cancel", {})
    await clerk.refused(409, "POST", "/vtn/vens/bob/report-requests", {"specifier_id": "METADATA"})
    ids = [each["report_request_id"] for each in (await clerk.get(REQUESTS))["requests"]]
    assert "other" not in ids


async def test_requests_that_have_ended_may_be_left_out(clerk: Clerk) -> None:
    ven_id = await reporting(clerk)
    await clerk.post(REQUESTS, {**ASKED, "report_request_id": "gone"})
    told = await clerk.desk.poll()
    assert isinstance(told, CreateReport)
    refusal = EiResponse("461", "not today", told.request_id)
    await clerk.desk.say(CreatedReport(response=refusal, ven_id=ven_id))
    ended = {
        each["report_request_id"]: each.get("outcome") for each in (await clerk.get(REQUESTS))["requests"]
    }
    assert ended["gone"] == "461"
    running = (await clerk.get(f"{REQUESTS}?running=true"))["requests"]
    assert "gone" not in [each["report_request_id"] for each in running]


async def test_a_single_report_that_came_and_a_periodic_one_whose_time_is_over_run_no_more(
    clerk: Clerk,
) -> None:
    ven_id = await reporting(clerk)
    once = {name: ASKED[name] for name in ("specifier_id", "r_ids")} | {"report_request_id": "once"}
    await clerk.post(REQUESTS, once)
    await clerk.post(REQUESTS, {**ASKED, "duration": "PT1H"})

    async def states() -> dict[str, tuple[str, str | None]]:
        rows = (await clerk.get(REQUESTS))["requests"]
        found = {each["report_request_id"]: (each["state"], each.get("outcome")) for each in rows}
        return {name: found[name] for name in ("once", "mine")}

    assert await states() == {"once": ("asked", None), "mine": ("asked", None)}
    for name in ("once", "mine"):
        data = usage(ven_id, [(NOW, 1.0)])
        (report,) = data.reports
        await clerk.desk.say(replace(data, reports=(replace(report, report_request_id=name),)))
    assert await states() == {"once": ("ended", "finished"), "mine": ("asked", None)}
    assert (await clerk.post(REQUESTS, once))["state"] == "ended"  # repeated: not asked for anew
    clerk.desk.now += timedelta(hours=2, minutes=16)
    assert (await states())["mine"] == ("ended", "finished")
    running = (await clerk.get(f"{REQUESTS}?running=true"))["requests"]
    assert not {"once", "mine"} & {each["report_request_id"] for each in running}


async def test_a_single_report_that_is_asked_for_again_has_not_come_yet(clerk: Clerk) -> None:
    ven_id = await reporting(clerk)
    once = {name: ASKED[name] for name in ("specifier_id", "r_ids")} | {"report_request_id": "once"}
    assert (await clerk.post(REQUESTS, once))["state"] == "asked"
    data = usage(ven_id, [(NOW, 1.0)])
    (report,) = data.reports
    await clerk.desk.say(replace(data, reports=(replace(report, report_request_id="once"),)))
    told = await clerk.desk.poll()
    assert isinstance(told, CreateReport)
    await clerk.desk.say(CreatedReport(response=EiResponse.ok(told.request_id), ven_id=ven_id))
    clerk.desk.now += timedelta(minutes=1)
    await clerk.desk.say(replace(metadata(ven_id), request_id="anew"))  # ends it (RPT-07)
    again = await clerk.post(REQUESTS, once)
    assert (again["state"], again.get("outcome")) == ("asked", None)


async def test_opts_are_listed_newest_first_and_by_page(clerk: Clerk) -> None:
    ven_id = await clerk.desk.settle_in()
    await clerk.post("/vtn/events", peak())
    told = await clerk.desk.poll()
    await clerk.desk.answer(told.events[0], OptType.OPT_IN)  # type: ignore[attr-defined] - a DistributeEvent
    await clerk.desk.say(
        CreateOpt(
            opt_id="holiday",
            opt_type=OptType.OPT_OUT,
            opt_reason=OptReason.NOT_PARTICIPATING,
            ven_id=ven_id,
            availability=(ActivePeriod(dtstart=NOW, duration=Duration(86_400)),),
            created_date_time=NOW,
            request_id="o",
            target=Target(resource_id=("boiler" * 20,)),
        )
    )
    page = await clerk.get("/vtn/opts?limit=1")
    (newest,) = page["opts"]
    assert (newest["source"], newest["opt_id"], newest["reason"]) == (
        "create_opt",
        "holiday",
        "notParticipating",
    )
    assert newest["availability"] == [{"start": "2026-03-02T12:00:00Z", "duration": "P1D"}]
    assert newest["target"]["resource_id"] == ["boiler" * 20]
    older = await clerk.get(f"/vtn/opts?before={page['next']}")
    assert [(each["source"], each["opt_type"], each["event_id"]) for each in older["opts"]] == [
        ("created_event", "optIn", "peak")
    ]
    assert "next" not in older
    assert len((await clerk.get("/vtn/opts?event_id=peak&ven=alice"))["opts"]) == 1
    assert (await clerk.get("/vtn/opts?ven=bob"))["opts"] == []
    await clerk.refused(404, "GET", "/vtn/opts?ven=nobody")


async def test_a_ven_is_traced_from_when_it_is_wanted_and_no_longer(clerk: Clerk) -> None:
    ven_id = await clerk.desk.settle_in()
    assert (await clerk.get("/vtn/vens/alice/trace"))["exchanges"] == []
    assert "traced_since" in await clerk.post("/vtn/vens/alice/trace", {"on": True})
    await clerk.desk.poll()
    await clerk.desk.settle_in(BOB, "bob")
    await clerk.desk.post("EiReport", b"<rubbish")
    await clerk.desk.say(usage(ven_id, []))
    exchanges = (await clerk.get("/vtn/vens/alice/trace?bodies=true"))["exchanges"]
    assert [
        (each["service"], each.get("request_name"), each.get("response_name"), each["http_status"])
        for each in exchanges
    ] == [
        ("OadrPoll", "oadrPoll", "oadrResponse", 200),
        ("EiReport", None, None, 406),
        ("EiReport", "oadrUpdateReport", "oadrUpdatedReport", 200),
    ]
    poll = base64.b64decode(exchanges[0]["request_base64"])
    assert decode(poll) == Poll(ven_id=ven_id)
    assert exchanges[0]["request_bytes"] == len(poll)
    assert exchanges[2]["response_code"] == "452"
    assert "request_base64" not in (await clerk.get("/vtn/vens/alice/trace?last=1"))["exchanges"][0]
    await clerk.desk.restart()
    await clerk.desk.poll()
    assert len((await clerk.get("/vtn/vens/alice/trace"))["exchanges"]) == 4
    await clerk.post("/vtn/vens/alice/trace", {"on": False})
    await clerk.desk.poll()
    assert len((await clerk.get("/vtn/vens/alice/trace"))["exchanges"]) == 4
    assert (await clerk.get("/vtn/vens/bob/trace"))["exchanges"] == []


async def test_a_trace_holds_no_headers(clerk: Clerk) -> None:
    ven_id = await clerk.desk.settle_in()
    await clerk.post("/vtn/vens/alice/trace", {"on": True})
    secret = "Basic c2VjcmV0"
    await clerk.desk.post("OadrPoll", encode(Poll(ven_id=ven_id)), ALICE, Authorization=secret)
    kept = await clerk.get("/vtn/vens/alice/trace?bodies=true")
    assert secret not in str(kept)
    assert b"secret" not in base64.b64decode(kept["exchanges"][0]["request_base64"])
