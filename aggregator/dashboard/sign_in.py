"""Signing in and out: name and password, the second factor, and the one-time links that set a password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from aiohttp import hdrs, web
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import cookie, first_link, password, session, sign_in
from aggregator.access import name as names
from aggregator.access.action import ACTION
from aggregator.access.errors import FieldError, RefusedError
from aggregator.access.permission import GRANTED, Permission, Role
from aggregator.access.session import Session
from aggregator.access.sign_in import Browser
from aggregator.access.user import User
from aggregator.dashboard.page import Page, Visit

FORM = "sign_in/form.html"
FACTOR = "sign_in/factor.html"
LINK = "sign_in/link.html"
FACTOR_PATH = "/login/factor"
SET_UP_PATH = "/account/factor"
# where somebody lands who asked for nothing else: the first that he may see and that there is
_FIRST_PAGES = (
    (Permission.FLEET_READ, "/"),
    (Permission.HOME_OWN, "/home"),
    (Permission.AUDIT_READ, "/auditor"),
    (Permission.OWN_ACCOUNT, "/account"),
)


async def form(visit: Visit) -> web.StreamResponse:
    """The form, or the way on for who has signed in already."""
    then = page_asked_for(visit.request.query)
    if visit.principal.signed_in:
        return visit.seen_next(then or _first_page(visit, visit.principal.permissions))
    return form_page(visit, then)


async def enter(visit: Visit) -> web.StreamResponse:
    """A name and its password."""
    sent, access = await visit.request.post(), visit.desk.access
    name, then = _text(sent, "name"), page_asked_for(sent)
    try:
        user = await sign_in.right_user(access, name, _text(sent, "password"), browser(visit.request))
    except (FieldError, RefusedError) as error:
        status = error.status if isinstance(error, RefusedError) else 422
        waits = error.retry_after_s if isinstance(error, RefusedError) else 0
        return form_page(visit, then, status, name=name, error=error.text, retry_after_s=waits)
    visit.request[ACTION].who = user.user_id
    async with visit.write() as conn:
        await end_session_before(visit, conn)
        token = await session.begin(conn, user.user_id, browser(visit.request).agent, access.clock())
    cookie.set_session(visit.request, token)
    return visit.seen_next(way_on(visit, user, then))


async def factor_form(visit: Visit) -> web.StreamResponse:
    """The form for the code."""
    if await _waiting(visit) is None:
        return visit.seen_next("/login")
    return visit.page(FACTOR, next=page_asked_for(visit.request.query), error="")


async def enter_factor(visit: Visit) -> web.StreamResponse:
    """A code, which opens the session that waits for it."""
    sent, access = await visit.request.post(), visit.desk.access
    waiting = await _waiting(visit)
    if waiting is None:
        return visit.seen_next("/login")
    user, then = waiting.user, page_asked_for(sent)
    visit.request[ACTION].who = user.user_id
    await sign_in.count_factor(access, user.user_id)
    try:
        async with visit.write() as conn:
            at = await sign_in.confirm(access, conn, user, _text(sent, "code"))
            token = await session.rotate(conn, waiting.session_id, at, at)
    except FieldError as error:
        return visit.page(FACTOR, 422, next=then, error=error.text)
    cookie.set_session(visit.request, token)
    return visit.seen_next(then or _first_page(visit, GRANTED[user.role]))


async def leave(visit: Visit) -> web.StreamResponse:
    """End the session."""
    found = await _own_session(visit)
    if found is not None:
        visit.request[ACTION].who = found.user.user_id
        async with visit.write() as conn:
            now = visit.desk.access.clock()
            await session.end(conn, found.user.user_id, now, only=found.session_id)
    cookie.set_session(visit.request, "")
    return visit.seen_next("/login")


async def link_form(visit: Visit) -> web.StreamResponse:
    """What the link is for; looking at it does not use it up, for programs look at links in mails."""
    async with visit.desk.db.read() as conn:
        _found, user = await sign_in.linked(visit.desk.access, conn, visit.request.match_info["token"])
    return _link_page(visit, user)


async def follow_link(visit: Visit) -> web.StreamResponse:
    """Use the link up: set the password, and for the first of all links the name."""
    sent, access = await visit.request.post(), visit.desk.access
    token = visit.request.match_info["token"]
    async with visit.desk.db.read() as conn:
        _found, user = await sign_in.linked(access, conn, token)
    name = user.name if user else _text(sent, "name")
    try:
        if user is not None and not access.takes_password_of(user.role):
            raise FieldError("password", "the settings let only admins sign in with a password")
        if user is None:
            name = names.checked("name", name)
        given = _text(sent, "password")
        password.check(given, name)
        if given != _text(sent, "password_again"):
            raise FieldError("password_again", "it is not the same")
        hashed = await access.passwords.hash(given)
        async with visit.write() as conn:
            await end_session_before(visit, conn)
            made, cookie_token = await sign_in.follow(
                access, conn, token, name=name, hashed=hashed, agent=browser(visit.request).agent
            )
            visit.request[ACTION].who = made.user_id
    except FieldError as error:
        return _link_page(visit, user, 422, name=name, errors={error.field: error.text})
    if made.role is Role.ADMIN:
        await first_link.withdraw(visit.desk.settings.state)
    cookie.set_session(visit.request, cookie_token)
    return visit.seen_next(way_on(visit, made, ""))


async def end_session_before(visit: Visit, conn: AsyncConnection) -> None:
    """End the session that this browser had, which may be somebody else's: who signs in begins a new one."""
    before = visit.principal.session_id
    found = await session.find_by_id(conn, before) if before else None
    if found is not None:
        now = visit.desk.access.clock()
        await session.end(conn, found.user.user_id, now, only=found.session_id)


