"""Which certificates are a VEN's: as typed, two for a while, withdrawn (SEC-14, SEC-15)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from openadr import CreatePartyRegistration, Message, Poll, Response
from openadr.enums import ProfileName
from openadr.security import Digest, read_fingerprint, short_form
from tests.vtn.desk import ALICE, BOB, NOW, STRANGER, Desk
from vtn import certificate, registration
from vtn.certificate import OVERLAP, Enrolled
from vtn.errors import CertificateRefused, UnknownObject

THIRD = "d4" * 32
DAY = timedelta(days=1)


async def enrol(desk: Desk, fingerprint: str, name: str = "alice", **more: object) -> str:
    async with desk.db.write() as conn:
        return await registration.enrol(conn, name, fingerprint, desk.now, **more)  # type: ignore[arg-type] - by name


async def withdraw(desk: Desk, fingerprint: str) -> Enrolled:
    async with desk.db.write() as conn:
        return await certificate.withdraw(conn, read_fingerprint(fingerprint), desk.now)


async def known(desk: Desk) -> dict[str | None, Enrolled]:
    async with desk.db.read() as conn:
        return {one.fingerprint: one for one in await certificate.enrolled(conn)}


async def code(desk: Desk, who: str, message: Message | None = None) -> str:
    """What a poll with this certificate is answered with."""
    reply = await desk.say(message or Poll(ven_id=desk.ids[ALICE]), who)
    assert isinstance(reply, Response)
    return reply.response.code


@pytest.mark.criterion("SEC-14", who="vtn")
@pytest.mark.parametrize("typed", [short_form(BOB), BOB, BOB.upper(), bytes.fromhex(BOB).hex(":")])
async def test_sec_14_an_operator_may_type_any_form(desk: Desk, typed: str) -> None:
    ven_id = await enrol(desk, typed)
    create = CreatePartyRegistration(request_id="r", ven_name="alice", http_pull_model=True)
    reply = await desk.say(create, BOB)
    assert getattr(reply, "ven_id", None) == ven_id
    assert set(await known(desk)) == {BOB}


@pytest.mark.goal(8)
async def test_sec_14_a_short_form_is_one_certificates_and_then_no_others(desk: Desk) -> None:
    """GOALS 8: two certificates with the same short form are two principals, whichever comes first."""
    desk.ids[ALICE] = await enrol(desk, short_form(ALICE))
    assert await code(desk, "00" * 22 + BOB[-20:]) == "463"
    assert set(await known(desk)) == {None}
    create = CreatePartyRegistration(request_id="r", ven_name="alice", http_pull_model=True)
    assert getattr(await desk.say(create, ALICE), "response", None) is not None
    twin = "00" * 22 + ALICE[-20:]
    assert await code(desk, twin) == "463"
    assert set(await known(desk)) == {ALICE}


async def test_sec_14_a_short_form_of_2_0a_is_no_tail_of_sha_256(desk: Desk) -> None:
    desk.ids[ALICE] = await enrol(desk, short_form(ALICE), profile=ProfileName.A)
    assert await code(desk, ALICE) == "463"
    (waiting,) = (await known(desk)).values()
    assert (waiting.fingerprint, waiting.digest, waiting.short) == (None, Digest.SHA1, short_form(ALICE))
    with pytest.raises(CertificateRefused, match="another VEN"):
        await enrol(desk, short_form(ALICE), "bob", profile=ProfileName.A)
    await enrol(desk, ALICE)
    assert await code(desk, ALICE) == "463"  # known now, and not registered


@pytest.mark.goal(16)
async def test_sec_15_two_certificates_are_taken_until_the_overlap_is_over(desk: Desk) -> None:
    desk.ids[ALICE] = ven_id = await desk.settle_in()
    before = await vens(desk)
    assert await enrol(desk, BOB) == ven_id
    for instant, codes in (
        (NOW, ("200", "200")),
        (NOW + OVERLAP - timedelta(seconds=1), ("200", "200")),
        (NOW + OVERLAP, ("463", "200")),
        (NOW + 10 * OVERLAP, ("463", "200")),
    ):
        desk.now = instant
        assert (await code(desk, ALICE), await code(desk, BOB)) == codes
    assert [one.registration_id for one in await vens(desk)] == [before[0].registration_id]


async def vens(desk: Desk) -> list[registration.Ven]:
    async with desk.db.read() as conn:
        return await registration.vens(conn)


async def test_sec_15_the_overlap_is_the_operators_and_only_gets_shorter(desk: Desk) -> None:
    desk.ids[ALICE] = await desk.settle_in()
    await enrol(desk, BOB, overlap=2 * DAY)
    await enrol(desk, BOB, overlap=9 * DAY)  # the same again changes nothing
    assert {one.fingerprint: one.valid_until for one in (await known(desk)).values()} == {
        ALICE: NOW + 2 * DAY,
        BOB: None,
    }
    desk.now += 2 * DAY
    await enrol(desk, THIRD, overlap=DAY)
    ends = {one.fingerprint: one.valid_until for one in (await known(desk)).values()}
    assert ends == {ALICE: NOW + 2 * DAY, BOB: NOW + 3 * DAY, THIRD: None}


async def test_sec_15_a_third_certificate_is_refused_while_two_are_valid(desk: Desk) -> None:
    desk.ids[ALICE] = await desk.settle_in()
    await enrol(desk, BOB)
    for typed in (THIRD, short_form(THIRD)):
        with pytest.raises(CertificateRefused, match="2 valid certificates already"):
            await enrol(desk, typed)
    async with desk.db.write() as conn:
        await certificate.seen(conn, {ALICE: NOW})  # expired by itself: it counts no more
    await enrol(desk, THIRD)


@pytest.mark.goal(16)
async def test_goals_16_a_withdrawn_certificate_is_refused_at_the_next_request_for_good(desk: Desk) -> None:
    desk.ids[ALICE] = await desk.settle_in()
    await enrol(desk, BOB)
    assert await code(desk, BOB) == "200"
    assert (await withdraw(desk, short_form(BOB))).fingerprint == BOB
    assert (await code(desk, BOB), await code(desk, ALICE)) == ("463", "200")
    for typed in (BOB, short_form(BOB)):
        with pytest.raises(CertificateRefused, match="enrol another"):
            await enrol(desk, typed)
    await desk.restart()
    assert await code(desk, BOB) == "463"
    with pytest.raises(UnknownObject, match="no valid certificates"):
        await withdraw(desk, BOB)


async def test_a_short_form_that_waits_can_be_withdrawn(desk: Desk) -> None:
    desk.ids[ALICE] = await enrol(desk, short_form(ALICE))
    await enrol(desk, short_form(ALICE))
    await withdraw(desk, short_form(ALICE))
    assert await code(desk, ALICE) == "463"
    assert await known(desk) == {}


async def test_sec_14_a_certificate_is_one_vens_however_it_is_typed(desk: Desk) -> None:
    await enrol(desk, ALICE)
    await enrol(desk, short_form(BOB), "bob")
    for typed, name in (
        (short_form(ALICE), "bob"),
        (ALICE, "bob"),
        (BOB, "alice"),
        (short_form(BOB), "alice"),
    ):
        with pytest.raises(CertificateRefused, match="another VEN"):
            await enrol(desk, typed, name)
    assert await enrol(desk, short_form(ALICE)) == await enrol(desk, ALICE)
    await enrol(desk, BOB, "bob")
    assert set(await known(desk)) == {ALICE, BOB}


async def test_a_withdrawn_certificate_is_not_let_in_by_itself(desk: Desk) -> None:
    await desk.settle_in()
    await withdraw(desk, ALICE)
    await desk.server.stop()
    opened = await Desk.open(desk.db, desk.http, enrolment="auto")
    create = CreatePartyRegistration(request_id="r", ven_name="somebody", http_pull_model=True)
    reply = await opened.say(create, ALICE)
    assert getattr(reply, "response", None).code == "463"  # type: ignore[union-attr] - every reply has one
    created = await opened.say(create, STRANGER)
    assert getattr(created, "ven_id", None) is not None
    await opened.server.stop()


@pytest.mark.criterion("SEC-15", who="vtn")
async def test_sec_15_what_ends_soon_is_listed_unless_it_was_replaced(desk: Desk) -> None:
    async def ending() -> list[str | None]:
        async with desk.db.read() as conn:
            return [one.fingerprint for one in await certificate.ending(conn, desk.now, 30 * DAY)]

    async def seen(fingerprint: str, days: float) -> None:
        async with desk.db.write() as conn:
            await certificate.seen(conn, {fingerprint: desk.now + days * DAY})

    await enrol(desk, ALICE)
    assert await ending() == []
    await seen(ALICE, 31)
    assert await ending() == []
    await seen(ALICE, 30)
    assert await ending() == [ALICE]
    await enrol(desk, short_form(BOB), overlap=7 * DAY)
    assert await ending() == [ALICE]  # the VEN has not come with the new one
    await enrol(desk, BOB)
    assert await ending() == [ALICE]
    await seen(BOB, 365)
    assert await ending() == []


@pytest.mark.parametrize("typed", ["", "5E:71", "5E:71:FA:E4:61:75:9C:EF:A4:D", "g" * 64, "a" * 63, ":" * 29])
async def test_what_is_no_fingerprint_is_refused_and_nobody_is_enrolled(desk: Desk, typed: str) -> None:
    with pytest.raises(ValueError, match="not a fingerprint: "):
        await enrol(desk, typed)
    assert await vens(desk) == []
