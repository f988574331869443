"""Users by the control socket: for the first day, and for the day on which no admin can sign in.

Whoever may open the socket is the operator of this machine; the trail calls him `operator`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import administration, identity
from aggregator.access import user as users
from aggregator.access.access import Access
from aggregator.access.action import BY_SOCKET, Action, Outcome
from aggregator.access.errors import FieldError
from aggregator.access.link import VALID
from aggregator.access.principal import NOBODY
from aggregator.access.user import User
from aggregator.errors import RequestRefusedError


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewUser(_Body):
    """A user that is to be made."""

    name: str = Field(min_length=1, max_length=256)
    role: str = Field(min_length=1, max_length=40)
    ven_ids: list[str] = Field(default=[], max_length=1000)
    home: str | None = Field(default=None, max_length=128)


class NewLink(_Body):
    """A link that is to be made."""

    reset_factor: bool = False


class UserControl:
    """The routes. `clock` is the aggregator's, by which the trail is kept."""

    def __init__(self, access: Access, clock: Callable[[], datetime]) -> None:
        self._access = access
        self._clock = clock

    def mount(self, app: web.Application) -> None:
        """Put the routes under `/users`."""
        app.router.add_get("/users", self._list)
        app.router.add_post("/users", self._add)
        app.router.add_post("/users/{name}/link", self._link)
        app.router.add_post("/users/{name}/revoke", self._revoke)

    async def _list(self, _request: web.Request) -> web.StreamResponse:
        async with self._access.db.read() as conn:
            found, linked = await users.users(conn), await identity.linked(conn)
        return web.json_response({"users": [_shown(user, linked) for user in found]})

    async def _add(self, request: web.Request) -> web.StreamResponse:
        body = NewUser.model_validate_json(await request.read())

        async def add(conn: AsyncConnection, now: datetime) -> tuple[User, str]:
            role = administration.role_of(body.role)
            return await administration.invite(
                conn, body.name, role, now, ven_ids=body.ven_ids, home=body.home
            )

        user, token = await self._carry_out("add user", add)
        return web.json_response({**_shown(user), **self._link_of(token)}, status=201)

    async def _link(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = NewLink.model_validate_json(raw) if raw else NewLink()

        async def link(conn: AsyncConnection, now: datetime) -> tuple[User, str]:
            user = await administration.known_by_name(conn, request.match_info["name"])
            return user, await administration.new_link(conn, user, now, reset_factor=body.reset_factor)

        user, token = await self._carry_out("make link", link)
        return web.json_response({**_shown(user), **self._link_of(token)}, status=201)

    async def _revoke(self, request: web.Request) -> web.StreamResponse:
        async def revoke(conn: AsyncConnection, now: datetime) -> tuple[User, str]:
            user = await administration.known_by_name(conn, request.match_info["name"])
            await administration.suspend(conn, user, now)
            return await administration.known(conn, user.user_id), ""

        user, _ = await self._carry_out("suspend user", revoke)
        return web.json_response(_shown(user))

    async def _carry_out(
        self, what: str, do: Callable[[AsyncConnection, datetime], Awaitable[tuple[User, str]]]
    ) -> tuple[User, str]:
        """Do it, with its line in the trail in the same transaction."""
        action = Action(what=what, principal=NOBODY, who=BY_SOCKET)
        try:
            async with self._access.db.write() as conn:
                user, token = await do(conn, self._access.clock())
                action.objects.append(f"user_id={user.user_id}")
                await action.record(conn, Outcome.DONE, self._clock())
        except FieldError as error:
            raise RequestRefusedError(str(error)) from error
        return user, token

    def _link_of(self, token: str) -> dict[str, Any]:
        """The link, or its path alone where no dashboard runs to open it."""
        return {
            "link": f"{self._access.address()}/link/{token}",
            "expires_at": (self._access.clock() + VALID).isoformat(),
        }


def _shown(user: User, linked: Collection[str] = ()) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "name": user.name,
        "role": str(user.role),
        "ven_ids": sorted(user.scope or ()),
        "home": user.home,
        "can_sign_in": (user.password is not None or user.user_id in linked) and not user.is_shut_out,
        "second_factor": user.has_factor,
        "suspended_at": user.suspended_at.isoformat() if user.suspended_at else None,
        "withdrawn_at": user.withdrawn_at.isoformat() if user.withdrawn_at else None,
    }
