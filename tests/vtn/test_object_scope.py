"""An id that belongs to another VEN is answered like one that nobody has (GOALS 6).

Every message that names a registration, a report request, an event or an opt, from each of two VENs with the
other's ids: the reply is that to an unknown id, and nothing of the other's is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from openadr import (
    CanceledPartyRegistration,
    CanceledReport,
    CancelOpt,
    CancelPartyRegistration,
    CancelReport,
    CreatedReport,
    CreatePartyRegistration,
    CreateReport,
    Duration,
    EiResponse,
    ItemBase,
    Message,
    RegisteredReport,
    Report,
    ReportDescription,
    ReportRequest,
    SamplingRate,
    UpdatedReport,
    decode,
    encode,
)
from openadr.enums import OptType
from tests.vtn.desk import ALICE, BOB, NOW, Desk, created_event, make_event, metadata, usage
from tests.vtn.schema_messages import service_of
from tests.vtn.test_cut import contents
from tests.vtn.test_exchange import response_of
from tests.vtn.test_opt import qualification, schedule
from tests.vtn.test_report_request import wanted
from vtn import own_report, registration
from vtn.report import request_report

NAMES = {ALICE: "alice", BOB: "bob"}
OURS = Report(
    duration=Duration(86_400),
    report_descriptions=(
        ReportDescription(
            r_id="load",
            report_type="usage",
            reading_type="Direct Read",
            item_base=ItemBase.energy_real(),
            sampling_rate=SamplingRate(min_period=Duration(900), max_period=Duration(3600)),
        ),
    ),
    report_specifier_id="spec-of-the-vtn",
    report_name="METADATA_TELEMETRY_USAGE",
    created_date_time=NOW,
)
CREATING = {"CreateReport", "RegisteredReport", "CreateOpt"}
"""These bring an id of the VEN's own choice, which may be another's too."""
TOLERANT = {"CanceledReport", "UpdatedReport"}
"""These are answered by a plain success, whatever they name."""
OWN_IS_UNKNOWN = {"CanceledPartyRegistration"}
"""Nothing of the kind was asked for."""


@dataclass(frozen=True)
class Ids:
    """What one VEN has."""

    registration: str
    request: str
    event: str
    opt: str
    own_report: str
    metadata: str


def of(name: str) -> Ids:
    """Ids that nobody else has; those of registrations are the server's choice."""
    return Ids(*(f"{kind}-of-{name}" for kind in Ids.__dataclass_fields__))


def named_report(ven_id: str, request_id: str) -> Message:
    message = usage(ven_id, [(NOW, 1.0)])
    return replace(message, reports=(replace(message.reports[0], report_request_id=request_id),))


def of_ours(ids: Ids) -> ReportRequest:
    return wanted(ids.own_report, specifier=OURS.report_specifier_id)


# message -> how a VEN says it with somebody's ids, under its own venID
SAID: dict[str, Callable[[str, Ids], Message]] = {
    "CancelPartyRegistration": lambda ven, ids: CancelPartyRegistration(
        request_id="r", registration_id=ids.registration, ven_id=ven
    ),
    "CanceledPartyRegistration": lambda ven, ids: CanceledPartyRegistration(
        response=EiResponse.ok("r"), registration_id=ids.registration, ven_id=ven
    ),
    "CreatePartyRegistration": lambda ven, ids: CreatePartyRegistration(
        request_id="r", http_pull_model=True, registration_id=ids.registration, ven_id=ven
    ),
    "UpdateReport": lambda ven, ids: named_report(ven, ids.request),
    "RegisterReport": lambda ven, ids: replace(metadata(ven), report_request_id=ids.metadata),
    "CreatedReport": lambda ven, ids: CreatedReport(
        response=EiResponse.ok("r"), pending_reports=(ids.request,), ven_id=ven
    ),
    "CanceledReport": lambda ven, ids: CanceledReport(
        response=EiResponse.ok("r"), pending_reports=(ids.request,), ven_id=ven
    ),
    "CancelReport": lambda ven, ids: CancelReport(
        request_id="r", report_request_ids=(ids.own_report,), ven_id=ven
    ),
    "UpdatedReport": lambda ven, ids: UpdatedReport(
        response=EiResponse.ok("r"),
        cancel_report=CancelReport(request_id="c", report_request_ids=(ids.own_report,), ven_id=ven),
        ven_id=ven,
    ),
    "CreateReport": lambda ven, ids: CreateReport(
        request_id="r",
        report_requests=(of_ours(ids),),
        ven_id=ven,
    ),
    "RegisteredReport": lambda ven, ids: RegisteredReport(
        response=EiResponse.ok("r"),
        report_requests=(of_ours(ids),),
        ven_id=ven,
    ),
    "CreatedEvent optIn": lambda ven, ids: created_event(ven, make_event(ids.event)),
    "CreatedEvent optOut": lambda ven, ids: created_event(ven, make_event(ids.event), OptType.OPT_OUT),
    "CreatedEvent refused": lambda ven, ids: created_event(ven, make_event(ids.event), code="451"),
    "CreateOpt of an event": lambda ven, ids: qualification(ven, event_id=ids.event, opt_id="q"),
    "CancelOpt": lambda ven, ids: CancelOpt(request_id="r", opt_id=ids.opt, ven_id=ven),
    "CreateOpt": lambda ven, ids: schedule(ven, opt_id=ids.opt),
}


