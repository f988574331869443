"""The certificate against the venID of a payload: who is refused, and how (SEC-11, SEC-12)."""

from __future__ import annotations

import pytest

from openadr import CreatePartyRegistration
from tests.vtn.desk import BOB, STRANGER, Desk
from tests.vtn.test_exchange import messages, response_of
from vtn.exchange import ROUTES
from vtn.registration import NOT_REGISTERED


@pytest.mark.criterion("SEC-12")
async def test_sec_11_a_certificate_of_nobody_registered_gets_463_for_a_registered_vens_id(
    desk: Desk,
) -> None:
    """The certificate of nobody, and of a VEN that has not registered, each with Alice's id."""
    theirs = await desk.settle_in()
    await desk.enrol(BOB, "bob")
    for kind, (message, fitting) in messages(theirs).items():
        if not hasattr(message, "ven_id"):
            continue
        for who in (STRANGER,) if ROUTES[kind].open_to_unregistered else (STRANGER, BOB):
            reply = await desk.say(message, who)
            assert type(reply) is fitting, kind
            assert response_of(reply).code == "463", kind


@pytest.mark.goal(9)
async def test_sec_11_the_words_do_not_tell_whether_the_id_exists(desk: Desk) -> None:
    theirs = await desk.settle_in()
    for ven_id in (theirs, "nobody"):
        create = CreatePartyRegistration(request_id="r", ven_name="x", ven_id=ven_id, http_pull_model=True)
        response = response_of(await desk.say(create, STRANGER))
        assert (response.code, response.description) == ("463", NOT_REGISTERED)
