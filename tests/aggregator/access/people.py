"""People who sign in: users of every role in the database, and what each can ask for with his cookie."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pyotp
from aiohttp import hdrs

from aggregator.access import cookie, second_factor, session
from aggregator.access import user as users
from aggregator.access.access import Access
from aggregator.access.guard import CSRF_FIELD, CSRF_HEADER
from aggregator.access.permission import SECOND_FACTOR, Role
from aggregator.access.secret import csrf_of

PASSWORD = "seven green herons wade"
NOW = datetime(2026, 1, 20, 9, tzinfo=UTC)


class WallClock:
    """The time of the people, which stands still until the test moves it."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **lengths: float) -> None:
        """Let time pass."""
        self.now += timedelta(**lengths)


@dataclass(frozen=True)
class Answer:
    """What a browser got."""

    status: int
    headers: Mapping[str, str]
    text: str
    set_cookies: Sequence[str] = ()


@dataclass
class Person:
    """Somebody with a browser, which keeps the cookies that it is given."""

    http: aiohttp.ClientSession
    address: str
    user_id: str = ""
    secret: str = ""
    jar: dict[str, str] = field(default_factory=dict)
    shown: str = ""
    """The token in the newest form that he saw."""

    @property
    def csrf(self) -> str:
        """What every form carries that this browser is shown."""
        return self.shown or csrf_of(self.jar.get(cookie.SESSION) or self.jar.get(cookie.FORM, ""))

    async def ask(
        self, method: str, path: str, form: Mapping[str, Any] | None = None, **headers: str
    ) -> Answer:
        """The answer, redirects not followed; forms are sent as our own pages do it.

        A header that is empty is left out.
        """
        sent = {hdrs.COOKIE: "; ".join(f"{name}={text}" for name, text in self.jar.items())}
        data: dict[str, Any] | None = None
        if method != hdrs.METH_GET:
            sent[hdrs.ORIGIN] = self.address
            data = {CSRF_FIELD: self.csrf, **(form or {})}
            if path.startswith("/api/"):  # scripts of ours send the token beside the body
                sent[CSRF_HEADER], data = data[CSRF_FIELD], None
        sent |= {name.replace("_", "-"): text for name, text in headers.items()}
        sent = {name: text for name, text in sent.items() if text}
        async with self.http.request(
            method, self.address + path, data=data, headers=sent, allow_redirects=False
        ) as answer:
            text = (await answer.read()).decode(errors="replace")
        for name, morsel in answer.cookies.items():
            self.jar[name], self.shown = morsel.value, ""
        if found := re.search(r'name="csrf" value="(\w+)"', text):
            self.shown = found[1]
        self.jar = {name: text for name, text in self.jar.items() if text}
        return Answer(answer.status, answer.headers, text, answer.headers.getall(hdrs.SET_COOKIE, ()))

    async def get(self, path: str, **headers: str) -> Answer:
        """The answer to GET."""
        return await self.ask(hdrs.METH_GET, path, **headers)

    async def post(self, path: str, form: Mapping[str, Any] | None = None, **headers: str) -> Answer:
        """The answer to a form."""
        return await self.ask(hdrs.METH_POST, path, form, **headers)

    def code(self, at: datetime) -> str:
        """What his telephone shows."""
        return pyotp.TOTP(self.secret).at(at)


async def sign_in(
    access: Access,
    http: aiohttp.ClientSession,
    address: str,
    role: Role,
    *,
    name: str = "",
    factor: bool | None = None,
    scope: frozenset[str] | None = None,
) -> Person:
    """A user of this role, in a session that began now, with a second factor where the role needs one."""
    now = access.clock()
    with_factor = role in SECOND_FACTOR if factor is None else factor
    if role is Role.PROSUMER and scope is None:
        scope = frozenset({"ven-of-nobody"})
    async with access.db.write() as conn:
        user = await users.add(conn, name or f"{role}-{await users.count(conn)}", role, now, scope=scope)
        secret = ""
        if with_factor:
            secret = (await second_factor.enrol(conn, user, access.sealing, now, "")).secret
            kept = second_factor.sealed(access.sealing, user.user_id, secret)
            await users.change(conn, user.user_id, totp_secret=kept, totp_pending=None)
        token = await session.begin(conn, user.user_id, "a test", now, now if with_factor else None)
    return Person(http, address, user.user_id, secret, {cookie.SESSION: token})
