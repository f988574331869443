"""The operator's API: who may register, and whose registration ends."""

from __future__ import annotations

from datetime import timedelta

import pytest

from openadr import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    EiResponse,
    Poll,
    RequestReregistration,
    Response,
)
from tests.vtn.desk import ALICE, BOB, STRANGER, metadata
from tests.vtn.office import Clerk, peak

SHORT = ":".join([STRANGER[:2].upper()] * 10)
REGISTER = CreatePartyRegistration(request_id="r", ven_name="carol", http_pull_model=True)


async def states(clerk: Clerk) -> dict[str, str]:
    return {ven["ven_name"]: ven["state"] for ven in (await clerk.get("/vtn/vens"))["vens"]}


async def test_vens_are_listed_with_their_state(clerk: Clerk) -> None:
    await clerk.desk.register(BOB, "bob")
    assert await states(clerk) == {"alice": "enrolled", "bob": "registered"}


async def test_a_ven_is_found_by_id_and_by_name(clerk: Clerk) -> None:
    by_name = await clerk.get("/vtn/vens/alice")
    assert by_name == await clerk.get(f"/vtn/vens/{clerk.desk.ids[ALICE]}")
    assert [each["fingerprint"] for each in by_name["certificates"]] == [ALICE]
    problem = await clerk.refused(404, "GET", "/vtn/vens/nobody")
    assert problem["detail"] == "no VEN has the id or name 'nobody'"


async def test_the_last_contact_is_known_at_once(clerk: Clerk) -> None:
    await clerk.desk.settle_in()
    clerk.desk.now += timedelta(minutes=3)
    await clerk.desk.poll()
    assert (await clerk.get("/vtn/vens/alice"))["last_contact"] == "2026-03-02T12:03:00Z"


async def test_gen_20_the_clock_of_a_ven_is_shown_when_it_has_told(clerk: Clerk) -> None:
    ven_id = await clerk.desk.settle_in()
    assert "clock_skew_s" not in await clerk.get("/vtn/vens/alice")
    clerk.desk.now += timedelta(seconds=75)
    await clerk.desk.say(metadata(ven_id))
    assert (await clerk.get("/vtn/vens/alice"))["clock_skew_s"] == -75.0


@pytest.mark.parametrize(
    "fingerprint", [STRANGER, STRANGER.upper(), SHORT], ids=["whole", "capitals", "short"]
)
async def test_an_enrolled_certificate_may_register(clerk: Clerk, fingerprint: str) -> None:
    enrolled = await clerk.post("/vtn/vens", {"ven_name": "carol", "fingerprint": fingerprint})
    assert enrolled["state"] == "enrolled"
    answer = await clerk.desk.say(REGISTER, STRANGER)
    assert isinstance(answer, CreatedPartyRegistration)
    assert answer.ven_id == enrolled["ven_id"]
    assert (await states(clerk))["carol"] == "registered"


async def test_the_id_may_be_chosen(clerk: Clerk) -> None:
    body = {"ven_name": "carol", "fingerprint": STRANGER, "ven_id": "ven 7/b"}
    assert (await clerk.post("/vtn/vens", body))["ven_id"] == "ven 7/b"
    assert (await clerk.get("/vtn/vens/ven%207%2Fb"))["ven_name"] == "carol"
    problem = await clerk.refused(409, "POST", "/vtn/vens", {**body, "ven_id": "another"})
    assert problem["errors"][0]["field"] == "ven_id"


async def test_the_same_certificate_again_changes_nothing(clerk: Clerk) -> None:
    body = {"ven_name": "carol", "fingerprint": STRANGER}
    assert await clerk.post("/vtn/vens", body) == await clerk.post("/vtn/vens", body)


async def test_a_certificate_of_another_ven_is_refused_by_field(clerk: Clerk) -> None:
    body = {"ven_name": "carol", "fingerprint": ALICE}
    problem = await clerk.refused(409, "POST", "/vtn/vens", body)
    assert problem["errors"][0]["field"] == "fingerprint"
    assert ALICE in problem["errors"][0]["value"]
    assert "carol" not in await states(clerk)


