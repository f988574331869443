"""Who speaks is the certificate: every message of the schema, every way to write a venID (GOALS 5, 7).

The types are those of the schema file. A venID that is not the principal's own is refused, whoever has it,
and nothing is read or changed; one that is left out or empty is his own; a comment inside changes none.
"""

from __future__ import annotations

import pytest
from lxml import etree

from openadr import CreatePartyRegistration, QueryRegistration, decode, encode
from openadr.parser import schema
from tests.vtn.desk import ALICE, BOB, STRANGER, Desk, make_event, metadata
from tests.vtn.schema_messages import (
    NAMED,
    examples,
    may_name_its_ven,
    of_the_schema,
    service_of,
    with_ven_id,
)
from tests.vtn.test_cut import contents
from tests.vtn.test_exchange import response_of
from tests.vtn.test_opt import schedule
from vtn.exchange import ROUTES

# how a VEN may write an id that is not its own; `{}` is its own, `{other}` the other VEN's
FOREIGN = {
    "other": "{other}",
    "unknown": "nobody",
    "padded left": " {}",
    "padded right": "{} ",
    "padded by lines": "\n{}\n",
    "padded by a tab": "{}\t",
    "padded by a hard space": "{}&#160;",
    "longer": "{}0",
    "in other letters": "{swapped}",
    "other with a comment": "{other}<!-- {} -->",
    "other behind a comment": "<!-- {} -->{other}",
    "other cut by a comment": "{other_cut}",
    "own and other": "{}<!-- -->{other}",
    "other in CDATA": "<![CDATA[{other}]]>",
}
OWN = {
    "own": "{}",
    "empty": "",
    "nothing but a comment": "<!-- {other} -->",
    "cut by a comment": "{cut}",
    "between comments": "<!-- {other} -->{}<!-- {other} -->",
    "in CDATA": "<![CDATA[{}]]>",
}


def written(shape: str, mine: str, other: str) -> str:
    """The text of a venID in this shape, as XML."""
    texts = {
        "{cut}": f"{mine[:3]}<!-- {other} -->{mine[3:]}",
        "{other_cut}": f"{other[:3]}<!-- {mine} -->{other[3:]}",
        "{swapped}": mine.swapcase(),
        "{other}": other,
        "{}": mine,
    }
    for name, text in texts.items():
        shape = shape.replace(name, text)
    return shape


async def two_vens(desk: Desk) -> tuple[str, str]:
    """Alice and Bob with an event, reports and a schedule each; Bob's ids say that they are his."""
    ids = []
    for who, name in ((ALICE, "alice"), (BOB, "bob")):
        ids.append(await desk.settle_in(who, name))
        await desk.publish(make_event(f"event-of-{name}"), who)
        await desk.say(metadata(desk.ids[who]), who)
        await desk.say(schedule(desk.ids[who], opt_id=f"opt-of-{name}"), who)
    return ids[0], ids[1]


def gist(raw: bytes) -> tuple[str, str, str | None]:
    """What kind of answer this is."""
    reply = decode(raw)
    response = response_of(reply)
    return type(reply).__name__, response.code, response.description


def test_every_message_of_the_schema_has_an_example() -> None:
    assert set(of_the_schema()) == set(examples("x"))
    assert set(NAMED) == {name for name, message in examples("x").items() if may_name_its_ven(message)}


@pytest.mark.goal(5)
@pytest.mark.criterion("SEC-13", "GEN-11")
async def test_a_ven_id_that_is_not_the_principals_own_is_refused_and_nothing_read_or_changed(
    desk: Desk,
) -> None:
    mine, other = await two_vens(desk)
    before = await contents(desk)
    for name in NAMED:
        message, replies = examples(mine)[name], {}
        for shape, text in FOREIGN.items():
            raw = with_ven_id(message, written(text, mine, other))
            status, reply = await desk.post(service_of(message), raw)
            assert status == 200, (name, shape)
            code = "452" if type(message) in ROUTES else "459"
            assert response_of(decode(reply)).code == code, (name, shape)
            assert not any(text in reply for text in (b"of-bob", other.encode())), (name, shape)
            replies[shape] = reply
        assert set(replies.values()) == {replies["unknown"]}, name  # whose it is makes no difference
        assert await contents(desk) == before, name


@pytest.mark.goal(5)
async def test_a_missing_ven_id_is_the_principals_own_and_a_comment_changes_none(desk: Desk) -> None:
    mine, other = await two_vens(desk)
    for name in sorted(NAMED, key="oadrPoll".__ne__):  # before anything more waits for its poll
        message, said = examples(mine)[name], set()
        for shape, text in OWN.items():
            raw = with_ven_id(message, written(text, mine, other))
            status, reply = await desk.post(service_of(message), raw)
            assert status == 200, (name, shape)
            said.add(gist(reply))
        assert len(said) == 1, (name, said)
        assert "venID" not in str(said), name  # what was wrong, if anything, was something else
        left_out = with_ven_id(message)
        status, reply = await desk.post(service_of(message), left_out)
        if schema().validate(etree.fromstring(left_out)):
            assert {gist(reply)} == said, name
        else:
            assert (status, reply) == (406, b""), name


@pytest.mark.goal(5)
async def test_two_ven_ids_are_no_message(desk: Desk) -> None:
    mine, other = await two_vens(desk)
    before = await contents(desk)
    for name in NAMED:
        message = examples(mine)[name]
        for first, second in ((mine, other), (other, mine), (mine, mine)):
            raw = with_ven_id(message, first, second)
            assert (await desk.post(service_of(message), raw))[0] == 406, name
    assert await contents(desk) == before


@pytest.mark.goal(7)
@pytest.mark.criterion("SEC-11", "SEC-12")
async def test_a_certificate_that_nobody_enrolled_may_query_and_ask_to_register_and_leaves_no_more(
    desk: Desk,
) -> None:
    mine, other = await two_vens(desk)
    before = await contents(desk)
    pending: list[tuple[object, ...]] = []
    for name in of_the_schema():
        for ven_id in (mine, other, "nobody", ""):
            message = examples(ven_id)[name]
            status, raw = await desk.post(service_of(message), encode(message), STRANGER)
            assert status == 200, name
            reply = decode(raw)
            expected = "200" if isinstance(message, QueryRegistration) else "463"
            assert response_of(reply).code == (expected if type(message) in ROUTES else "459"), name
            assert getattr(reply, "ven_id", None) is None, name
            assert not any(text.encode() in raw for text in (mine, other, "of-bob", "of-alice")), name
        after = await contents(desk)
        if isinstance(message, CreatePartyRegistration):
            pending = after["vtn_pending"]
            assert [row[:2] for row in pending] == [(STRANGER, "x")]
        assert after == before | {"vtn_pending": pending}, name
