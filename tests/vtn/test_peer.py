"""How the server meets its peers, whatever the service: ids, codes, clocks, hooks (GEN, HTTP, ERR)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

import vtn
from openadr import (
    CreateOpt,
    CreatePartyRegistration,
    DistributeEvent,
    Duration,
    Message,
    Poll,
    RequestEvent,
    Response,
    decode,
    encode,
)
from openadr.enums import OptType
from openadr.rules import UNASSIGNED_CODES
from tests.vtn.desk import ALICE, BOB, NOW, STRANGER, Desk, created_event, make_event, metadata, usage
from tests.vtn.test_exchange import messages, response_of
from vtn import hooks, registration
from vtn.errors import DuplicateEvent, StartupError
from vtn.event import event_states
from vtn.exchange import ROUTES
from vtn.hooks import Refusal
from vtn.registration import Ven
from vtn.server import BASE, DEV_FINGERPRINT, Server
from vtn.settings import Enrolment, VtnSettings


async def restart_with(desk: Desk, hook: Any, **more: Any) -> None:
    """The same VTN with a hook of an integrator's."""
    await desk.server.stop()
    settings = VtnSettings(port=0, insecure_dev=True, **more)
    desk.server = Server(settings, desk.db, lambda: desk.now, lambda _ven, _reports, _now: [], hook)
    await desk.server.start()


