"""Tokens of the API: shown once, kept as a hash, for some permissions, for some time."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aggregator.access import api_token
from aggregator.access import user as users
from aggregator.access.errors import FieldError, RefusedError
from aggregator.access.permission import Permission, Role
from aggregator.access.user import User
from tests.aggregator.access.conftest import House
from tests.aggregator.access.people import Person


async def make(house: House, person: Person, **more: Any) -> str:
    """A token by the page."""
    form = {"name": "meter import", "days": "30", "scopes": "fleet:read", **more}
    answer = await person.post("/account/tokens", form)
    assert answer.status == 200, answer.text
    return answer.text.split('id="new-token">')[1].split("<")[0]


def database_files(folder: Path) -> list[Path]:
    """All that the database has written."""
    return list(folder.glob("aggregator.sqlite*"))


async def user_of(house: House, person: Person) -> User:
    """The user as the database has him."""
    async with house.desk.db.read() as conn:
        user = await users.find(conn, person.user_id)
    assert user is not None
    return user


@pytest.mark.goal(31)
async def test_a_token_is_shown_once_and_stands_nowhere_in_the_database(house: House) -> None:
    viewer = await house.person(Role.VIEWER)
    token = await make(house, viewer)
    assert token.startswith("fxp_")
    assert len(token) == 4 + 43
    assert token not in (await viewer.get("/account/tokens")).text
    secrets = [token, viewer.jar["__Host-flexpact"]]
    await house.aggregator.stop()
    kept = b"".join(path.read_bytes() for path in database_files(house.settings.state))
    assert kept
    assert not [secret for secret in secrets if secret.encode() in kept]


@pytest.mark.goal(31)
async def test_a_token_may_what_it_was_given_as_far_as_its_owner_still_may(house: House) -> None:
    operator = await house.person(Role.OPERATOR)
    token = await make(house, operator, scopes="node:write")
    asked = await house.access.by_token(token)
    assert asked.permissions == {Permission.ANYBODY, Permission.NODE_WRITE}
    assert (asked.user_id, asked.session_id) == (operator.user_id, None)
    async with house.desk.db.write() as conn:
        await users.change(conn, operator.user_id, role=Role.VIEWER)
    assert (await house.access.by_token(token)).permissions == {Permission.ANYBODY}


@pytest.mark.goal(31)
async def test_a_token_ends_at_its_day_when_revoked_and_with_its_owner(house: House) -> None:
    viewer, admin = await house.person(Role.VIEWER), await house.person(Role.ADMIN)
    first, second = await make(house, viewer), await make(house, viewer, name="other")
    page = (await viewer.get("/account/tokens")).text
    token_id = page.split("/account/tokens/")[1].split("/")[0]
    assert (await admin.post(f"/account/tokens/{token_id}/revoke")).status == 404  # not his
    assert (await viewer.post(f"/account/tokens/{token_id}/revoke")).status == 303
    stands = [await _stands(house, token) for token in (first, second)]
    assert sorted(stands) == [False, True]
    await admin.post(f"/users/{viewer.user_id}/suspend")
    assert [await _stands(house, token) for token in (first, second)] == [False, False]
    third = await make(house, admin)
    house.wall.pass_by(days=30)
    assert not await _stands(house, third)


async def _stands(house: House, token: str) -> bool:
    try:
        await house.access.by_token(token)
    except RefusedError as refused:
        assert refused.status == 401
        return False
    return True


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({"name": ""}, "it is empty"),
        ({"name": "a\u202eb"}, "U+202E"),
        ({"days": "10000"}, "choose one of"),
        ({"scopes": "user:admin"}, "you cannot give"),
        ({"scopes": ""}, "you cannot give"),
    ],
)
async def test_what_cannot_be_taken_is_said_beside_its_field(
    house: House, form: dict[str, str], text: str
) -> None:
    viewer = await house.person(Role.VIEWER)
    sent = {"name": "meter import", "days": "30", "scopes": "fleet:read", **form}
    answer = await viewer.post("/account/tokens", sent)
    assert (answer.status, text in answer.text) == (422, True), answer.text


@pytest.mark.goal(31)
@pytest.mark.parametrize("scope", sorted(api_token.NEVER))
async def test_no_token_acts_on_its_owners_account_or_approves(house: House, scope: str) -> None:
    user, now = await user_of(house, await house.person(Role.ADMIN)), house.wall.now
    async with house.desk.db.write() as conn:
        with pytest.raises(FieldError, match="you cannot give"):
            await api_token.make(conn, user, "x", scopes=[scope], expires_at=now + timedelta(days=1), now=now)


async def test_a_token_opens_no_page(house: House) -> None:
    token = await make(house, await house.person(Role.ADMIN))
    answer = await house.stranger().get("/", Authorization=f"Bearer {token}")
    assert answer.headers["Location"] == "/login?next=%2F"
