"""Sessions: what the cookie is, when it changes, and when it opens nothing any more."""

import pytest

from aggregator.access import cookie, session
from aggregator.access.permission import Role
from tests.aggregator.access.conftest import House
from tests.aggregator.access.people import PASSWORD, Answer, Person


async def enter(house: House, name: str = "Ada", password: str = PASSWORD) -> tuple[Person, Answer]:
    """A browser that has sent the sign-in form."""
    person = house.stranger()
    await person.get("/login")
    return person, await person.post("/login", {"name": name, "password": password})


async def set_password(house: House, role: Role, **more: object) -> Person:
    """Ada, of this role, with the tests' password."""
    ada = await house.person(role, name="Ada", **more)
    await house.give_password(ada)
    return ada


@pytest.mark.goal(26)
async def test_the_cookie_is_of_this_host_alone_and_for_no_script(house: House) -> None:
    await set_password(house, Role.VIEWER)
    _, answer = await enter(house)
    (given,) = [text for text in answer.set_cookies if text.startswith(f"{cookie.SESSION}=")]
    assert cookie.SESSION == "__Host-flexpact"
    assert given.split("; ")[1:] == ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"]


@pytest.mark.goal(26)
async def test_signing_in_gives_another_token_each_time(house: House) -> None:
    await set_password(house, Role.VIEWER)
    person, _ = await enter(house)
    first = person.jar[cookie.SESSION]
    await person.post("/login", {"name": "Ada", "password": PASSWORD})
    assert person.jar[cookie.SESSION] != first


@pytest.mark.goal(26)
async def test_who_signs_in_again_has_ended_the_session_that_his_browser_had(house: House) -> None:
    await set_password(house, Role.VIEWER)
    person, _ = await enter(house)
    before = Person(house.http, house.address, jar=dict(person.jar))
    other, _ = await enter(house)
    await person.post("/login", {"name": "Ada", "password": PASSWORD})
    assert [(await one.get("/account")).status for one in (person, before, other)] == [200, 303, 200]


@pytest.mark.goal(26)
async def test_a_token_that_somebody_chose_is_never_taken(house: House) -> None:
    await set_password(house, Role.VIEWER)
    person = house.stranger()
    person.jar[cookie.SESSION] = "chosen-by-somebody-else"
    await person.get("/login")
    await person.post("/login", {"name": "Ada", "password": PASSWORD})
    assert person.jar[cookie.SESSION] != "chosen-by-somebody-else"
    assert (await person.get("/")).status == 200


@pytest.mark.goal(26)
async def test_a_session_ends_after_a_quarter_of_an_hour_without_its_user(house: House) -> None:
    viewer = await house.person(Role.VIEWER)
    house.wall.pass_by(minutes=14, seconds=59)
    assert (await viewer.get("/")).status == 200
    house.wall.pass_by(minutes=14, seconds=59)
    assert (await viewer.get("/")).status == 200
    house.wall.pass_by(minutes=15)
    assert (await viewer.get("/")).headers["Location"] == "/login?next=%2F"


@pytest.mark.goal(26)
async def test_pages_that_keep_themselves_up_to_date_do_not_keep_the_session(house: House) -> None:
    viewer = await house.person(Role.VIEWER)
    for _ in range(3):
        house.wall.pass_by(minutes=6)
        answer = await viewer.get("/overview/tiles", HX_Request="true")
    assert (answer.status, "HX-Redirect" in answer.headers) == (401, False)  # what is typed there stays
    other = await house.person(Role.VIEWER)
    for _ in range(3):
        house.wall.pass_by(minutes=6)
        answer = await other.get("/overview/tiles", HX_Request="true", X_User_Active="1")
    assert answer.status == 200


@pytest.mark.goal(26)
async def test_a_session_ends_after_twelve_hours_whatever_its_user_does(house: House) -> None:
    viewer = await house.person(Role.VIEWER)
    async with house.desk.db.read() as conn:
        found = await session.find(conn, viewer.jar[cookie.SESSION])
    assert found is not None
    house.wall.pass_by(hours=11, minutes=59)
    async with house.desk.db.write() as conn:
        await session.seen(conn, found.session_id, house.wall.now)
    assert (await viewer.get("/account")).status == 200
    house.wall.pass_by(minutes=1)
    assert (await viewer.get("/account")).status == 303