@pytest.mark.parametrize("fingerprint", ["5E:71", "", "x" * 64, 12])
async def test_what_is_no_fingerprint_is_refused_by_field(clerk: Clerk, fingerprint: object) -> None:
    body = {"ven_name": "carol", "fingerprint": fingerprint}
    problem = await clerk.refused(422, "POST", "/vtn/vens", body)
    assert problem["errors"][0]["field"] == "fingerprint"


async def test_a_name_or_id_that_xml_cannot_hold_is_refused(clerk: Clerk) -> None:
    for field in ("ven_name", "ven_id"):
        for text in ("a\u0000", "\u0007", "\uffff", "\ud800", "", "x" * 129):
            body = {"ven_name": "carol", "fingerprint": STRANGER, field: text}
            status, _ = await clerk.ask("POST", "/vtn/vens", body)
            assert status in (400, 422), (field, text)
    assert "carol" not in await states(clerk)


async def test_a_second_certificate_is_added_and_the_first_withdrawn(clerk: Clerk) -> None:
    await clerk.desk.register()
    body = {"ven_name": "alice", "fingerprint": STRANGER}
    assert len((await clerk.post("/vtn/vens", body))["certificates"]) == 2
    clerk.desk.ids[STRANGER] = clerk.desk.ids[ALICE]
    for who in (ALICE, STRANGER):
        assert not isinstance(await clerk.desk.poll(who), Response)
    await clerk.ask("DELETE", f"/vtn/vens/alice/certificates/{ALICE}")
    refused = await clerk.desk.say(Poll(ven_id=clerk.desk.ids[ALICE]), ALICE)
    assert isinstance(refused, Response)
    assert refused.response.code == "463"
    assert not isinstance(await clerk.desk.poll(STRANGER), Response)


async def test_only_certificates_of_the_named_ven_are_withdrawn(clerk: Clerk) -> None:
    await clerk.refused(404, "DELETE", f"/vtn/vens/bob/certificates/{ALICE}")
    await clerk.refused(404, "DELETE", f"/vtn/vens/bob/certificates/{STRANGER}")
    await clerk.refused(422, "DELETE", "/vtn/vens/bob/certificates/what")
    shown = await clerk.get("/vtn/vens/alice")
    assert "valid_until" not in shown["certificates"][0]


async def test_a_stranger_is_approved_by_the_fingerprint_that_he_reads_out(clerk: Clerk) -> None:
    await clerk.desk.say(REGISTER, STRANGER)
    (waiting,) = (await clerk.get("/vtn/pending"))["pending"]
    assert (waiting["short"], waiting["ven_name"]) == (SHORT, "carol")
    approved = await clerk.post(f"/vtn/pending/{SHORT}/approve")
    assert approved["ven_name"] == "carol"
    assert (await clerk.get("/vtn/pending"))["pending"] == []
    answer = await clerk.desk.say(REGISTER, STRANGER)
    assert isinstance(answer, CreatedPartyRegistration)
    assert answer.response.code == "200"


async def test_a_stranger_does_not_become_a_ven_by_its_name(clerk: Clerk) -> None:
    await clerk.desk.say(
        CreatePartyRegistration(request_id="r", ven_name="alice", http_pull_model=True), STRANGER
    )
    problem = await clerk.refused(409, "POST", f"/vtn/pending/{STRANGER}/approve")
    assert problem["errors"][0]["value"] == '"alice"'
    await clerk.post(f"/vtn/pending/{STRANGER}/approve", {"ven_name": "alice"})
    assert len((await clerk.get("/vtn/vens/alice"))["certificates"]) == 2


async def test_a_stranger_without_a_name_needs_one(clerk: Clerk) -> None:
    await clerk.desk.say(CreatePartyRegistration(request_id="r", http_pull_model=True), STRANGER)
    problem = await clerk.refused(422, "POST", f"/vtn/pending/{SHORT}/approve")
    assert problem["errors"][0]["field"] == "ven_name"