async def test_gen_10_every_reply_that_can_names_the_ven(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    for kind, (message, _) in messages(ven_id).items():
        reply = await desk.say(message)
        if hasattr(reply, "ven_id"):
            assert reply.ven_id == ven_id, kind


async def test_gen_12_ids_differ_by_case(desk: Desk) -> None:
    async with desk.db.write() as conn:
        desk.ids[ALICE] = await registration.enrol(conn, "alice", ALICE, NOW, ven_id="Node-A")
        desk.ids[BOB] = await registration.enrol(conn, "bob", BOB, NOW, ven_id="node-a")
    for who, name in ((ALICE, "alice"), (BOB, "bob")):
        await desk.settle_in(who, name)
    for asked, code in (("Node-A", "200"), ("node-a", "452"), ("NODE-A", "452")):
        assert response_of(await desk.say(RequestEvent(request_id="r", ven_id=asked))).code == code


@pytest.mark.criterion("GEN-16", who="vtn")
async def test_gen_16_what_is_missing_is_459_a_wrong_id_452_and_nonsense_another_4xx(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    create = replace(messages(ven_id)[next(k for k in ROUTES if k.__name__ == "CreatePartyRegistration")][0])
    codes = {
        "no pull model": response_of(await desk.say(replace(create, http_pull_model=None))).code,
        "wrong id": response_of(await desk.say(Poll(ven_id="x"))).code,
        "unexpected": response_of(
            await desk.say(DistributeEvent(request_id="r", vtn_id="v"), service="EiEvent")
        ).code,
        "negative length": response_of(await desk.say(backwards(ven_id))).code,
    }
    assert codes.pop("negative length")[0] == "4"
    assert codes == {"no pull model": "459", "wrong id": "452", "unexpected": "459"}


def backwards(ven_id: str) -> CreateOpt:
    """An opt schedule of a negative length."""
    opt = messages(ven_id)[CreateOpt][0]
    assert isinstance(opt, CreateOpt)
    (period,) = opt.availability
    return replace(opt, availability=(replace(period, duration=Duration(-3600)),))


async def test_gen_19_no_two_vens_of_one_id_and_no_two_events_of_one_id_for_a_ven(desk: Desk) -> None:
    mine, theirs = await desk.settle_in(), await desk.settle_in(BOB, "bob")
    assert mine != theirs
    with pytest.raises(IntegrityError):
        async with desk.db.write() as conn:
            await registration.enrol(conn, "carol", "d4" * 32, NOW, ven_id=mine)
    await desk.publish(make_event("e1"))
    await desk.publish(make_event("e1"), BOB)  # another VEN's may have the same id
    with pytest.raises(DuplicateEvent):
        await desk.publish(make_event("e1", NOW + timedelta(hours=7)))


async def test_gen_20_the_clock_of_each_ven_is_measured(desk: Desk) -> None:
    mine, theirs = await desk.settle_in(), await desk.settle_in(BOB, "bob")
    assert desk.server.clock_skews() == {}
    await desk.say(metadata(mine))
    desk.now = NOW + timedelta(minutes=5)
    await desk.say(metadata(theirs), BOB)
    assert desk.server.clock_skews() == {mine: timedelta(0), theirs: timedelta(minutes=-5)}
    ahead = replace(messages(mine)[CreateOpt][0], created_date_time=desk.now + timedelta(seconds=90))
    assert response_of(await desk.say(ahead)).is_success  # tolerated, and shown
    assert desk.server.clock_skews()[mine] == timedelta(seconds=90)


async def test_err_02_an_answer_with_any_4xx_or_5xx_is_a_refusal(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    for number, code in enumerate(("400", "462", "499", "500", "599")):
        made = make_event(f"e{number}", NOW + timedelta(hours=2 * number + 1))
        await desk.publish(made)
        reply = await desk.say(created_event(ven_id, made, OptType.OPT_OUT, code))
        assert response_of(reply).is_success
        async with desk.db.read() as conn:
            (state,) = await event_states(conn, made.event_id)
        assert (state.response_code, state.opt) == (code, OptType.OPT_OUT)


@pytest.mark.criterion("ERR-01", who="both")
def test_err_01_no_source_of_ours_says_a_code_that_is_unassigned() -> None:
    said = set()
    for package in ("vtn", "ven", "openadr"):
        for path in (Path(vtn.__file__).parents[1] / package).glob("*.py"):
            said |= set(
                re.findall(
                    r'(?:EiResponse|Refusal|RefusedRequestError|Fault)\(\s*"(\d{3})"', path.read_text()
                )
            )
            said |= set(re.findall(r'^\s*(?:return|code =) "([45]\d\d)"', path.read_text(), re.MULTILINE))
    assert {"452", "454"} <= said
    assert not said & UNASSIGNED_CODES
    assert said <= {"200", "403", "406", "413", *(str(code) for code in range(450, 470))}


async def test_err_05_an_integrators_refusal_is_told_in_the_fitting_payload_and_undone(desk: Desk) -> None:
    seen: list[tuple[str, str]] = []

    async def review(message: Message, ven: Ven, conn: AsyncConnection, now: datetime) -> None:
        seen.append((type(message).__name__, ven.ven_id))
        if isinstance(message, CreateOpt):
            raise Refusal("469", "no opts on a holiday")

    ven_id = await desk.settle_in()
    await restart_with(desk, review)
    opt = messages(ven_id)[CreateOpt][0]
    assert isinstance(opt, CreateOpt)
    reply: Any = await desk.say(opt)
    assert (type(reply).__name__, reply.opt_id) == ("CreatedOpt", opt.opt_id)
    assert (reply.response.code, reply.response.description, reply.response.request_id) == (
        "469",
        "no opts on a holiday",
        opt.request_id,
    )
    assert response_of(await desk.say(RequestEvent(request_id="r", ven_id=ven_id))).is_success
    assert seen == [("CreateOpt", ven_id), ("RequestEvent", ven_id)]
    # what is refused before it comes to the integrator is none of his business
    assert response_of(await desk.say(opt, STRANGER)).code == "463"
    assert len(seen) == 2


@pytest.mark.criterion("ERR-05")
async def test_an_integrator_may_refuse_a_stranger_who_would_enrol_by_himself(desk: Desk) -> None:
    seen: list[str] = []
    welcome = False

    async def review(_message: Message, ven: Ven, _conn: AsyncConnection, _now: datetime) -> None:
        seen.append(ven.ven_name)
        if not welcome:
            raise Refusal("469", "no contract")

    await restart_with(desk, review, enrolment=Enrolment.AUTO)
    register = CreatePartyRegistration(request_id="r", http_pull_model=True, ven_name="new")
    for _ in range(2):
        reply = response_of(await desk.say(register, STRANGER))
        assert (reply.code, reply.description) == ("469", "no contract")
    async with desk.db.read() as conn:
        assert await registration.vens(conn) == []
    welcome = True
    assert response_of(await desk.say(register, STRANGER)).is_success
    async with desk.db.read() as conn:
        assert [ven.ven_name for ven in await registration.vens(conn)] == ["new"]
    assert seen == ["new"] * 3


async def test_err_05_a_hook_is_named_in_the_settings(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site_rules.py").write_text(
        "from vtn.hooks import Refusal\n\n"
        "async def review(message, ven, conn, now):\n"
        "    if type(message).__name__ == 'CreateOpt':\n"
        "        raise Refusal('461', f'not for {ven.ven_name}')\n\n"
        "def no_hook(): pass\n"
    )
    (tmp_path / "site_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    ven_id = await desk.settle_in()
    await restart_with(desk, None, review="site_rules:review")
    reply = response_of(await desk.say(messages(ven_id)[CreateOpt][0]))
    assert (reply.code, reply.description) == ("461", "not for alice")
    for name in ("site_rules:nothing", "site_rules:no_hook", "nowhere:review", "site_broken:review"):
        with pytest.raises(StartupError, match=name):
            hooks.find(name)
    with pytest.raises(ValueError, match="review"):
        VtnSettings(review="os.system")


@pytest.mark.parametrize("code", ["200", "300", "4", "45x", "4000", "\uff14\uff15\uff12"])
def test_a_refusal_says_an_error_by_three_digits(code: str) -> None:
    with pytest.raises(ValueError, match="4xx or 5xx"):
        Refusal(code, "no")


def test_a_refusals_words_are_cut_to_what_a_peer_can_keep() -> None:
    assert len(Refusal("451", "x" * 1000).description) == Refusal.MOST_CHARS


async def test_err_06_code_000_is_success_for_a_ven_that_is_set_lenient_only(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    made = make_event()
    await desk.publish(made)
    answered = encode(created_event(ven_id, made, OptType.OPT_IN)).replace(b">200<", b">000<")
    assert await told(desk) == 1
    await desk.post("EiEvent", answered)
    assert await told(desk) == 1  # no success: it is offered again
    async with desk.db.write() as conn:
        await registration.set_lenient(conn, ven_id, lenient=True)
    status, body = await desk.post("EiEvent", answered)
    assert (status, response_of(decode(body)).code) == (200, "200")
    async with desk.db.read() as conn:
        (state,) = await event_states(conn, made.event_id)
    assert (state.response_code, state.opt) == ("200", OptType.OPT_IN)


async def told(desk: Desk) -> int:
    """How many events the next poll brings."""
    reply = await desk.poll()
    return len(reply.events) if isinstance(reply, DistributeEvent) else 0


async def test_http_06_a_refusal_is_a_200_with_a_payload(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    for who, message in ((STRANGER, Poll(ven_id=ven_id)), (ALICE, usage("other", [(NOW, 1.0)]))):
        service = sorted(ROUTES[type(message)].services)[0]
        status, body = await desk.post(service, encode(message), who)
        assert (status, response_of(decode(body)).code[0]) == (200, "4")


async def test_http_20_every_message_that_is_taken_comes_from_a_ven(desk: Desk) -> None:
    """A pull VTN answers and never asks: what only a VTN says is no request here."""
    await desk.settle_in()
    ours = {
        "DistributeEvent", "CreatedPartyRegistration", "RequestReregistration", "CreatedOpt", "CanceledOpt",
    }  # fmt: skip
    assert not ours & {kind.__name__ for kind in ROUTES}


async def test_http_21_one_connection_serves_many_requests_and_a_stuck_peer_holds_up_nobody(
    desk: Desk,
) -> None:
    ven_id = await desk.settle_in()
    await desk.settle_in(BOB, "bob")
    body = encode(Poll(ven_id=ven_id))
    head = (
        f"POST {BASE}OadrPoll HTTP/1.1\r\nHost: x\r\n{DEV_FINGERPRINT}: {ALICE}\r\n"
        f"Content-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
    for _ in range(3):  # the same connection
        writer.write(head + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        (length,) = re.findall(rb"Content-Length: (\d+)", answer)
        await reader.readexactly(int(length))
    writer.write(head + body[:10])  # and now this VEN hangs
    await writer.drain()
    for _ in range(3):
        assert isinstance(await desk.poll(BOB), Response)
    writer.close()
    await writer.wait_closed()
