"""One's own account: language, time zone and password; who is signed in; tokens of the API."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from aiohttp import hdrs, web

from aggregator.access import administration, api_token, cookie, password, session, sign_in
from aggregator.access import user as users
from aggregator.access.errors import FieldError
from aggregator.access.permission import Permission
from aggregator.access.user import User
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.sign_in import browser
from aggregator.dashboard.wording import languages
from vtn.errors import UnknownObject

PROFILE = "account/profile.html"
SESSIONS = "account/sessions.html"
TOKENS = "account/tokens.html"
DAYS = (30, 90, 180, 365)  # that a token can be valid


async def own(visit: Visit) -> User:
    """The user who asks, as the database has him now."""
    async with visit.desk.db.read() as conn:
        return await administration.known(conn, visit.principal.user_id or "")


def text(sent: Any, name: str) -> str:
    """A field of a form; empty where it was not sent."""
    found = sent.get(name, "")
    return found if isinstance(found, str) else ""


async def profile(visit: Visit) -> web.StreamResponse:
    """Language, time zone, password."""
    user = await own(visit)
    return _profile(visit, user, {"language": user.language or "", "time_zone": user.time_zone or ""})


async def save_profile(visit: Visit) -> web.StreamResponse:
    """Another language or time zone."""
    sent, user = await visit.request.post(), await own(visit)
    values = {name: text(sent, name) for name in ("language", "time_zone")}
    try:
        if values["language"] and values["language"] not in dict(languages()):
            raise FieldError("language", "there are no texts in this language")
        if values["time_zone"] and values["time_zone"] not in dict(_zones()):
            raise FieldError("time_zone", "there is no such time zone")
    except FieldError as error:
        return _profile(visit, user, values, {error.field: error.text})
    async with visit.write() as conn:
        await users.change(conn, user.user_id, **{name: chosen or None for name, chosen in values.items()})
    return visit.seen_next("/account")


async def change_password(visit: Visit) -> web.StreamResponse:
    """Another password: all other sessions end, and this one gets another token."""
    sent, access, user = await visit.request.post(), visit.desk.access, await own(visit)
    new = text(sent, "new_password")
    try:
        try:
            await sign_in.right_user(access, user.name, text(sent, "password"), browser(visit.request))
        except FieldError:
            raise FieldError("password", "it is not your password") from None
        try:
            password.check(new, user.name)
        except FieldError as error:
            raise FieldError("new_password", error.text) from None
        if new != text(sent, "password_again"):
            raise FieldError("password_again", "it is not the same")
    except FieldError as error:
        kept = {"language": user.language or "", "time_zone": user.time_zone or ""}
        return _profile(visit, user, kept, {error.field: error.text})
    hashed, here = await access.passwords.hash(new), visit.principal.session_id or ""
    async with visit.write() as conn:
        await users.change(conn, user.user_id, password=hashed)
        await session.end(conn, user.user_id, access.clock(), but=here)
        token = await session.rotate(conn, here, access.clock(), visit.principal.factor_at)
    cookie.set_session(visit.request, token)
    return visit.seen_next("/account")


@cache
def _zones() -> list[tuple[str, str]]:
    """All time zones; to list them is to look through a folder of files."""
    return [(zone, zone) for zone in sorted(available_timezones())]


def _profile(
    visit: Visit, user: User, values: dict[str, str], errors: dict[str, str] | None = None
) -> web.StreamResponse:
    return visit.page(
        PROFILE,
        422 if errors else 200,
        user=user,
        values=values,
        errors=errors or {},
        zones=_zones(),
    )


async def sessions(visit: Visit) -> web.StreamResponse:
    """Where one is signed in."""
    async with visit.desk.db.read() as conn:
        found = await session.standing(conn, visit.principal.user_id or "", visit.desk.access.clock())
    return visit.page(SESSIONS, sessions=found)


async def end_session(visit: Visit) -> web.StreamResponse:
    """End one of one's own sessions."""
    now, session_id = visit.desk.access.clock(), visit.request.match_info["session_id"]
    async with visit.write() as conn:
        if not await session.end(conn, visit.principal.user_id or "", now, only=session_id):
            raise UnknownObject("there is no such session of yours")
    return visit.seen_next("/account/sessions")


