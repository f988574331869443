"""Browsers that sign in at the identity provider, step by step as real ones do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

from aggregator.access import cookie, identity
from aggregator.access import user as users
from aggregator.access.identity import Identity
from aggregator.access.permission import Role
from aggregator.access.user import User
from tests.aggregator.access.conftest import House, open_house
from tests.aggregator.access.identity_provider import (
    IdentityProvider,
    oidc_settings,
)
from tests.aggregator.access.people import Answer, Person


@asynccontextmanager
async def joined(state: Path, provider: IdentityProvider, **more: Any) -> AsyncIterator[House]:
    """A dashboard with this provider."""
    async with open_house(state, oidc=oidc_settings(provider, state, **more)) as house:
        yield house


async def user_of(house: House, user_id: str) -> User:
    """The user as the database has him now."""
    async with house.access.db.read() as conn:
        user = await users.find(conn, user_id)
    assert user is not None
    return user


async def linked(house: House, provider: IdentityProvider, role: Role = Role.VIEWER, **more: Any) -> Person:
    """Ada, as whom the account at the provider signs in; her own browser is forgotten."""
    ada = await house.person(role, name="Ada", **more)
    async with house.access.db.write() as conn:
        user = await users.find(conn, ada.user_id)
        assert user is not None
        who = Identity(provider.issuer, "sub", provider.subject)
        await identity.link(conn, user, who, house.wall.now)
    return ada


def onward(answer: Answer) -> str:
    """Where a page sends the browser next."""
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]*)"', answer.text)
    assert found is not None, answer.text
    return unescape(found[1])


async def go(house: House, person: Person | None = None, **form: str) -> tuple[Person, str]:
    """A browser that pressed the button, and the address at the provider that it is sent to."""
    person = person or house.stranger()
    if not form.get("link"):
        await person.get("/login")
    answer = await person.post("/login/provider", form)
    assert answer.status == 200, answer.text
    return person, onward(answer)


async def back(house: House, person: Person, address: str) -> str:
    """The path by which the provider sends the browser back to us."""
    async with house.http.get(address, allow_redirects=False) as answer:
        assert answer.status == 303
        return answer.headers["Location"].removeprefix(house.address)


async def come_back(house: House, person: Person, path: str) -> Answer:
    """The answer to a browser that comes from another site: cookies that are Strict stay away."""
    lax = Person(person.http, person.address, jar={cookie.FLOW: person.jar.get(cookie.FLOW, "")})
    answer = await lax.get(path, Sec_Fetch_Site="cross-site")
    person.jar = {**person.jar, cookie.FLOW: "", **lax.jar}
    person.jar = {name: text for name, text in person.jar.items() if text}
    return answer


async def sign_in(house: House, **form: str) -> tuple[Person, Answer]:
    """A browser that was at the provider and is back."""
    person, address = await go(house, **form)
    return person, await come_back(house, person, await back(house, person, address))
