"""What stands below /api/ passes the same guard: by a session or a token, and refused as problem details."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from aggregator.access.permission import Permission, Role
from aggregator.dashboard.page import Page, Visit
from aggregator.web import Web
from aggregator.web_settings import WebSettings
from tests.aggregator.access.conftest import House
from tests.aggregator.access.people import Answer, Person
from tests.aggregator.access.test_tokens import make
from tests.aggregator.access.test_trail import entries


async def echo(visit: Visit) -> web.StreamResponse:
    """Who asks."""
    return web.json_response({"who": visit.principal.user_id, "by": visit.principal.token_id})


def page(method: str, path: str, permission: Permission, *, fresh: bool = False) -> Page:
    """An operation of this test's own."""
    name = f"{method} {path}"
    return Page(method=method, path=path, name=name, permission=permission, handle=echo, fresh=fresh)


PAGES = (
    page("GET", "/api/v1/nodes", Permission.FLEET_READ),
    page("POST", "/api/v1/nodes", Permission.NODE_WRITE),
    page("POST", "/api/v1/approvals", Permission.NODE_WRITE, fresh=True),
)


@pytest.fixture
async def api(house: House) -> AsyncIterator[Person]:
    """Somebody without a session before an API of three operations."""

    def render(*_: object) -> str:
        raise AssertionError("the API makes no pages")

    listener = Web(WebSettings(port=0, insecure_dev=True), house.desk, PAGES, render)
    await listener.start()
    yield Person(house.http, listener.address)
    await listener.close()


def problem(answer: Answer) -> tuple[int, str]:
    """Status and type of a refusal."""
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.text
    said = json.loads(answer.text)
    assert said["status"] == answer.status
    return answer.status, said["type"].rpartition(":")[2]


@pytest.mark.goal(31)
async def test_a_token_opens_what_its_scopes_say(house: House, api: Person) -> None:
    token = await make(house, await house.person(Role.OPERATOR), scopes="node:write")
    sent = {"Authorization": f"Bearer {token}", "Origin": ""}
    answer = await api.post("/api/v1/nodes", **sent)
    assert (answer.status, json.loads(answer.text)["by"][:2]) == (200, "t_")
    assert problem(await api.get("/api/v1/nodes", **sent)) == (403, "forbidden")
    assert problem(await api.post("/api/v1/approvals", **sent)) == (403, "forbidden")  # it has no telephone
    found = [(entry.what, entry.outcome, entry.by[:2]) for entry in await entries(house)]
    assert found[:2] == [
        ("POST /api/v1/approvals", "refused", "t_"),
        ("POST /api/v1/nodes", "done", "t_"),
    ]


async def test_a_session_opens_it_too_with_the_token_of_its_forms(house: House, api: Person) -> None:
    operator = await house.person(Role.OPERATOR)
    api.jar = operator.jar
    assert (await api.get("/api/v1/nodes")).status == 200
    header = {"X_CSRF_Token": operator.csrf}
    assert (await api.post("/api/v1/nodes", {"csrf": ""}, **header)).status == 200
    assert problem(await api.post("/api/v1/nodes", {"csrf": ""})) == (403, "forbidden")
    house.wall.pass_by(minutes=5)
    assert problem(await api.post("/api/v1/approvals", **header)) == (403, "forbidden")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer fxp_unknown", "Basic YTpi", "Bearer \u00fcnknown"])
async def test_who_is_not_known_is_asked_for_a_token(house: House, api: Person, header: str) -> None:
    for method in ("GET", "POST"):
        answer = await api.ask(method, "/api/v1/nodes", Authorization=header)
        assert problem(answer) == (401, "unauthorised")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert problem(await api.get("/api/v1/nothing")) == (404, "unknown")
    assert problem(await api.ask("DELETE", "/api/v1/nodes")) == (405, "method")