def browser(request: web.Request) -> Browser:
    """Where the request came from."""
    return Browser(request.remote or "", request.headers.get(hdrs.USER_AGENT, ""))


def form_page(
    visit: Visit,
    then: str,
    status: int = 200,
    *,
    name: str = "",
    error: str = "",
    subject: str = "",
    retry_after_s: int = 0,
) -> web.StreamResponse:
    """The sign-in page. `subject`: what an admin is to be told of an account at the provider."""
    provider = visit.desk.access.provider
    answer = visit.page(
        FORM,
        status,
        name=name,
        next=then,
        error=error,
        subject=subject,
        provider=provider.settings.name if provider else "",
    )
    if retry_after_s:
        answer.headers[hdrs.RETRY_AFTER] = str(retry_after_s)
    return answer


def _link_page(
    visit: Visit,
    user: User | None,
    status: int = 200,
    *,
    name: str = "",
    errors: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    access = visit.desk.access
    return visit.page(
        LINK,
        status,
        first=user is None,
        name=user.name if user else name,
        errors=errors or {},
        token=visit.request.match_info["token"],
        provider=access.provider.settings.name if access.provider and user else "",
        by_password=user is None or access.takes_password_of(user.role),
    )


def way_on(visit: Visit, user: User, then: str) -> str:
    """What comes next for somebody whose session began: his second factor, or the page he asked for."""
    if user.has_factor:
        return FACTOR_PATH + (f"?next={quote(then, safe='')}" if then else "")
    if user.permissions != GRANTED[user.role]:
        return SET_UP_PATH
    return then or _first_page(visit, user.permissions)


async def _own_session(visit: Visit) -> Session | None:
    if visit.principal.session_id is None:
        return None
    async with visit.desk.db.read() as conn:
        return await session.find_by_id(conn, visit.principal.session_id)


async def _waiting(visit: Visit) -> Session | None:
    """The session of this browser that waits for its second factor."""
    found = await _own_session(visit)
    return found if found is not None and found.waits else None


def _first_page(visit: Visit, permissions: frozenset[Permission]) -> str:
    there = {resource.canonical for resource in visit.request.app.router.resources()}
    return next((path for needed, path in _FIRST_PAGES if needed in permissions and path in there), "/login")


def page_asked_for(sent: Mapping[str, Any]) -> str:
    """The page of ours to go to next; empty where none is named, or one that may be somebody else's."""
    path = _text(sent, "next")
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if ours and len(path) <= 2048 else ""


def _text(sent: Mapping[str, Any], name: str) -> str:
    found = sent.get(name, "")
    return found if isinstance(found, str) else ""


_GET, _POST, _ANYBODY = hdrs.METH_GET, hdrs.METH_POST, Permission.ANYBODY
PAGES = (
    Page(method=_GET, path="/login", name="sign-in form", permission=_ANYBODY, handle=form),
    Page(method=_POST, path="/login", name="sign in", permission=_ANYBODY, handle=enter),
    Page(method=_GET, path=FACTOR_PATH, name="second factor form", permission=_ANYBODY, handle=factor_form),
    Page(method=_POST, path=FACTOR_PATH, name="second factor", permission=_ANYBODY, handle=enter_factor),
    Page(method=_POST, path="/logout", name="sign out", permission=_ANYBODY, handle=leave),
    Page(method=_GET, path="/link/{token}", name="link form", permission=_ANYBODY, handle=link_form),
    Page(method=_POST, path="/link/{token}", name="link", permission=_ANYBODY, handle=follow_link),
)
