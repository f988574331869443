"""Enrolment, registration and the end of it (REG)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from openadr import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    DistributeEvent,
    EiResponse,
    Message,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestReregistration,
    Response,
)
from openadr.enums import ProfileName, TransportName
from tests.vtn.desk import ALICE, BOB, NOW, STRANGER, Desk, make_event, metadata, usage
from vtn import registration, report
from vtn.errors import UnknownObject
from vtn.registration import Ven


def create(**more: object) -> CreatePartyRegistration:
    values: dict[str, object] = {"request_id": "c1", "ven_name": "alice", "http_pull_model": True}
    return CreatePartyRegistration(**(values | more))  # type: ignore[arg-type] - fields by name


async def party(desk: Desk, message: Message, who: str = ALICE) -> CreatedPartyRegistration:
    reply = await desk.say(message, who)
    assert isinstance(reply, CreatedPartyRegistration)
    return reply


async def ven(desk: Desk, name: str = "alice") -> Ven:
    async with desk.db.read() as conn:
        return next(found for found in await registration.vens(conn) if found.ven_name == name)


async def test_reg_03_query_of_a_stranger_tells_profiles_and_no_ids(desk: Desk) -> None:
    reply = await party(desk, QueryRegistration(request_id="q1"), STRANGER)
    assert (reply.response.code, reply.response.request_id) == ("200", "q1")
    assert (reply.ven_id, reply.registration_id, reply.vtn_id) == (None, None, "FLEXPACT")
    assert [profile.profile_name for profile in reply.profiles] == [ProfileName.B]


async def test_reg_04_query_of_a_registered_ven_tells_its_ids_and_changes_nothing(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    before = await ven(desk)
    reply = await party(desk, QueryRegistration(request_id="q1"))
    assert (reply.ven_id, reply.registration_id) == (ven_id, before.registration_id)
    assert await ven(desk) == before


async def test_reg_08_registration_gives_ids_profiles_and_the_poll_period(desk: Desk) -> None:
    ven_id = await desk.enrol()
    reply = await party(desk, create())
    assert (reply.response.code, reply.ven_id, reply.vtn_id) == ("200", ven_id, "FLEXPACT")
    assert reply.registration_id
    assert str(reply.requested_poll_freq) == "PT10S"
    assert (await ven(desk)).registered_at == NOW


@pytest.mark.criterion("ERR-03", "REG-10")
async def test_reg_10_unknown_certificate_is_refused_and_noted_for_the_operator(desk: Desk) -> None:
    for _ in range(2):
        reply = await party(desk, create(ven_name="mallory"), STRANGER)
        assert (reply.response.code, reply.ven_id, reply.registration_id) == ("463", None, None)
    async with desk.db.read() as conn:
        assert await registration.strangers(conn) == [(STRANGER, "mallory", NOW)]
        assert await registration.vens(conn) == []
    assert await desk.facts("registration") == []
    await desk.enrol(STRANGER, "mallory")
    async with desk.db.read() as conn:
        assert await registration.strangers(conn) == []
    assert (await party(desk, create(ven_name="mallory"), STRANGER)).response.code == "200"


async def test_notes_about_strangers_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "PENDING_LIMIT", 3)
    for number in range(5):
        desk.now = NOW + timedelta(seconds=number)
        await party(desk, create(ven_name=f"v{number}"), f"{number:064x}")
    async with desk.db.read() as conn:
        assert [name for _, name, _ in await registration.strangers(conn)] == ["v4", "v3", "v2"]


@pytest.mark.criterion("REG-11", "REG-12")
async def test_reg_12_own_empty_metadata_are_offered_until_answered(desk: Desk) -> None:
    ven_id = await desk.register()
    for _ in range(2):
        own = await desk.poll()
        assert isinstance(own, RegisterReport)
        assert (own.reports, own.ven_id) == ((), ven_id)
    answer = RegisteredReport(response=EiResponse.ok(own.request_id), ven_id=ven_id)
    assert isinstance(await desk.say(answer), Response)
    assert isinstance(await desk.poll(), Response)


@pytest.mark.criterion("REG-14", "REG-15")
async def test_reg_14_registering_again_keeps_ids_reports_and_asks_for_nothing(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    before = await ven(desk)
    await desk.say(metadata(ven_id))
    desk.now += timedelta(hours=1)
    reply = await party(desk, create(registration_id=before.registration_id, ven_id=ven_id))
    assert (reply.registration_id, reply.ven_id) == (before.registration_id, ven_id)
    assert await ven(desk) == before
    assert isinstance(await desk.poll(), Response)
    async with desk.db.read() as conn:
        assert len(await report.requests(conn, ven_id)) == 3


async def test_reg_17_new_registration_starts_over_with_the_same_ids_and_keeps_events(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    before = await ven(desk)
    await desk.say(metadata(ven_id))
    await desk.publish(make_event())
    desk.now += timedelta(minutes=1)
    reply = await party(desk, create(request_id="c2"))
    assert (reply.response.code, reply.registration_id) == ("200", before.registration_id)
    assert (await ven(desk)).registered_at == desk.now
    kinds = {type(await desk.poll()) for _ in range(2)}
    assert kinds == {DistributeEvent, RegisterReport}
    async with desk.db.read() as conn:
        assert await report.requests(conn, ven_id) == []


@pytest.mark.criterion("GEN-18")
async def test_repeat_of_a_registration_is_one_fact(desk: Desk) -> None:
    await desk.enrol()
    replies = [await party(desk, create()) for _ in range(2)]
    assert replies[0] == replies[1]
    (fact,) = await desk.facts("registration")
    assert (fact.body["action"], fact.body["ven_name"]) == ("registered", "alice")


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        ({"ven_id": "other"}, "452"),
        ({"registration_id": "other"}, "452"),
        ({"profile_name": ProfileName.A}, "469"),
        ({"transport_name": TransportName.XMPP}, "469"),
        ({"http_pull_model": False}, "469"),
        ({"xml_signature": True}, "469"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
async def test_registration_that_does_not_fit_is_refused(
    desk: Desk, ids: dict[str, object], code: str
) -> None:
    await desk.enrol()
    reply = await party(desk, create(**ids))
    assert (reply.response.code, reply.ven_id) == (code, None)
    assert (await ven(desk)).registration_id is None


async def test_reg_09_preset_ven_id_is_taken(desk: Desk) -> None:
    ven_id = await desk.enrol()
    assert (await party(desk, create(ven_id=ven_id))).ven_id == ven_id


@pytest.mark.criterion("REG-18", "REG-19", "REG-28")
async def test_reg_19_cancelled_by_the_ven_forgets_registration_and_reports(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    registered = await ven(desk)
    await desk.say(metadata(ven_id))
    cancel = CancelPartyRegistration(
        request_id="x1", registration_id=str(registered.registration_id), ven_id=ven_id
    )
    reply = await desk.say(cancel)
    assert isinstance(reply, CanceledPartyRegistration)
    assert (reply.response.code, reply.registration_id) == ("200", registered.registration_id)
    assert (await ven(desk)).registration_id is None
    refused = await desk.poll()
    assert isinstance(refused, Response)
    assert (refused.response.code, refused.ven_id) == ("463", None)
    async with desk.db.read() as conn:
        assert await report.requests(conn, ven_id) == []
    assert [fact.body["action"] for fact in await desk.facts("registration")] == ["registered", "cancelled"]


async def test_reg_20_wrong_cancellation_changes_nothing(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    before = await ven(desk)
    for ids in (
        {"registration_id": "other"},
        {"registration_id": str(before.registration_id), "ven_id": "x"},
    ):
        reply = await desk.say(CancelPartyRegistration(request_id="x1", **{"ven_id": ven_id, **ids}))
        assert isinstance(reply, CanceledPartyRegistration)
        assert reply.response.code == "452"
    assert await ven(desk) == before


@pytest.mark.criterion("REG-18", "REG-19")
async def test_cancelled_from_here_is_told_at_the_poll_and_ends_with_the_answer(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    async with desk.db.write() as conn:
        await registration.cancel(conn, ven_id, desk.now)
    told = await desk.poll()
    assert isinstance(told, CancelPartyRegistration)
    answer = CanceledPartyRegistration(
        response=EiResponse.ok(told.request_id), registration_id=told.registration_id, ven_id=ven_id
    )
    reply = await desk.say(answer)
    assert isinstance(reply, Response)
    assert reply.response.code == "200"
    assert (await ven(desk)).registration_id is None


@pytest.mark.criterion("REG-20")
async def test_cancellation_that_nobody_asked_for_cannot_be_confirmed(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    reply = await desk.say(CanceledPartyRegistration(response=EiResponse.ok(), ven_id=ven_id))
    assert isinstance(reply, Response)
    assert reply.response.code == "452"
    assert (await ven(desk)).registration_id is not None


async def test_reg_16_ven_is_asked_to_register_again_until_it_does(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    async with desk.db.write() as conn:
        await registration.ask_to_register_again(conn, ven_id, desk.now)
    for _ in range(2):
        assert await desk.poll() == RequestReregistration(ven_id=ven_id)
    acknowledged = await desk.say(
        Response(response=EiResponse.ok(), ven_id=ven_id), service="EiRegisterParty"
    )
    assert isinstance(acknowledged, Response)
    await party(desk, create(registration_id=(await ven(desk)).registration_id, ven_id=ven_id))
    assert isinstance(await desk.poll(), Response)


async def test_acting_on_a_ven_that_is_not_registered_is_refused(desk: Desk) -> None:
    ven_id = await desk.enrol()
    for act in (registration.cancel, registration.ask_to_register_again):
        with pytest.raises(UnknownObject):
            async with desk.db.write() as conn:
                await act(conn, ven_id, NOW)


async def test_two_certificates_of_one_ven_are_the_same_ven(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    assert await desk.enrol(BOB, "alice") == ven_id
    assert isinstance(await desk.say(Poll(ven_id=ven_id), BOB), Response)
    assert isinstance(await desk.say(Poll(ven_id=ven_id), ALICE), Response)


async def test_certificate_of_another_ven_cannot_be_enrolled(desk: Desk) -> None:
    await desk.enrol()
    with pytest.raises(ValueError, match="another VEN"):
        await desk.enrol(ALICE, "bob")
    with pytest.raises(ValueError, match="64 hex digits"):
        await desk.enrol("5E:71:FA:E4:61:75:9C:EF:A4", "carol")


@pytest.mark.goal(8)
async def test_sec_14_equal_short_fingerprints_are_different_principals(desk: Desk) -> None:
    """Two certificates whose display form (the last 10 bytes) is equal."""
    twin = "00" * 22 + ALICE[-20:]
    await desk.settle_in()
    reply = await desk.say(Poll(ven_id=desk.ids[ALICE]), twin)
    assert isinstance(reply, Response)
    assert reply.response.code == "463"


async def test_last_contact_is_kept_when_the_server_stops(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    desk.now += timedelta(minutes=3)
    await desk.poll()
    assert desk.server.last_contacts()[ven_id] == desk.now
    await desk.restart()
    assert (await ven(desk)).last_contact == desk.now


async def test_reg_26_registration_survives_a_restart(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    await desk.say(metadata(ven_id))
    await desk.restart()
    reply = await desk.say(usage(ven_id, [(NOW, 1.0)]))
    assert reply.response.code == "200"  # type: ignore[attr-defined] - UpdatedReport
