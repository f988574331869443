"""Users: by the page and by the control socket, the last admin, names that cannot be seen."""

import aiohttp
import pytest

from aggregator.access import user as users
from aggregator.access.errors import FieldError
from aggregator.access.name import checked
from aggregator.access.permission import Role
from tests.aggregator.access.conftest import House
from tests.aggregator.access.people import PASSWORD
from tests.aggregator.access.test_session import enter, set_password
from tests.aggregator.access.test_trail import entries

NEW = {"password": PASSWORD, "password_again": PASSWORD}


def control(house: House) -> aiohttp.ClientSession:
    """The operator's end of the control socket."""
    connector = aiohttp.UnixConnector(str(house.settings.socket))
    return aiohttp.ClientSession("http://control", connector=connector)


async def test_who_is_invited_sets_his_own_password(house: House) -> None:
    admin, guest = await house.person(Role.ADMIN), house.stranger()
    page = (await admin.post("/users", {"name": "Ben", "role": "auditor"})).text
    path = "/link/" + page.split("/link/")[1].split("<")[0]
    assert path not in (await admin.get("/users")).text
    assert "Ben" in (await guest.get(path)).text
    assert (await guest.post(path, NEW)).status == 303
    assert (await guest.get("/account")).status == 200
    assert (await enter(house, name="ben"))[1].status == 303  # however it is capitalised


async def test_the_last_admin_stays_one(house: House) -> None:
    admin = await set_password(house, Role.ADMIN)
    for path, form in (("role", {"role": "viewer"}), ("suspend", {})):
        answer = await admin.post(f"/users/{admin.user_id}/{path}", form)
        assert (answer.status, "the last admin" in answer.text) == (422, True)
    other = await house.person(Role.ADMIN)
    await house.give_password(other)
    assert (await admin.post(f"/users/{admin.user_id}/role", {"role": "viewer"})).status == 303


async def test_who_is_suspended_is_out_at_once_and_in_again_when_let_in(house: House) -> None:
    ada, admin = await set_password(house, Role.VIEWER), await house.person(Role.ADMIN)
    await admin.post(f"/users/{ada.user_id}/suspend")
    assert (await ada.get("/")).status == 303
    assert (await enter(house))[1].status == 422
    await admin.post(f"/users/{ada.user_id}/let-in")
    assert (await ada.get("/")).status == 303
    assert (await enter(house))[1].status == 303


async def test_a_prosumer_is_for_certain_vens_and_nobody_else_is(house: House) -> None:
    admin = await house.person(Role.ADMIN)
    assert "for one VEN at least" in (await admin.post("/users", {"name": "P", "role": "prosumer"})).text
    form = {"name": "P", "role": "viewer", "ven_ids": "ven-1"}
    assert "not single VENs" in (await admin.post("/users", form)).text
    form = {"name": "P", "role": "prosumer", "ven_ids": " ven-1  ven-2 ", "home": "home-01"}
    assert (await admin.post("/users", form)).status == 200
    async with house.desk.db.read() as conn:
        user = await users.named(conn, "P")
    assert user is not None
    assert (user.scope, user.home) == ({"ven-1", "ven-2"}, "home-01")


async def test_a_role_becomes_prosumer_with_its_vens_and_its_home(house: House) -> None:
    admin, ada = await house.person(Role.ADMIN), await house.person(Role.VIEWER, name="Ada")
    path = f"/users/{ada.user_id}/role"
    form = {"role": "prosumer", "ven_ids": "ven-1", "home": "home-01"}
    refused = await admin.post(path, {**form, "ven_ids": ""})
    assert (refused.status, "for one VEN at least" in refused.text) == (422, True)
    assert 'value="home-01"' in refused.text  # nothing typed is lost
    refused = await admin.post(path, {**form, "home": "a\u202eb"})
    assert (refused.status, "invisible character U+202E" in refused.text) == (422, True)
    assert (await admin.post(path, form)).status == 303
    assert 'value="home-01"' in (await admin.get(f"/users/{ada.user_id}")).text
    for home, kept in (("home-02", "home-02"), ("", None)):
        assert (await admin.post(path, {**form, "home": home})).status == 303
        async with house.desk.db.read() as conn:
            user = await users.find(conn, ada.user_id)
        assert user is not None
        assert (user.role, user.scope, user.home) == (Role.PROSUMER, {"ven-1"}, kept)
    refused = await admin.post(path, {"role": "viewer", "home": "home-01"})
    assert (refused.status, "not single VENs" in refused.text) == (422, True)
    assert (await admin.post(path, {"role": "viewer"})).status == 303