async def settled(desk: Desk, who: str) -> tuple[str, Ids]:
    """A VEN with a registration, a request, an event, a schedule and a report of ours that it asked for."""
    name = NAMES[who]
    ids, ven_id = of(name), await desk.settle_in(who, name)
    await desk.publish(make_event(ids.event), who)
    await desk.say(metadata(ven_id), who)
    async with desk.db.write() as conn:
        await request_report(conn, ven_id, wanted(ids.request), NOW)
        once = wanted(ids.metadata, specifier="METADATA", r_ids=("0",), back_s=0, step_s=0, start=None)
        await request_report(conn, ven_id, once, NOW)
        found = await registration.find(conn, ven_id)
    await desk.say(schedule(ven_id, opt_id=ids.opt), who)
    taken = await desk.say(SAID["CreateReport"](ven_id, ids), who)
    assert response_of(taken).is_success
    return ven_id, replace(ids, registration=str(found.registration_id))


async def rows_of(desk: Desk, ven_id: str) -> list[tuple[str, tuple[object, ...]]]:
    """All that the tables have of a VEN."""
    return [(name, row) for name, rows in (await contents(desk)).items() for row in rows if ven_id in row]


async def said(desk: Desk, who: str, message: Message) -> bytes:
    status, raw = await desk.post(service_of(message), encode(message), who)
    assert status == 200
    return raw


@pytest.fixture
async def vens(desk: Desk) -> dict[str, tuple[str, Ids]]:
    """Alice and Bob, each with something of every kind, and a report that the VTN offers to both."""
    async with desk.db.write() as conn:
        await own_report.offer(conn, [OURS], NOW)
    return {who: await settled(desk, who) for who in NAMES}


@pytest.mark.goal(6)
async def test_an_id_of_another_is_answered_like_one_that_nobody_has(
    desk: Desk, vens: dict[str, tuple[str, Ids]]
) -> None:
    for who, whose in ((ALICE, BOB), (BOB, ALICE)):
        (mine, _), (other, theirs) = vens[who], vens[whose]
        before = await rows_of(desk, other)
        for name, say in SAID.items():
            replies = []
            for ids in (of("nobody"), theirs):
                raw = await said(desk, who, say(mine, ids))
                for text in vars_of(ids):
                    raw = raw.replace(text.encode(), b"ID")
                replies.append(raw)
                assert other.encode() not in raw, name
                assert NAMES[whose].encode() not in raw or name in CREATING, name
            answers = [response_of(decode(raw)) for raw in replies]
            assert answers[0] == answers[1], name
            assert replies[0] == replies[1] or name in CREATING, name
            assert name in CREATING | TOLERANT or answers[0].code == "452", name
            assert await rows_of(desk, other) == before, name


@pytest.mark.goal(6)
async def test_ids_of_ones_own_are_known(desk: Desk, vens: dict[str, tuple[str, Ids]]) -> None:
    """The other side of the coin: what is refused above is refused for whose it is."""
    ven_id, ids = vens[ALICE]
    last = "CancelPartyRegistration"
    for name in sorted(SAID, key=last.__eq__):
        code = response_of(decode(await said(desk, ALICE, SAID[name](ven_id, ids)))).code
        assert code == "200" or name in OWN_IS_UNKNOWN, name


def vars_of(ids: Ids) -> list[str]:
    return [getattr(ids, name) for name in Ids.__dataclass_fields__]
