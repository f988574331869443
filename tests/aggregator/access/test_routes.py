"""Every route of the running dashboard: who may, which forms are ours, what answers say to browsers."""

from __future__ import annotations

import re
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import hdrs

from aggregator.access import api_token
from aggregator.access import user as users
from aggregator.access.permission import GRANTED, Role
from aggregator.dashboard.page import Page
from tests.aggregator.access.conftest import House
from tests.aggregator.access.people import Answer, Person
from tests.aggregator.access.routes import ANONYMOUS, ROUTES, TOKEN

API = "/api/"
NOT_PERMITTED = "does not have the permission"
NOT_FRESH = "needs a second factor that was given in the last"  # persons here have; tokens never can
OPEN = {"POST /login", "POST /login/provider", "POST /login/factor", "POST /logout", "POST /link/{token}"}
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def key(page: Page) -> str:
    """A route as the table names it."""
    return f"{page.method} {re.sub(r':[^{}]*}', '}', page.path)}"


def some_path(page: Page) -> str:
    """An address of the route, of things that do not exist."""
    return re.sub(r"{[^{}]*}", "nobody", page.path)


async def caller(house: House, who: str) -> tuple[Person, dict[str, str]]:
    """Somebody of this kind, and the headers that he sends."""
    if who == ANONYMOUS:
        person = house.stranger()
        await person.get("/login")
        return person, {}
    if who == TOKEN:
        admin = await house.person(Role.ADMIN)
        async with house.access.db.write() as conn:
            user = await users.find(conn, admin.user_id)
            assert user is not None
            now = house.wall.now
            token = await api_token.make(
                conn,
                user,
                "all",
                scopes=sorted(api_token.grantable(user)),
                expires_at=now + timedelta(days=1),
                now=now,
            )
        person = house.stranger()
        await person.get("/login")
        return person, {"Authorization": f"Bearer {token}"}
    return await house.person(Role(who)), {}


def is_denied(answer: Answer) -> bool:
    """Whether the guard sent it away, whatever the page itself might have said."""
    if answer.status == 401:
        return True
    if answer.status == 403 and (NOT_PERMITTED in answer.text or NOT_FRESH in answer.text):
        return True
    return answer.status == 303 and answer.headers["Location"].startswith("/login?next=")


def is_shown_the_way(page: Page, answer: Answer) -> bool:
    """Whether somebody at the bare address was sent on to the first page that is his."""
    return key(page) == "GET /" and answer.status == 303 and answer.headers["Location"] == "/login"


@pytest.mark.goal(24)
async def test_the_table_holds_every_route_and_no_other(house: House) -> None:
    assert house.aggregator.web is not None
    assert {key(page) for page in house.aggregator.web.pages} == set(ROUTES)


@pytest.mark.goal(24)
@pytest.mark.parametrize("who", [ANONYMOUS, TOKEN, *Role])
async def test_each_route_is_open_to_those_in_the_table_alone(house: House, who: str) -> None:
    assert house.aggregator.web is not None
    person, headers = await caller(house, who)
    for page in sorted(house.aggregator.web.pages, key=lambda page: page.path == "/logout"):
        answer = await person.ask(page.method, some_path(page), **headers)
        assert answer.status < 500, (key(page), answer.text)
        kept_out = is_denied(answer) or is_shown_the_way(page, answer)
        assert kept_out is (who not in ROUTES[key(page)]), (key(page), answer.status)


@pytest.mark.goal(30)
@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
async def test_without_its_second_factor_a_role_may_only_mind_its_account(house: House, role: Role) -> None:
    assert house.aggregator.web is not None
    person = await house.person(role, factor=False)
    for page in house.aggregator.web.pages:
        if page.writes or page.permission in GRANTED[Role.PROSUMER]:
            continue
        answer = await person.get(some_path(page))
        assert is_denied(answer), key(page)