async def end_others(visit: Visit) -> web.StreamResponse:
    """End all of one's own sessions but this one."""
    async with visit.write() as conn:
        user_id, here = visit.principal.user_id or "", visit.principal.session_id
        await session.end(conn, user_id, visit.desk.access.clock(), but=here)
    return visit.seen_next("/account/sessions")


async def tokens(visit: Visit) -> web.StreamResponse:
    """One's tokens of the API, and the form for another one."""
    return await _tokens(visit)


async def make_token(visit: Visit) -> web.StreamResponse:
    """A new token, which is shown now and never again."""
    sent, user, now = await visit.request.post(), await own(visit), visit.desk.access.clock()
    values = {"name": text(sent, "name"), "days": text(sent, "days")}
    scopes = [scope for scope in sent.getall("scopes", []) if isinstance(scope, str)]
    try:
        expires_at = _expiry(values["days"], now)
        async with visit.write() as conn:
            made = await api_token.make(
                conn, user, values["name"], scopes=scopes, expires_at=expires_at, now=now
            )
    except FieldError as error:
        return await _tokens(visit, values=values, scopes=scopes, errors={error.field: error.text})
    return await _tokens(visit, made=made)


async def revoke_token(visit: Visit) -> web.StreamResponse:
    """End one of one's own tokens at once."""
    now, token_id = visit.desk.access.clock(), visit.request.match_info["token_id"]
    async with visit.write() as conn:
        if not await api_token.revoke(conn, visit.principal.user_id or "", now, token_id):
            raise UnknownObject("there is no such token of yours")
    return visit.seen_next("/account/tokens")


def _expiry(days: str, now: datetime) -> datetime:
    if days not in map(str, DAYS):
        raise FieldError("days", f"choose one of {', '.join(map(str, DAYS))}")
    return now + timedelta(days=int(days))


async def _tokens(
    visit: Visit,
    made: str = "",
    values: dict[str, str] | None = None,
    scopes: list[str] | None = None,
    errors: dict[str, str] | None = None,
) -> web.StreamResponse:
    user, now = await own(visit), visit.desk.access.clock()
    async with visit.desk.db.read() as conn:
        found = await api_token.tokens(conn, user.user_id)
    return visit.page(
        TOKENS,
        422 if errors else 200,
        tokens=[(token, token.stands(now)) for token in found],
        made=made,
        grantable=sorted(api_token.grantable(user)),
        values=values or {"name": "", "days": "90"},
        chosen=scopes or [],
        days=[(days, days) for days in DAYS],
        errors=errors or {},
    )


_GET, _POST, _OWN = hdrs.METH_GET, hdrs.METH_POST, Permission.OWN_ACCOUNT


def _page(method: str, path: str, name: str, handle: Any, *, fresh: bool = False) -> Page:
    return Page(method=method, path=path, name=name, permission=_OWN, handle=handle, fresh=fresh)


PAGES = (
    _page(_GET, "/account", "account", profile),
    _page(_POST, "/account", "change profile", save_profile),
    _page(_POST, "/account/password", "change password", change_password),
    _page(_GET, "/account/sessions", "own sessions", sessions),
    _page(_POST, "/account/sessions/{session_id}/end", "end session", end_session),
    _page(_POST, "/account/sessions/end-others", "end other sessions", end_others),
    _page(_GET, "/account/tokens", "own tokens", tokens),
    _page(_POST, "/account/tokens", "make token", make_token, fresh=True),
    _page(_POST, "/account/tokens/{token_id}/revoke", "revoke token", revoke_token),
)
