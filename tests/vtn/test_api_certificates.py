"""The operator's API: certificates that soon end, enrolment by profile and overlap (SEC-14, SEC-15)."""

from __future__ import annotations

from datetime import timedelta

from openadr.security import short_form
from tests.vtn.desk import ALICE, BOB, NOW
from tests.vtn.office import Clerk
from vtn import certificate


async def seen(clerk: Clerk, fingerprint: str, days: int) -> None:
    async with clerk.desk.db.write() as conn:
        await certificate.seen(conn, {fingerprint: NOW + timedelta(days=days)})


async def test_sec_15_an_operator_sees_what_ends_soon(clerk: Clerk) -> None:
    await seen(clerk, ALICE, 20)
    assert (await clerk.get("/vtn/certificates/ending?days=19"))["ending"] == []
    (one,) = (await clerk.get("/vtn/certificates/ending"))["ending"]
    assert one == {
        "ven_id": clerk.desk.ids[ALICE],
        "ven_name": "alice",
        "short": short_form(ALICE),
        "fingerprint": ALICE,
        "ends_at": "2026-03-22T12:00:00Z",
    }


async def test_sec_15_an_overlap_is_given_at_enrolment(clerk: Clerk) -> None:
    body = {"ven_name": "alice", "fingerprint": "d4" * 32, "overlap_days": 3}
    certificates = (await clerk.post("/vtn/vens", body))["certificates"]
    assert {one["short"]: one.get("valid_until") for one in certificates} == {
        short_form(ALICE): "2026-03-05T12:00:00Z",
        short_form("d4" * 32): None,
    }


async def test_sec_14_a_short_fingerprint_of_2_0a_is_awaited_as_sha_1(clerk: Clerk) -> None:
    body = {"ven_name": "old", "fingerprint": short_form(BOB), "profile": "2.0a"}
    (awaited,) = (await clerk.post("/vtn/vens", body))["certificates"]
    assert "fingerprint" not in awaited
    async with clerk.desk.db.read() as conn:
        (one,) = await certificate.enrolled(conn, (await clerk.get("/vtn/vens/old"))["ven_id"])
    assert (one.digest, one.short) == ("sha1", short_form(BOB))
