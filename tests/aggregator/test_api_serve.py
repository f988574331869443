"""The JSON API on the web listener: sessions and tokens, problems, the trail, and nothing without a name."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import hdrs
from sqlalchemy import update

from aggregator.access import api_token
from aggregator.access import user as users
from aggregator.access.action import trail
from aggregator.access.permission import Permission, Role
from aggregator.api_operations import OF_VTN, OPERATIONS
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.access.people import Answer, Person
from vtn import api as vtn_api
from vtn.schema import ven_table

V1 = "/api/v1"
PRINT = "5E:71:FA:E4:61:75:9C:EF:A4:D6"
NEW = {"ven_name": "mill-street-bakery", "fingerprint": PRINT}


async def token_of(house: House, role: Role = Role.OPERATOR, scopes: Iterable[str] = ()) -> str:  # noqa: F811
    """A token of somebody of this role, with all scopes where none are named."""
    person = await house.person(role)
    now = house.wall.now
    async with house.access.db.write() as conn:
        user = await users.find(conn, person.user_id)
        assert user is not None
        chosen = list(scopes) or sorted(api_token.grantable(user))
        day = now + timedelta(days=1)
        return await api_token.make(conn, user, "test", scopes=chosen, expires_at=day, now=now)


class Caller:
    """A program with a token, or somebody in a session where `person` is given."""

    def __init__(self, house: House, token: str = "", person: Person | None = None) -> None:  # noqa: F811
        self._house = house
        self._headers = {hdrs.AUTHORIZATION: f"Bearer {token}"} if token else {}
        if person is not None:
            cookies = "; ".join(f"{name}={text}" for name, text in person.jar.items())
            self._headers = {hdrs.COOKIE: cookies, hdrs.ORIGIN: house.address}

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[Answer, Any]:
        """The answer, and its JSON."""
        sent = self._headers | {name.replace("_", "-"): text for name, text in headers.items()}
        data = body
        if body is not None and not isinstance(body, bytes):
            data, sent = json.dumps(body), {hdrs.CONTENT_TYPE: "application/json", **sent}
        address = self._house.address + V1 + path
        async with self._house.http.request(method, address, data=data, headers=sent) as answer:
            text = (await answer.read()).decode()
            seen = Answer(answer.status, answer.headers, text)
        return seen, json.loads(text) if text else None


async def test_every_route_of_the_vtn_has_a_permission(house: House) -> None:  # noqa: F811
    assert {route.name for route in vtn_api.ROUTES} == set(OF_VTN)
    names = [operation.route.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert Permission.ANYBODY not in {operation.permission for operation in OPERATIONS}


async def test_a_token_reads_and_changes_and_the_trail_says_so(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house))
    answer, made = await program.ask("POST", "/vens", NEW)
    assert (answer.status, made["ven_name"]) == (201, NEW["ven_name"])
    answer, listed = await program.ask("GET", "/vens")
    assert NEW["ven_name"] in [ven["ven_name"] for ven in listed["vens"]]
    async with house.desk.db.read() as conn:
        (line,) = await trail(conn, what="enrolVen")
    assert (line.outcome, line.by[:2], len(line.form_sha256)) == ("done", "t_", 64)


@pytest.mark.goal(31)
async def test_a_token_may_only_what_its_scopes_say(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house, scopes=["fleet:read"]))
    answer, problem = await program.ask("POST", "/vens", NEW)
    assert (answer.status, problem["type"]) == (403, "urn:flexpact:problem:forbidden")
    assert "node:write" in problem["detail"]
    assert (await program.ask("GET", "/vens"))[0].status == 200


@pytest.mark.goal(27)
async def test_a_session_needs_the_csrf_header_to_change_anything(house: House) -> None:  # noqa: F811
    operator = await house.person(Role.OPERATOR)
    browser = Caller(house, person=operator)
    assert (await browser.ask("GET", "/vens"))[0].status == 200
    assert (await browser.ask("POST", "/vens", NEW))[0].status == 403
    assert (await browser.ask("POST", "/vens", NEW, X_CSRF_Token=operator.csrf))[0].status == 201


async def test_who_is_not_known_is_told_how_to_say_who_he_is(house: House) -> None:  # noqa: F811
    for token in ("", "fxp_" + "x" * 43):
        answer, problem = await Caller(house, token).ask("GET", "/vens")
        assert (answer.status, problem["status"]) == (401, 401)
        assert answer.headers[hdrs.WWW_AUTHENTICATE] == "Bearer"


async def test_what_cannot_be_taken_is_named_with_its_value(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house))
    answer, problem = await program.ask("POST", "/vens", {**NEW, "fingerprint": "5E:\u202e"})
    assert answer.status == 422
    assert answer.headers[hdrs.CONTENT_TYPE].startswith("application/problem+json")
    (error,) = problem["errors"]
    assert (error["field"], "\u202e" in error["value"]) == ("fingerprint", True)
    for path, status in (("/nothing", 404), ("/vens/nobody", 404)):
        answer, problem = await program.ask("GET", path)
        assert (answer.status, problem["status"]) == (status, status)


async def test_a_body_that_is_no_json_is_refused(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer, _ = await program.ask("POST", "/vens/node-1/suspend", b"a=b", Content_Type=kind)
        assert answer.status == 415, kind
    _, ven = await program.ask("GET", "/vens/node-1")
    assert ven["state"] == "enrolled"


async def test_a_repeat_with_the_same_key_is_answered_as_the_first_was(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house))
    body = {"vens": ["node-1"], "start": "2026-01-20T17:00:00Z", "programme": "fast-dispatch", **LONG}
    first, made = await program.ask("POST", "/events", body, Idempotency_Key="click-1")
    assert first.status == 201, made
    again, same = await program.ask("POST", "/events", body, Idempotency_Key="click-1")
    assert (again.status, again.headers["Idempotent-Replayed"], same) == (201, "true", made)
    _, listed = await program.ask("GET", "/events")
    assert len(listed["events"]) == 1
    other, problem = await program.ask("POST", "/events", {**body, "priority": 2}, Idempotency_Key="click-1")
    assert (other.status, problem["errors"][0]["field"]) == (409, "Idempotency-Key")


LONG = {"duration": "PT1H", "values": {"LOAD_DISPATCH/delta": [-5.0]}}


async def test_a_key_is_its_owners_alone_and_ends_after_a_day(house: House) -> None:  # noqa: F811
    for days, name in ((0, "node-a"), (0, "node-b"), (1, "node-c")):
        house.wall.pass_by(days=days)
        program = Caller(house, await token_of(house))
        body = {"ven_name": name, "fingerprint": f"{name.encode().hex():0>64}"}
        answer, made = await program.ask("POST", "/vens", body, Idempotency_Key="one")
        assert (answer.status, made["ven_name"]) == (201, name)


async def test_what_was_refused_may_be_sent_again_with_its_key(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house))
    path = "/vens/mill-street-bakery/suspend"
    assert (await program.ask("POST", path, Idempotency_Key="k"))[0].status == 404
    await program.ask("POST", "/vens", NEW)
    assert (await program.ask("POST", path, Idempotency_Key="k"))[0].status == 200
    for key in ("", "x" * 129, "\u00fc"):
        answer, problem = await program.ask("POST", path, Idempotency_Key=key)
        assert (answer.status, problem["errors"][0]["field"]) == (422, "Idempotency-Key"), key


async def test_what_has_not_changed_is_not_sent_again(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house))
    first, _ = await program.ask("GET", "/vens/node-1")
    tag = first.headers[hdrs.ETAG]
    same, nothing = await program.ask("GET", "/vens/node-1", If_None_Match=tag)
    assert (same.status, nothing, same.headers[hdrs.ETAG]) == (304, None, tag)
    await program.ask("PATCH", "/vens/node-1", {"poll_period_s": 30})
    assert (await program.ask("GET", "/vens/node-1", If_None_Match=tag))[0].status == 200


async def test_a_stale_change_is_told_what_has_changed_since(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house))
    first, _ = await program.ask("GET", "/vens/node-1")
    tag = first.headers[hdrs.ETAG]
    changed, _ = await program.ask("PATCH", "/vens/node-1", {"poll_period_s": 30}, If_Match=tag)
    assert changed.status == 200
    for method, path, body in (
        ("PATCH", "/vens/node-1", {"poll_period_s": 60}),
        ("POST", "/vens/node-1/suspend", None),
    ):
        stale, problem = await program.ask(method, path, body, If_Match=tag)
        (error,) = problem["errors"]
        assert (stale.status, error["field"], error["value"]) == (412, "poll_period_s", "30")
    _, ven = await program.ask("GET", "/vens/node-1")
    assert (ven["poll_period_s"], ven["state"]) == (30, "enrolled")
    newest = changed.headers[hdrs.ETAG]
    suspended, _ = await program.ask("POST", "/vens/node-1/suspend", If_Match=newest)
    assert suspended.status == 200
    unknown, problem = await program.ask("POST", "/vens/node-1/resume", If_Match='"0123"')
    assert (unknown.status, "not known" in problem["detail"]) == (412, True)


async def test_a_poll_makes_no_version_stale(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house))
    first, _ = await program.ask("GET", "/vens/node-1")
    async with house.desk.db.write() as conn:
        await conn.execute(update(ven_table).values(last_contact=house.clock.now))
    second, ven = await program.ask("GET", "/vens/node-1")
    assert ven["last_contact"] == "2026-01-20T00:00:00Z"
    assert first.headers[hdrs.ETAG] != second.headers[hdrs.ETAG]
    tag = first.headers[hdrs.ETAG]
    assert (await program.ask("POST", "/vens/node-1/suspend", If_Match=tag))[0].status == 200


async def test_every_page_of_a_list_leads_to_the_next(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house))
    for name in ("a b&c", "b", "c"):
        await program.ask("POST", "/vens", {"ven_name": name, "fingerprint": f"{name.encode().hex():0>64}"})
    seen, path = [], "/vens?limit=1"
    while path:
        answer, page = await program.ask("GET", path)
        seen += [ven["ven_name"] for ven in page["vens"]]
        link = answer.headers.get(hdrs.LINK, "")
        assert bool(link) == ("next" in page)
        path = link.partition("<")[2].partition(">")[0].removeprefix(V1)
    assert seen == ["a b&c", "b", "c", "node-1"]
