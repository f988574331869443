"""What waits for a VEN is what it was asked for still, and can give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from openadr import CreatedReport, CreateReport, EiResponse, RegisterReport, Response
from tests.vtn.desk import Desk, metadata
from tests.vtn.test_report_request import ASK, ask, ready, states, wanted
from vtn.report_request import RequestState


@pytest.mark.criterion("RPT-13", who="vtn")
@pytest.mark.parametrize("answered", [False, True], ids=["that waits", "that was taken"])
async def test_a_request_is_not_offered_once_its_report_is_offered_no_more(
    desk: Desk, answered: bool
) -> None:
    ven_id = await ready(desk)
    await ask(desk, ven_id, wanted())
    told = await desk.poll()
    assert isinstance(told, CreateReport)
    if answered:  # with a list that leaves it out: it was heard, and the message waits on
        strange = EiResponse.ok("another")
        await desk.say(CreatedReport(response=strange, pending_reports=(ASK,), ven_id=ven_id))
    await desk.say(RegisterReport(request_id="m2", ven_id=ven_id))
    assert isinstance(await desk.poll(), Response)
    ended = (await states(desk, ven_id))["op-1"]
    assert (ended.state, ended.outcome) == (RequestState.ENDED, "replaced")


@pytest.mark.criterion("RPT-22", who="vtn")
async def test_a_request_in_the_list_of_pending_ones_was_heard_whatever_the_answer_echoes(desk: Desk) -> None:
    ven_id = await ready(desk)
    await ask(desk, ven_id, wanted())
    assert isinstance(await desk.poll(), CreateReport)
    listed = CreatedReport(response=EiResponse.ok("mine"), pending_reports=(ASK, "op-1"), ven_id=ven_id)
    await desk.say(listed)
    assert (await states(desk, ven_id))["op-1"].state is RequestState.RUNNING
    assert isinstance(await desk.poll(), Response)


async def test_a_request_that_waits_outlives_metadata_that_offer_its_report_still(desk: Desk) -> None:
    ven_id = await ready(desk)
    await ask(desk, ven_id, wanted())
    await desk.say(replace(metadata(ven_id), request_id="m2"))
    assert isinstance(await desk.poll(), CreateReport)
