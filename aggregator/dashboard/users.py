"""Users: who there is, invitations by one-time link, other roles, and the end of what somebody has open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from aiohttp import hdrs, web
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import administration, api_token, identity, session
from aggregator.access import name as names
from aggregator.access import user as users
from aggregator.access.errors import FieldError
from aggregator.access.identity import Identity
from aggregator.access.permission import Permission, Role
from aggregator.access.user import User
from aggregator.dashboard.account import text
from aggregator.dashboard.page import Page, Visit
from vtn.errors import UnknownObject

SCREEN = "users/list.html"
ONE = "users/one.html"
MOST_VENS = 100
MOST_HOME = 128
_FIELDS = {"scope": "ven_ids"}  # the fields of our forms by the names of errors
_ROLES = [(role, role) for role in Role]
_EMPTY: Mapping[str, str] = {"name": "", "role": Role.VIEWER, "ven_ids": "", "home": ""}
Change = Callable[[AsyncConnection, User, datetime], Awaitable[None]]


async def screen(visit: Visit) -> web.StreamResponse:
    """All users."""
    return await _screen(visit)


async def invite(visit: Visit) -> web.StreamResponse:
    """A new user; the link is shown once."""
    sent, now = await visit.request.post(), visit.desk.access.clock()
    values = {name: text(sent, name).strip() for name in _EMPTY}
    try:
        role, ven_ids = administration.role_of(values["role"]), _ven_ids(values["ven_ids"])
        async with visit.write() as conn:
            user, token = await administration.invite(
                conn, values["name"], role, now, ven_ids=ven_ids, home=home_as_typed(values["home"])
            )
            visit.about(f"user_id={user.user_id}")
    except FieldError as error:
        return await _screen(visit, values=values, errors={error.field: error.text})
    return await _screen(visit, link=link_of(visit, token), link_for=user.name)


async def one(visit: Visit) -> web.StreamResponse:
    """One user, and what can be done about him."""
    return await _one(visit)


async def new_link(visit: Visit) -> web.StreamResponse:
    """Another link for a user whose password or telephone is lost; it is shown once."""
    sent, now = await visit.request.post(), visit.desk.access.clock()
    reset = text(sent, "reset_factor") == "yes"
    try:
        async with visit.write() as conn:
            user = await _named(conn, visit)
            token = await administration.new_link(conn, user, now, reset_factor=reset)
    except FieldError as error:
        return await _one(visit, error=error.text)
    return await _one(visit, link=link_of(visit, token))


async def change_role(visit: Visit) -> web.StreamResponse:
    """Another role, or other VENs or another home of a prosumer; his sessions end."""
    sent = await visit.request.post()
    typed = {name: text(sent, name).strip() for name in ("role", "ven_ids", "home")}

    async def change(conn: AsyncConnection, user: User, now: datetime) -> None:
        role, ven_ids = administration.role_of(typed["role"]), _ven_ids(typed["ven_ids"])
        home = home_as_typed(typed["home"])
        await administration.set_role(conn, user, role, now, ven_ids=ven_ids, home=home)

    return await _change(visit, change, typed)


async def link_identity(visit: Visit) -> web.StreamResponse:
    """An account at the identity provider signs in as him from now on."""
    provider = visit.desk.access.provider
    if provider is None:
        raise UnknownObject("there is no identity provider in the settings")
    sent, known = await visit.request.post(), provider.settings
    typed = {"subject": text(sent, "subject").strip()}

    async def change(conn: AsyncConnection, user: User, now: datetime) -> None:
        who = Identity(known.issuer, known.user_claim, typed["subject"])
        await administration.link_identity(conn, user, who, now)

    return await _change(visit, change, typed)


async def unlink_identity(visit: Visit) -> web.StreamResponse:
    """No account at a provider signs in as him any more."""
    return await _change(visit, administration.unlink_identity)


async def suspend(visit: Visit) -> web.StreamResponse:
    """He is let in no more, from now on."""
    return await _change(visit, administration.suspend)


async def let_in(visit: Visit) -> web.StreamResponse:
    """He may sign in again."""

    async def change(conn: AsyncConnection, user: User, _now: datetime) -> None:
        await administration.let_in(conn, user)

    return await _change(visit, change)


async def revoke(visit: Visit) -> web.StreamResponse:
    """All that he has open ends."""
    return await _change(visit, administration.revoke)


async def _change(visit: Visit, change: Change, typed: Mapping[str, str] | None = None) -> web.StreamResponse:
    try:
        async with visit.write() as conn:
            await change(conn, await _named(conn, visit), visit.desk.access.clock())
    except FieldError as error:
        return await _one(visit, error=error.text, field=error.field, typed=typed)
    return visit.seen_next(f"/users/{visit.request.match_info['user_id']}")


async def _named(conn: AsyncConnection, visit: Visit) -> User:
    return await administration.known(conn, visit.request.match_info["user_id"])


def _ven_ids(typed: str) -> list[str]:
    found = list(dict.fromkeys(typed.split()))
    if len(found) > MOST_VENS or any(len(ven_id) > 128 for ven_id in found):
        raise FieldError("scope", f"at most {MOST_VENS} ids of at most 128 characters are taken")
    return found


def home_as_typed(typed: str) -> str | None:
    """The data point of a prosumer's home: a name that the node gave, so not a letter of it is changed."""
    return names.seen("home", typed, MOST_HOME) or None