@pytest.mark.parametrize("fingerprint", [STRANGER, SHORT, "c3", "C3:C3"])
async def test_nobody_is_approved_who_did_not_ask(clerk: Clerk, fingerprint: str) -> None:
    if len(fingerprint) < 29:
        await clerk.desk.say(REGISTER, STRANGER)
    await clerk.refused(404, "POST", f"/vtn/pending/{fingerprint}/approve")
    assert "carol" not in await states(clerk)


async def test_a_suspended_ven_is_answered_as_a_stranger_until_it_is_resumed(clerk: Clerk) -> None:
    await clerk.desk.settle_in()
    await clerk.post("/vtn/events", peak())
    suspended = await clerk.post("/vtn/vens/alice/suspend")
    assert suspended["state"] == "suspended"
    since = suspended["suspended_at"]
    clerk.desk.now += timedelta(minutes=1)
    assert (await clerk.post("/vtn/vens/alice/suspend"))["suspended_at"] == since
    refused = await clerk.desk.poll()
    assert isinstance(refused, Response)
    assert refused.response.code == "463"
    assert (await clerk.post("/vtn/vens/alice/resume"))["state"] == "registered"
    assert not isinstance(await clerk.desk.poll(), Response)


async def test_reg_18_a_registration_is_cancelled_at_the_next_poll(clerk: Clerk) -> None:
    ven_id = await clerk.desk.settle_in()
    asked = await clerk.post("/vtn/vens/alice/cancel-registration")
    assert asked["waiting"] == {"cancel_party_registration": 1}
    told = await clerk.desk.poll()
    assert isinstance(told, CancelPartyRegistration)
    done = CanceledPartyRegistration(
        response=EiResponse.ok(told.request_id), registration_id=told.registration_id, ven_id=ven_id
    )
    await clerk.desk.say(done)
    assert (await states(clerk))["alice"] == "enrolled"


async def test_reg_16_a_ven_is_asked_to_register_again_at_the_next_poll(clerk: Clerk) -> None:
    await clerk.desk.settle_in()
    await clerk.post("/vtn/vens/alice/register-again")
    assert isinstance(await clerk.desk.poll(), RequestReregistration)


@pytest.mark.parametrize("action", ["cancel-registration", "register-again"])
async def test_what_needs_a_registration_is_a_conflict_without_one(clerk: Clerk, action: str) -> None:
    problem = await clerk.refused(409, "POST", f"/vtn/vens/alice/{action}")
    assert problem["detail"] == "the VEN 'alice' is not registered"
    problem = await clerk.refused(404, "POST", f"/vtn/vens/nobody/{action}")
    assert "'nobody'" in problem["detail"]


async def test_the_operator_says_whose_signatures_are_required(clerk: Clerk) -> None:
    assert (await clerk.get("/vtn/vens/alice"))["signs"] is False
    required = await clerk.patch("/vtn/vens/alice", {"signature_required": True, "signature_leniency": True})
    assert [required[name] for name in ("signs", "signature_required", "signature_leniency")] == [True] * 3
    lifted = await clerk.patch("/vtn/vens/alice", {"signature_required": False})
    assert (lifted["signs"], lifted["signature_leniency"]) == (False, True)
    await clerk.patch("/vtn/vens/alice", {"signature_leniency": False})


async def test_a_ven_may_have_a_rhythm_and_leniency_of_its_own(clerk: Clerk) -> None:
    changed = await clerk.patch("/vtn/vens/alice", {"poll_period_s": 60, "lenient": True})
    assert (changed["poll_period_s"], changed["lenient"]) == (60, True)
    back = await clerk.patch("/vtn/vens/alice", {"poll_period_s": 0})
    assert ("poll_period_s" in back, back["lenient"]) == (False, True)
    problem = await clerk.refused(422, "PATCH", "/vtn/vens/alice", {"poll_period_s": 100_000})
    assert problem["errors"][0] == {
        "field": "poll_period_s",
        "value": "100000",
        "detail": "Input should be less than or equal to 86400",
    }
