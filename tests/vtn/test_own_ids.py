"""Identifiers that are made here are plain and short; those of peers stay as they came (GOALS 12)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from openadr import CreatePartyRegistration
from tests.vtn.desk import ALICE, metadata
from tests.vtn.office import Clerk, peak
from ven.client import _new_id

OURS = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@pytest.mark.goal(12)
async def test_ids_that_are_made_here_are_plain(clerk: Clerk) -> None:
    desk = clerk.desk
    create = CreatePartyRegistration(request_id="<&>", http_pull_model=True, ven_name="alice")
    granted: Any = await desk.say(create)
    own: Any = await desk.poll()
    made = await clerk.post("/vtn/events", peak(event_id=None))
    await desk.say(metadata(desk.ids[ALICE]))
    asked = {"specifier_id": "spec-TELEMETRY_USAGE", "granularity": "PT15M", "report_back": "PT15M"}
    found = await clerk.post(f"/vtn/vens/{desk.ids[ALICE]}/report-requests", asked)
    ids = [
        granted.ven_id,
        granted.registration_id,
        granted.vtn_id,
        own.request_id,
        made["event_id"],
        found["report_request_id"],
        _new_id(),
    ]
    assert all(OURS.fullmatch(each) for each in ids), ids
    assert granted.response.request_id == "<&>"
