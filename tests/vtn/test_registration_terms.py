"""The terms of a registration: what is offered to whom, who is admitted, what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from openadr import Extension, Info, Poll, QueryRegistration, Response, ServiceInfo
from openadr.enums import ProfileName, ServiceName, TransportName
from tests.vtn.desk import ALICE, BOB, NOW, STRANGER, Desk
from tests.vtn.test_registration import create, party, ven
from vtn import registration
from vtn.settings import Enrolment, VtnSettings
from vtn.store import Database


@pytest.fixture
async def open_desk(database: Database) -> AsyncIterator[Desk]:
    """A VTN that admits whoever has a certificate, and has something to say about its services."""
    async with aiohttp.ClientSession() as http:
        opened = await Desk.open(
            database,
            http,
            enrolment=Enrolment.AUTO,
            service_info={"EiOpt": {"schedules": "yes", "overlap": "no"}},
            extensions={"x-limits": {"events": "10"}},
        )
        yield opened
        await opened.server.stop()


@pytest.mark.criterion("REG-02", who="vtn")
@pytest.mark.criterion("REG-08")
async def test_everything_that_could_sway_the_choice_is_told_on_query_and_on_registration(
    open_desk: Desk,
) -> None:
    asked = await party(open_desk, QueryRegistration(request_id="q1"), STRANGER)
    granted = await party(open_desk, create(ven_name="carol"), STRANGER)
    for reply in (asked, granted):
        offered = {(each.profile_name, transport) for each in reply.profiles for transport in each.transports}
        assert (ProfileName.B, TransportName.SIMPLE_HTTP) in offered
        infos = (Info(key="schedules", value="yes"), Info(key="overlap", value="no"))
        assert reply.services == (ServiceInfo(service_name=ServiceName.EI_OPT, infos=infos),)
        limit = Extension(extension_name="x-limits", infos=(Info(key="events", value="10"),))
        assert reply.extensions == (limit,)
    assert asked.profiles == granted.profiles
    assert (granted.response.code, granted.ven_id is None, granted.registration_id is None) == (
        "200",
        False,
        False,
    )


def test_a_service_without_anything_to_say_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(ValueError, match="EiOpt has no key"):
        VtnSettings.model_validate({"service_info": {"EiOpt": {}}})


async def test_reg_03_a_ven_that_is_enrolled_and_not_registered_is_told_no_ids(desk: Desk) -> None:
    await desk.enrol()
    reply = await party(desk, QueryRegistration(request_id="q1"))
    assert (reply.response.code, reply.ven_id, reply.registration_id) == ("200", None, None)


async def test_reg_10_who_has_a_certificate_is_enrolled_at_once_where_that_is_set(open_desk: Desk) -> None:
    reply = await party(open_desk, create(ven_name=" carol "), STRANGER)
    carol = await ven(open_desk, "carol")
    assert (reply.ven_id, reply.registration_id) == (carol.ven_id, carol.registration_id)
    async with open_desk.db.read() as conn:
        assert await registration.strangers(conn) == []
    nameless = await party(open_desk, create(ven_name=None), BOB)
    assert (await ven(open_desk, f"ven-{BOB[-20:]}")).ven_id == nameless.ven_id


async def test_reg_10_a_name_that_is_taken_admits_nobody(open_desk: Desk) -> None:
    await party(open_desk, create(ven_name="carol"), STRANGER)
    reply = await party(open_desk, create(ven_name="carol"), BOB)
    assert (reply.response.code, reply.ven_id) == ("463", None)
    async with open_desk.db.read() as conn:
        assert await registration.ven_of(conn, BOB, NOW) is None
        assert [each.ven_name for each in await registration.vens(conn)] == ["carol"]


async def test_reg_09_a_ven_id_that_nobody_agreed_with_a_stranger_is_refused(open_desk: Desk) -> None:
    reply = await party(open_desk, create(ven_name="carol", ven_id="ven-7"), STRANGER)
    assert (reply.response.code, reply.ven_id) == ("452", None)
    async with open_desk.db.read() as conn:
        assert await registration.vens(conn) == []


async def test_reg_09_a_preset_ven_id_is_compared_case_sensitively(desk: Desk) -> None:
    async with desk.db.write() as conn:
        await registration.enrol(conn, "alice", ALICE, NOW, ven_id="Ven-7")
    assert (await party(desk, create(ven_id="ven-7"))).response.code == "452"
    assert (await party(desk, create(ven_id="Ven-7"))).ven_id == "Ven-7"


@pytest.mark.criterion("GEN-16", who="vtn")
async def test_a_registration_without_its_pull_model_is_incomplete(desk: Desk) -> None:
    await desk.enrol()
    assert (await party(desk, create(http_pull_model=None))).response.code == "459"
    assert (await ven(desk)).registration_id is None


@pytest.mark.parametrize(
    "change",
    [
        {"profile_name": ProfileName.A},
        {"transport_name": TransportName.XMPP, "transport_address": "a@b.test"},
        {"http_pull_model": False, "transport_address": "https://ven.test/"},
    ],
    ids=["profile", "transport", "push"],
)
async def test_a_renewal_on_terms_that_are_not_offered_leaves_the_registration(
    desk: Desk, change: dict[str, object]
) -> None:
    ven_id = await desk.settle_in()
    before = await ven(desk)
    again = {"registration_id": before.registration_id, "ven_id": ven_id}
    reply = await party(desk, create(**again, **change))
    assert (reply.response.code, reply.registration_id) == ("469", None)
    assert reply.profiles  # says what is offered
    assert await ven(desk) == before
    polled = await desk.say(Poll(ven_id=ven_id))
    assert isinstance(polled, Response)
    assert polled.response.code == "200"