async def test_what_was_typed_is_told_back_as_text_in_the_user_s_language(house: House) -> None:
    admin, hostile = await house.person(Role.ADMIN), "<b>x</b> %(n)s 5 %"
    await admin.post("/account", {"language": "de", "time_zone": ""})
    await admin.post("/users", {"name": hostile, "role": "viewer"})
    for form, said in (
        ({"name": hostile, "role": "viewer"}, "ist schon ein Benutzer"),
        ({"name": "Ben", "role": hostile}, "ist keines von viewer"),
    ):
        refused = await admin.post("/users", form)
        assert (refused.status, said in refused.text) == (422, True), refused.text
        assert "&lt;b&gt;x&lt;/b&gt; %(n)s 5 %" in refused.text
        assert "<b>" not in refused.text
    unknown = await admin.get("/users/%3Cb%3E%25(n)s")
    assert (unknown.status, "&lt;b&gt;%(n)s" in unknown.text, "<b>" in unknown.text) == (404, True, False)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "it is empty"),
        ("   ", "it is empty"),
        ("x" * 65, "at most 64"),
        ("Ada\u202eecila", "U+202E"),
        ("Ada\u200b", "U+200B"),
        ("Ada\x00", "U+0000"),
        ("Ada\nBen", "U+000A"),
        ("\u2066Ada\u2069", "U+2066"),
        ("Ada\ufe0f", "U+FE0F"),
        ("A\u034fda", "U+034F"),
        ("\u3164", "U+3164"),
        ("\u2800", "U+2800"),
        ("Ada\U000e0100", "U+E0100"),
    ],
)
def test_a_name_that_cannot_be_seen_as_it_is_is_refused(name: str, text: str) -> None:
    with pytest.raises(FieldError, match=text.replace("+", r"\+")):
        checked("name", name)


async def test_a_home_is_the_data_point_letter_by_letter_and_all_of_it_is_seen(house: House) -> None:
    admin = await house.person(Role.ADMIN)
    await admin.get("/users")
    form = {"name": "Pia", "role": "prosumer", "ven_ids": "ven-1"}
    for home in ("home\u202e1", "h" * 129):
        refused = await admin.post("/users", {**form, "home": home})
        assert refused.status == 422
    assert (await admin.post("/users", {**form, "home": "home  1"})).status == 200
    async with house.desk.db.read() as conn:
        pia = await users.named(conn, "Pia")
    assert pia is not None
    assert pia.home == "home  1"


@pytest.mark.parametrize("name", ["ADA B", "\uff21da B", " Ada B ", "Ada  B", "Ada\u00a0\u3000B"])
async def test_two_names_that_read_alike_are_one(house: House, name: str) -> None:
    await house.person(Role.VIEWER, name="Ada B")
    async with house.desk.db.write() as conn:
        with pytest.raises(FieldError, match="is a user already"):
            await users.add(conn, name, Role.VIEWER, house.wall.now)


async def test_the_control_socket_makes_users_and_links_and_takes_them_back(house: House) -> None:
    async with control(house) as http:
        async with http.post("/users", json={"name": "Ada", "role": "operator"}) as answer:
            made = await answer.json()
            assert (answer.status, made["can_sign_in"]) == (201, False)
        guest = house.stranger()
        path = made["link"].removeprefix(house.address)
        await guest.get(path)
        assert (await guest.post(path, NEW)).headers["Location"] == "/account/factor"
        async with http.post("/users/Ada/link", json={"reset_factor": True}) as answer:
            assert answer.status == 201
        assert (await guest.get("/account")).status == 303  # another telephone: everything ends
        async with http.post("/users/Ada/revoke") as answer:
            assert (await answer.json())["can_sign_in"] is False
        async with http.get("/users") as answer:
            assert [user["name"] for user in (await answer.json())["users"]] == ["Ada"]
        assert (await enter(house))[1].status == 422
    done = [(entry.who, entry.what) for entry in await entries(house) if entry.who == "operator"]
    assert done == [("operator", "suspend user"), ("operator", "make link"), ("operator", "add user")]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/users", {"name": "Ada", "role": "king"}, 422, "is none of viewer, operator"),
        ("/users", {"name": "A\u202e", "role": "viewer"}, 422, "U+202E"),
        ("/users", {"name": "Ada"}, 400, "role"),
        ("/users/Nobody/link", {}, 404, "no user 'Nobody'"),
        ("/users/Nobody/revoke", {}, 404, "no user 'Nobody'"),
    ],
)
async def test_the_control_socket_names_what_it_cannot_take(
    house: House, path: str, body: dict[str, str], status: int, text: str
) -> None:
    async with control(house) as http, http.post(path, json=body) as answer:
        assert answer.status == status
        assert text in (await answer.json())["error"]