@pytest.mark.goal(27)
async def test_no_form_is_taken_of_another_site_or_without_its_token(house: House) -> None:
    assert house.aggregator.web is not None
    writing = [page for page in house.aggregator.web.pages if page.writes]
    assert len(writing) > 10
    stranger, admin = house.stranger(), await house.person(Role.ADMIN)
    await stranger.get("/login")
    for page in writing:
        who, path = stranger if key(page) in OPEN else admin, some_path(page)
        for form, headers in (({"csrf": "0" * 64}, {}), ({}, {"Origin": "https://evil.example"})):
            answer = await who.ask(page.method, path, form, **headers)
            assert answer.status == 403, (key(page), form, headers)
            assert "sent" in answer.text or "form" in answer.text


@pytest.mark.goal(27)
@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({"csrf": ""}, {}),
        ({}, {"Origin": "null"}),
        ({}, {"Origin": ""}),
        ({}, {"Sec_Fetch_Site": "cross-site"}),
        ({}, {"Sec_Fetch_Site": "same-site"}),
        ({}, {"Sec_Fetch_Site": "none"}),
    ],
    ids=["no token", "origin of a sandbox", "no origin", "other site", "other host", "no page at all"],
)
async def test_a_form_that_another_page_could_send_is_refused(
    house: House, form: dict[str, str], headers: dict[str, str]
) -> None:
    viewer = await house.person(Role.VIEWER)
    assert (await viewer.post("/account", form, **headers)).status == 403
    assert (await viewer.post("/account", {"language": "de"}, Sec_Fetch_Site="same-origin")).status == 303


@pytest.mark.goal(27)
async def test_a_live_connection_is_opened_by_our_own_pages_alone(house: House) -> None:
    person = await house.person(Role.VIEWER)
    cookies = "; ".join(f"{name}={text}" for name, text in person.jar.items())
    url = house.address.replace("http", "ws") + "/live"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await house.http.ws_connect(url, headers={hdrs.COOKIE: cookies, hdrs.ORIGIN: "https://evil.example"})
    assert refused.value.status == 403
    async with house.http.ws_connect(
        url, headers={hdrs.COOKIE: cookies, hdrs.ORIGIN: house.address}
    ) as socket:
        assert "now" in (await socket.receive_json())


@pytest.mark.goal(28)
async def test_every_answer_has_the_headers_that_keep_browsers_safe(house: House) -> None:
    assert house.aggregator.web is not None
    admin, stranger = await house.person(Role.ADMIN), house.stranger()
    asked = [(page.method, some_path(page)) for page in house.aggregator.web.pages]
    for method, path in [*asked, ("GET", "/nothing"), ("PUT", "/login"), ("GET", "/login?next=//evil")]:
        for who in (admin, stranger):
            answer = await who.ask(method, path)
            _headers_are_safe(answer, f"{method} {path}")
            assert "Strict-Transport-Security" not in answer.headers  # plain HTTP on loopback


def _headers_are_safe(answer: Answer, where: str) -> None:
    said = answer.headers
    assert said["Content-Security-Policy"] == CSP, where
    assert said["X-Content-Type-Options"] == "nosniff"
    assert said["Referrer-Policy"] == "same-origin"
    assert said["Cross-Origin-Opener-Policy"] == said["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in said["Permissions-Policy"]
    assert said["Server"] == "flexpact"
    assert "no-store" in said["Cache-Control"] or answer.status in {200, 304, 404}, where


async def test_pages_and_their_errors_are_kept_nowhere(house: House) -> None:
    viewer = await house.person(Role.VIEWER)
    for path in ("/", "/account", "/users", "/nothing", "/login"):
        assert (await viewer.get(path)).headers["Cache-Control"] == "no-store", path


async def test_a_form_that_is_none_is_refused_and_is_no_fault_of_ours(house: House) -> None:
    viewer = await house.person(Role.VIEWER)
    headers = {hdrs.CONTENT_TYPE: "multipart/form-data; boundary=x"}
    headers[hdrs.COOKIE] = "; ".join(f"{name}={text}" for name, text in viewer.jar.items())
    url = house.address + "/account"
    async with house.http.post(url, data=b"a=b", headers={**headers, hdrs.ORIGIN: house.address}) as answer:
        assert answer.status == 400
