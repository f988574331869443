"""No message that the schema allows makes the server fail (GOALS 10): random ones, over the wire.

They are drawn from the schema files; to get far inside, their ids are those of things that exist, half of the
time. The VEN that sends them has an event, reports and a schedule.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lxml import etree

from openadr import decode
from openadr.codec import messages
from openadr.parser import DEFAULT_LIMITS, schema
from openadr.wire import NAMESPACES
from tests.openadr.test_schema_walk import the_schema
from tests.vtn.desk import ALICE, BOB, Desk, make_event, metadata
from tests.vtn.test_opt import schedule
from vtn.exchange import ROUTES, SERVICES

TAGS = sorted(messages())
EI, OADR = (f"{{{NAMESPACES[prefix]}}}" for prefix in ("ei", "oadr"))
KNOWN = {
    f"{EI}eventID": ("e1", "e2"),
    f"{EI}reportRequestID": ("ask-TELEMETRY_USAGE", "ask-HISTORY_USAGE"),
    f"{EI}reportSpecifierID": ("spec-TELEMETRY_USAGE", "METADATA"),
    f"{EI}rID": ("load", "home-01"),
    f"{EI}optID": ("o1",),
    f"{EI}modificationNumber": ("0", "1"),
    f"{EI}responseCode": ("200",),
}


def random_body(random: Random, tag: str, ven_id: str) -> bytes:
    """A random message of this type in its wrapper."""
    payload = etree.Element(f"{OADR}oadrPayload")
    message = the_schema().message(random, tag)
    etree.SubElement(payload, f"{OADR}oadrSignedObject").append(message)
    for element in payload.iter(*KNOWN, f"{EI}venID"):
        if random.random() < 0.5:
            known = KNOWN.get(str(element.tag), (ven_id,))
            element.text = random.choice(known)
    return etree.tostring(payload)


async def settled(desk: Desk) -> str:
    """A VEN that has something of everything."""
    ven_id = await desk.settle_in()
    await desk.publish(make_event("e1"))
    await desk.say(metadata(ven_id))
    await desk.say(schedule(ven_id))
    return ven_id


async def statuses(desk: Desk, tag: str, seed: int) -> set[int]:
    """How a random message is answered; each answer is a message that the schema allows."""
    random = Random(seed)
    raw = random_body(random, tag, desk.ids[ALICE])
    assume(len(raw) <= DEFAULT_LIMITS.max_bytes)  # the schema knows no limit; 413 has tests of its own
    assert schema().validate(etree.fromstring(raw)), tag
    route = ROUTES.get(messages()[tag])
    found = set()
    fitting = sorted(route.services) if route else []
    for service in {random.choice(fitting or sorted(SERVICES)), random.choice(sorted(SERVICES))}:
        for who in (ALICE, BOB):
            status, reply = await desk.post(service, raw, who)
            found.add(status)
            decode(reply)
    return found


@pytest.mark.goal(10)
@settings(max_examples=70, deadline=None, suppress_health_check=list(HealthCheck))
@given(tag=st.sampled_from(TAGS), seed=st.integers(0, 2**32))
async def test_no_random_message_makes_the_server_fail(tag: str, seed: int, desk: Desk) -> None:
    if not desk.ids:
        await settled(desk)
    assert await statuses(desk, tag, seed) == {200}


@pytest.mark.long
@pytest.mark.goal(10)
@pytest.mark.parametrize("tag", TAGS, ids=lambda tag: tag.rpartition("}")[2])
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
async def test_no_random_message_of_many_makes_the_server_fail(tag: str, seed: int, desk: Desk) -> None:
    if not desk.ids:
        await settled(desk)
    assert await statuses(desk, tag, seed) == {200}
