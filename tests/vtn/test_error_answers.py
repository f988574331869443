"""What a refusal tells: no fingerprint, trace, path or version, nor whether something exists (GOALS 9)."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import AsyncIterator
from itertools import product

import pytest

from openadr import CreatedEvent, Message, Poll, RequestEvent, decode, encode
from tests.vtn.desk import ALICE, STRANGER, Desk, created_event, make_event
from tests.vtn.schema_messages import NAMED, examples, service_of, with_ven_id
from tests.vtn.test_listener import SMUGGLED, said
from tests.vtn.test_principal import two_vens
from tests.vtn.test_robust import ATTACKS, MESSAGES
from tests.vtn.test_status import OPENADR, data_of
from vtn.exchange import SERVICES
from vtn.server import DEV_FINGERPRINT

SECRET = re.compile(
    rb'[0-9A-Fa-f]{40}|(?:[0-9A-Fa-f]{2}:){9}|0x[0-9a-f]{6}|Traceback|File "|\.py\b'
    rb"|/(?:home|usr|tmp|root|var|opt|etc|srv|mnt|work)/"
    rb"|(?i:sqlite|sqlalchemy|aiohttp|lxml|libxml|uvloop|python|select |insert )"
    rb"|vtn\.[a-z_]+\b|openadr\.(?!org)"
)
UNREADABLE = [
    (b">PT1H<", b">P5H<"),
    (b">PT1H<", b">PT99999999999H<"),
    (b"2026-03-02T12:00:00Z", b"2026-02-30T12:00:00Z"),
    (b"2026-03-02T12:00:00Z", b"9999-12-31T24:00:00Z"),
    (b">optOut<", b">optMaybe<"),
    (b">r<", b">" + b"r" * 129 + b"<"),
]
MEDIANS_APART_S = 0.020
ROUNDS = 15


async def refusals(desk: Desk) -> AsyncIterator[tuple[str, bytes]]:
    """Every answer to the corpus that is an error: head and body."""
    mine, other = await two_vens(desk)
    for name, raw in SMUGGLED.items():
        yield name, await said(desk.server.port, raw)
    for name, (_, method, path, body, headers) in OPENADR.items():
        sent = {DEV_FINGERPRINT: ALICE, **headers}
        async with desk.http.request(method, desk.url(path), data=data_of(body), headers=sent) as response:
            yield name, repr(response.headers).encode() + await response.read()
    bodies = list(ATTACKS.items()) + [(path.name, path.read_bytes()) for path in MESSAGES]
    for (name, raw), who in product(bodies, (ALICE, STRANGER)):
        yield f"{name} of {who[:2]}", await body_of_error(desk, "EiReport", raw, who)
    for name, message in examples(mine).items():
        raw = encode(message)
        service = service_of(message)
        for changed in {raw, *(raw.replace(old, new) for old, new in UNREADABLE)}:
            yield f"{name}: {changed!r}", await body_of_error(desk, service, changed)
        for where in {service, *sorted(SERVICES)[:2]}:
            yield f"{name} to {where}", await body_of_error(desk, where, raw, STRANGER)
        if name in NAMED:
            foreign = with_ven_id(message, other)
            yield f"{name} of another", await body_of_error(desk, service, foreign)


async def body_of_error(desk: Desk, service: str, raw: bytes, who: str = ALICE) -> bytes:
    """What is said beside the status, nothing where the message was taken."""
    status, body = await desk.post(service, raw, who)
    if status == 200:
        response = getattr(decode(body), "response", None)
        return b"" if response is None or response.is_success else body
    return body


@pytest.mark.goal(9)
@pytest.mark.criterion("ERR-04")
async def test_no_refusal_tells_a_fingerprint_a_trace_a_path_or_a_version(desk: Desk) -> None:
    told = {name: answer async for name, answer in refusals(desk)}
    assert sum(bool(answer) for answer in told.values()) > 150
    leaks = {name: found[0] for name, answer in told.items() if (found := SECRET.search(answer))}
    assert leaks == {}


@pytest.mark.goal(9)
@pytest.mark.parametrize(
    "text",
    [
        ALICE, "5E:71:FA:E4:61:75:9C:EF:A4:D6", "Traceback (most recent call last)", '  File "x", line 1',
        "vtn.exchange.refusal", "at /home/me/x", "sqlite3.OperationalError", "Server: Python/3.11",
    ],
)  # fmt: skip
def test_the_rule_sees_what_it_looks_for(text: str) -> None:
    assert SECRET.search(text.encode())


def asks(mine: str, other: str) -> dict[str, list[tuple[Message, str]]]:
    """Pairs of questions of which nobody may learn whether what they name exists: message and speaker."""

    def events_of(ven_id: str) -> RequestEvent:
        return RequestEvent(request_id="r", ven_id=ven_id)

    def answer(event_id: str) -> CreatedEvent:
        return created_event(mine, make_event(event_id))

    return {
        "a venID, of a stranger": [(Poll(other), STRANGER), (Poll("0" * len(other)), STRANGER)],
        "a venID": [(events_of(other), ALICE), (events_of("0" * len(other)), ALICE)],
        "an event": [(answer("event-of-bob"), ALICE), (answer("event-of-bot"), ALICE)],
        "a certificate": [(Poll(other), "d4" * 32), (Poll(other), STRANGER)],  # one that is enrolled, one not
    }


@pytest.mark.goal(9)
async def test_time_does_not_tell_what_exists(desk: Desk) -> None:
    """By the CPU that an answer takes: no other work on the machine blurs it."""
    mine, other = await two_vens(desk)
    await desk.enrol("d4" * 32, "carol")
    for name, pair in asks(mine, other).items():
        spent: tuple[list[float], list[float]] = ([], [])
        answers: tuple[set[bytes], set[bytes]] = (set(), set())
        for turn in range(2 * ROUNDS):
            message, who = pair[turn % 2]
            began = time.process_time()
            _, raw = await desk.post(service_of(message), encode(message), who)
            spent[turn % 2].append(time.process_time() - began)
            answers[turn % 2].add(raw.replace(b"of-bot", b"of-bob"))
        assert abs(statistics.median(spent[0]) - statistics.median(spent[1])) < MEDIANS_APART_S, name
        assert answers[0] == answers[1], name
