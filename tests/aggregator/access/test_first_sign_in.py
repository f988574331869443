"""From an empty database to a signed-in admin: by a link in a file, valid once and for a day."""

from pathlib import Path

import pyotp

from aggregator.access import administration, cookie
from aggregator.access import user as users
from aggregator.access.first_link import FILE
from aggregator.access.permission import Role
from tests.aggregator.access.conftest import House, open_house
from tests.aggregator.access.people import PASSWORD, Person

MINE = {"name": "Ada", "password": PASSWORD, "password_again": PASSWORD}


def link_path(house: House) -> str:
    """The path of the link in the file."""
    path = house.settings.state / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    return path.read_text().strip().removeprefix(house.address)


async def come_in(house: House) -> Person:
    """The first admin, with a password and without a second factor."""
    path, person = link_path(house), house.stranger()
    assert (await person.get(path)).status == 200
    answer = await person.post(path, MINE)
    assert (answer.status, answer.headers["Location"]) == (303, "/account/factor")
    return person


async def test_the_link_in_the_file_makes_the_first_admin(house: House) -> None:
    await come_in(house)
    async with house.desk.db.read() as conn:
        (user,) = await users.users(conn)
    assert (user.name, user.role) == ("Ada", Role.ADMIN)
    assert not (house.settings.state / FILE).exists()


async def test_the_link_opens_once(house: House) -> None:
    path = link_path(house)
    await come_in(house)
    other = house.stranger()
    assert (await other.get(path)).status == 410
    await other.get("/login")  # a form's cookie
    assert (await other.post(path, {**MINE, "name": "Eve"})).status == 410


async def test_the_link_is_valid_for_a_day(house: House) -> None:
    path, person = link_path(house), house.stranger()
    house.wall.pass_by(hours=23, minutes=59)
    assert (await person.get(path)).status == 200
    house.wall.pass_by(minutes=1)
    assert (await person.get(path)).status == 410


async def test_a_restart_makes_another_link_until_somebody_came_in(state: Path) -> None:
    async with open_house(state) as house:
        before = link_path(house)
    async with open_house(state) as house:
        assert link_path(house) != before
        assert (await house.stranger().get(before)).status == 410
        await come_in(house)
    async with open_house(state) as house:
        assert not (state / FILE).exists()


async def test_who_is_no_admin_leaves_the_link_where_it_is(state: Path) -> None:
    async with open_house(state) as house, house.desk.db.write() as conn:
        viewer = await users.add(conn, "guest", Role.VIEWER, house.wall())
        await users.change(conn, viewer.user_id, password="hashed")
    async with open_house(state) as house:
        await come_in(house)


async def test_an_admin_who_was_invited_elsewhere_ends_the_link_too(house: House) -> None:
    path, ben = link_path(house), house.stranger()
    async with house.desk.db.write() as conn:
        _, token = await administration.invite(conn, "Ben", Role.ADMIN, house.wall())
    assert (await house.stranger().get(path)).status == 200
    await ben.get(f"/link/{token}")
    assert (await ben.post(f"/link/{token}", MINE)).status == 303
    assert (await house.stranger().get(path)).status == 410
    assert not (house.settings.state / FILE).exists()


async def test_a_password_that_is_refused_uses_nothing_up(house: House) -> None:
    path, person = link_path(house), house.stranger()
    await person.get(path)
    answer = await person.post(path, {**MINE, "password": "short", "password_again": "short"})
    assert answer.status == 422
    assert 'value="Ada"' in answer.text
    assert (await person.post(path, MINE)).status == 303


async def test_without_a_second_factor_an_admin_may_only_set_one_up(house: House) -> None:
    admin = await come_in(house)
    refused = await admin.get("/")
    assert (refused.status, 'href="/account/factor"' in refused.text) == (403, True)
    assert (await admin.get("/users")).status == 403
    assert (await admin.post("/account/factor/begin")).status == 303
    page = (await admin.get("/account/factor")).text
    assert "data:image/svg+xml" in page
    secret = page.split('id="secret">')[1].split("<")[0]
    before = admin.jar[cookie.SESSION]
    answer = await admin.post("/account/factor/prove", {"code": pyotp.TOTP(secret).at(house.wall.now)})
    assert answer.text.count("<li><code>") == 10
    assert admin.jar[cookie.SESSION] != before
    assert (await admin.get("/users")).status == 200