@pytest.mark.goal(26)
async def test_signing_out_ends_the_session_for_whoever_has_its_cookie(house: House) -> None:
    viewer = await house.person(Role.VIEWER)
    copied = dict(viewer.jar)
    await viewer.post("/logout")
    assert cookie.SESSION not in viewer.jar
    thief = house.stranger()
    thief.jar = copied
    assert (await thief.get("/")).status == 303


@pytest.mark.goal(26)
async def test_one_session_or_all_others_are_ended_by_their_user(house: House) -> None:
    await set_password(house, Role.VIEWER)
    here, there, third = [(await enter(house))[0] for _ in range(3)]
    async with house.desk.db.read() as conn:
        found = await session.find(conn, there.jar[cookie.SESSION])
    assert found is not None
    await here.post(f"/account/sessions/{found.session_id}/end")
    assert [(await each.get("/account")).status for each in (here, there, third)] == [200, 303, 200]
    await here.post("/account/sessions/end-others")
    assert [(await each.get("/account")).status for each in (here, third)] == [200, 303]


async def test_nobody_ends_the_session_of_another(house: House) -> None:
    ada, eve = await house.person(Role.VIEWER), await house.person(Role.VIEWER)
    async with house.desk.db.read() as conn:
        found = await session.find(conn, ada.jar[cookie.SESSION])
    assert found is not None
    assert (await eve.post(f"/account/sessions/{found.session_id}/end")).status == 404
    assert (await ada.get("/")).status == 200


@pytest.mark.goal(26)
async def test_another_password_ends_other_sessions_and_changes_this_ones_token(house: House) -> None:
    await set_password(house, Role.VIEWER)
    (here, _), (there, _) = await enter(house), await enter(house)
    before = here.jar[cookie.SESSION]
    new = "nine slow otters sing"
    form = {"password": PASSWORD, "new_password": new, "password_again": new}
    assert (await here.post("/account/password", form)).status == 303
    assert here.jar[cookie.SESSION] != before
    assert [(await each.get("/account")).status for each in (here, there)] == [200, 303]
    assert (await enter(house, password=PASSWORD))[1].status == 422
    assert (await enter(house, password=new))[1].status == 303


@pytest.mark.goal(26)
async def test_another_role_ends_the_sessions_of_its_user(house: House) -> None:
    viewer, admin = await house.person(Role.VIEWER), await house.person(Role.ADMIN)
    answer = await admin.post(f"/users/{viewer.user_id}/role", {"role": "auditor"})
    assert answer.status == 303
    assert (await viewer.get("/account")).status == 303


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1"]
)
async def test_signing_in_leads_to_pages_of_ours_alone(house: House, path: str) -> None:
    await set_password(house, Role.VIEWER)
    person = house.stranger()
    await person.get("/login")
    answer = await person.post("/login", {"name": "Ada", "password": PASSWORD, "next": path})
    assert answer.headers["Location"] == "/"


async def test_a_link_on_another_site_finds_the_session_by_a_second_request(house: House) -> None:
    answer = await house.stranger().get("/account", Sec_Fetch_Site="cross-site")
    assert (answer.status, 'http-equiv="refresh"' in answer.text) == (200, True)


async def test_what_was_typed_is_kept_when_the_session_ended_meanwhile(house: House) -> None:
    ada = await set_password(house, Role.VIEWER)
    form = {"language": "de", "time_zone": "Europe/Berlin", "password": "not to be kept"}
    house.wall.pass_by(minutes=15)
    ended = await ada.post("/account", form)
    assert (ended.status, "Your session has ended" in ended.text) == (401, True)
    assert 'name="time_zone" value="Europe/Berlin"' in ended.text
    assert "not to be kept" not in ended.text
    before = ada.csrf
    other_tab, _ = await enter(house)
    ada.jar = other_tab.jar
    again = await ada.post("/account", {**form, "csrf": before})
    assert (again.status, "Send it again?" in again.text) == (403, True)
    assert (await ada.post("/account", form)).status == 303
