"""Users below /api/v1: the rules of the page, a fresh second factor, and links that are kept nowhere."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from aggregator.access.permission import Role
from aggregator.schema import api_answer_table
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.access.people import PASSWORD, Person
from tests.aggregator.access.test_trail import entries
from tests.aggregator.test_api_serve import Caller, token_of


async def admin_of(house: House) -> tuple[Person, Caller, dict[str, str]]:  # noqa: F811
    """An admin in a session, as a program's caller, and the header of his forms."""
    admin = await house.person(Role.ADMIN)
    return admin, Caller(house, person=admin), {"X_CSRF_Token": admin.csrf}


async def test_who_is_invited_sets_his_own_password_and_the_link_is_kept_nowhere(house: House) -> None:  # noqa: F811
    _, admin, form = await admin_of(house)
    body, key = {"name": "Ben", "role": "auditor"}, {"Idempotency_Key": "ben"}
    answer, made = await admin.ask("POST", "/users", body, **form, **key)
    assert (answer.status, made["user"]["role"], made["user"]["has_password"]) == (201, "auditor", False)
    path = made["link"].removeprefix(house.address)
    guest = house.stranger()
    assert "Ben" in (await guest.get(path)).text
    assert (await guest.post(path, {"password": PASSWORD, "password_again": PASSWORD})).status == 303
    async with house.desk.db.read() as conn:
        kept = (await conn.execute(select(api_answer_table.c.answer))).scalars().all()
    assert kept == [""]
    again, problem = await admin.ask("POST", "/users", body, **form, **key)
    assert (again.status, problem["errors"][0]["field"]) == (409, "Idempotency-Key")
    done = [(one.what, one.objects) for one in await entries(house) if one.what == "inviteUser"]
    assert (done[-1][0], done[-1][1]) == ("inviteUser", (f"user_id={made['user']['user_id']}",))


async def test_a_token_reads_users_by_its_scope_and_changes_none(house: House) -> None:  # noqa: F811
    ada = await house.person(Role.VIEWER, name="Ada")
    program = Caller(house, await token_of(house, Role.ADMIN, ["user:admin"]))
    _, page = await program.ask("GET", "/users?limit=1")
    assert [one["name"] for one in page["users"]] == ["Ada"]
    answer, rest = await program.ask("GET", f"/users?after={page['next']}")
    assert [one["role"] for one in rest["users"]] == ["admin"]
    assert not {"password", "totp_secret"} & rest["users"][0].keys()
    for path in ("suspend", "link"):
        answer, problem = await program.ask("POST", f"/users/{ada.user_id}/{path}")
        assert (answer.status, "second factor" in problem["detail"]) == (403, True)
    other = Caller(house, await token_of(house, Role.ADMIN, ["fleet:read"]))
    assert (await other.ask("GET", "/users"))[0].status == 403


async def test_changes_need_a_second_factor_of_the_last_minutes(house: House) -> None:  # noqa: F811
    ada = await house.person(Role.VIEWER)
    _, admin, form = await admin_of(house)
    path = f"/users/{ada.user_id}/suspend"
    house.wall.pass_by(minutes=6)
    assert (await admin.ask("POST", path, **form))[0].status == 403
    _, shown = await admin.ask("GET", f"/users/{ada.user_id}")
    assert "suspended_at" not in shown


async def test_who_is_suspended_or_ended_is_out_at_once(house: House) -> None:  # noqa: F811
    ada = await house.person(Role.VIEWER)
    _, admin, form = await admin_of(house)
    path = f"/users/{ada.user_id}"
    first, shown = await admin.ask("GET", path)
    assert shown["sessions"] == 1
    answer, ended = await admin.ask("POST", f"{path}/revoke", **form, If_Match=first.headers["ETag"])
    assert (answer.status, ended["sessions"], (await ada.get("/")).status) == (200, 0, 303)
    _, out = await admin.ask("POST", f"{path}/suspend", **form)
    stale, _ = await admin.ask("POST", f"{path}/let-in", **form, If_Match=first.headers["ETag"])
    _, back = await admin.ask("POST", f"{path}/let-in", **form)
    assert ("suspended_at" in out, stale.status, "suspended_at" in back) == (True, 412, False)
    assert [one.what for one in await entries(house)][:1] == ["letUserIn"]


async def test_what_cannot_be_taken_is_named_with_its_value(house: House) -> None:  # noqa: F811
    owner, admin, form = await admin_of(house)
    await house.give_password(owner)
    me: dict[str, Any] = {"name": "P", "role": "prosumer"}
    for body, field, value in (
        ({**me, "role": "king"}, "role", "king"),
        ({**me, "name": "a\u202eb"}, "name", "a\u202eb"),
        (me, "ven_ids", []),
        ({**me, "ven_ids": [""]}, "ven_ids[0]", ""),
        ({**me, "ven_ids": ["v"], "home": "x" * 129}, "home", "x" * 129),
        ({**me, "pasword": "p"}, "pasword", "p"),
    ):
        answer, problem = await admin.ask("POST", "/users", body, **form)
        (error,) = problem["errors"]
        assert (answer.status, error["field"]) == (422, field), problem
        assert error["value"].startswith(json.dumps(value, ensure_ascii=False)[:60]), problem
    for method, path, sent, status in (
        ("POST", f"/users/{owner.user_id}/suspend", None, 409),  # the last admin
        ("PUT", f"/users/{owner.user_id}/role", {"role": "viewer"}, 409),
        ("PUT", f"/users/{owner.user_id}/identity", {"subject": "s"}, 404),  # no provider in the settings
        ("POST", "/users/nobody/let-in", None, 404),
    ):
        assert (await admin.ask(method, path, sent, **form))[0].status == status, path