def link_of(visit: Visit, token: str) -> str:
    """The address of a one-time link."""
    return f"{visit.desk.access.address()}/link/{token}"


async def _one(
    visit: Visit, link: str = "", error: str = "", field: str = "", typed: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """`typed` is what a form was sent with, whose `field` had the error."""
    now, provider = visit.desk.access.clock(), visit.desk.access.provider
    async with visit.desk.db.read() as conn:
        user = await _named(conn, visit)
        open_now = len(await session.standing(conn, user.user_id, now))
        tokens = [token for token in await api_token.tokens(conn, user.user_id) if token.stands(now)]
        account = await identity.of_user(conn, user.user_id)
    status = 422 if error else 200
    kept = {"role": user.role, "ven_ids": " ".join(sorted(user.scope or ())), "home": user.home or ""}
    return visit.page(
        ONE,
        status,
        user=user,
        roles=_ROLES,
        sessions=open_now,
        tokens=len(tokens),
        link=link,
        error="" if field and typed and _FIELDS.get(field, field) in typed else error,
        errors={_FIELDS.get(field, field): error} if field else {},
        values={**kept, "subject": "", **(typed or {})},
        linked={user.user_id} if account else set(),
        account=account,
        provider=provider.settings.name if provider else "",
    )


async def _screen(
    visit: Visit,
    link: str = "",
    link_for: str = "",
    values: Mapping[str, str] = _EMPTY,
    errors: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    async with visit.desk.db.read() as conn:
        found, linked = await users.users(conn), await identity.linked(conn)
    return visit.page(
        SCREEN,
        422 if errors else 200,
        users=found,
        linked=linked,
        roles=_ROLES,
        link=link,
        link_for=link_for,
        values=values,
        errors=errors or {},
    )


_GET, _POST = hdrs.METH_GET, hdrs.METH_POST


def _page(method: str, path: str, name: str, handle: Any, *, fresh: bool = False) -> Page:
    return Page(
        method=method, path=path, name=name, permission=Permission.USER_ADMIN, handle=handle, fresh=fresh
    )


PAGES = (
    _page(_GET, "/users", "users", screen),
    _page(_POST, "/users", "invite user", invite, fresh=True),
    _page(_GET, "/users/{user_id}", "user", one),
    _page(_POST, "/users/{user_id}/link", "make link", new_link, fresh=True),
    _page(_POST, "/users/{user_id}/role", "change role", change_role, fresh=True),
    _page(_POST, "/users/{user_id}/identity", "link account at provider", link_identity, fresh=True),
    _page(_POST, "/users/{user_id}/identity/end", "unlink account at provider", unlink_identity, fresh=True),
    _page(_POST, "/users/{user_id}/suspend", "suspend user", suspend, fresh=True),
    _page(_POST, "/users/{user_id}/let-in", "let user in again", let_in, fresh=True),
    _page(_POST, "/users/{user_id}/revoke", "end what a user has open", revoke, fresh=True),
)
