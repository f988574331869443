"""The second factor: who needs it, that a code opens once, and what is asked for before dangerous steps."""

from datetime import timedelta

import pyotp
import pytest

from aggregator.access import cookie
from aggregator.access import user as users
from aggregator.access.permission import Role
from tests.aggregator.access.conftest import House
from tests.aggregator.access.people import Answer, Person
from tests.aggregator.access.test_session import enter, set_password


async def enter_code(house: House, ada: Person, code: str) -> tuple[Person, Answer]:
    """A browser that has sent the right password and this code."""
    person, _ = await enter(house)
    return person, await person.post("/login/factor", {"code": code})


@pytest.mark.goal(30)
async def test_the_password_alone_opens_nothing_where_a_second_factor_is_set_up(house: House) -> None:
    ada = await set_password(house, Role.OPERATOR)
    person, answer = await enter(house)
    assert answer.headers["Location"] == "/login/factor"
    for path in ("/", "/account", "/account/factor"):
        assert (await person.get(path)).headers["Location"].startswith("/login?next=")
    assert (await person.post("/account/factor/begin")).status == 401
    before = person.jar[cookie.SESSION]
    answer = await person.post("/login/factor", {"code": ada.code(house.wall.now)})
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert person.jar[cookie.SESSION] != before
    assert (await person.get("/")).status == 200


async def test_the_code_has_ten_minutes(house: House) -> None:
    ada = await set_password(house, Role.OPERATOR)
    person, _ = await enter(house)
    house.wall.pass_by(minutes=10)
    answer = await person.post("/login/factor", {"code": ada.code(house.wall.now)})
    assert answer.status == 403  # the form is of no session any more
    assert (await person.get("/login/factor")).headers["Location"] == "/login"


async def test_a_code_opens_once_also_within_its_half_minute(house: House) -> None:
    ada = await set_password(house, Role.OPERATOR)
    code = ada.code(house.wall.now)
    assert (await enter_code(house, ada, code))[1].status == 303
    assert (await enter_code(house, ada, code))[1].status == 422
    house.wall.pass_by(seconds=30)
    assert (await enter_code(house, ada, code))[1].status == 422
    assert (await enter_code(house, ada, ada.code(house.wall.now)))[1].status == 303


async def test_codes_of_a_clock_that_is_half_a_minute_off_are_taken(house: House) -> None:
    ada = await set_password(house, Role.OPERATOR)
    now = house.wall.now
    for seconds, status in ((-60, 422), (60, 422), (-30, 303), (30, 303)):
        code = ada.code(now + timedelta(seconds=seconds))
        assert (await enter_code(house, ada, code))[1].status == status, seconds


async def test_guessing_codes_is_slowed(house: House) -> None:
    ada = await set_password(house, Role.OPERATOR)
    person, _ = await enter(house)
    for _ in range(10):
        assert (await person.post("/login/factor", {"code": "000000"})).status == 422
    assert (await person.post("/login/factor", {"code": ada.code(house.wall.now)})).status == 429


async def test_a_recovery_code_signs_in_once(house: House) -> None:
    ada = await set_password(house, Role.OPERATOR)
    page = (await ada.post("/account/factor/codes")).text
    codes = [part.split("<")[0] for part in page.split("<li><code>")[1:]]
    assert len(set(codes)) == 10
    assert (await enter_code(house, ada, codes[3].upper()))[1].status == 303
    assert (await enter_code(house, ada, codes[3]))[1].status == 422
    await ada.post("/account/factor/codes")
    assert (await enter_code(house, ada, codes[4]))[1].status == 422


@pytest.mark.goal(30)
async def test_a_dangerous_step_asks_for_a_code_of_the_last_five_minutes(house: House) -> None:
    admin = await house.person(Role.ADMIN)
    form = {"name": "Ben <b>", "role": "viewer"}
    house.wall.pass_by(minutes=5)
    asked = await admin.post("/users", form)
    assert asked.status == 403
    assert 'name="name" value="Ben &lt;b&gt;"' in asked.text  # what was typed is kept
    wrong = await admin.post("/users", {**form, "code": "000000"})
    assert (wrong.status, "not right" in wrong.text) == (403, True)
    done = await admin.post("/users", {**form, "code": admin.code(house.wall.now)})
    assert (done.status, "/link/" in done.text) == (200, True)
    assert (await admin.post("/users", {**form, "name": "Cleo"})).status == 200  # fresh again
    async with house.desk.db.read() as conn:
        assert {user.name for user in await users.users(conn)} >= {"Ben <b>", "Cleo"}


@pytest.mark.goal(30)
async def test_an_approval_asks_for_a_code_of_the_last_five_minutes(house: House) -> None:
    operator = await house.person(Role.OPERATOR)
    page, operation = "/events/approvals/nobody/approve", "/api/v1/approvals/nobody/approve"
    header = {"X_CSRF_Token": operator.csrf}
    assert (await operator.post(page)).status == 404
    assert (await operator.post(operation, **header)).status == 404
    house.wall.pass_by(minutes=5)
    for path in (page, operation):
        asked = await operator.post(path, **header)
        assert (asked.status, "second factor" in asked.text) == (403, True), asked.text
    assert (await operator.post(page, {"code": operator.code(house.wall.now)})).status == 404


@pytest.mark.goal(30)
async def test_who_needs_a_second_factor_cannot_give_it_up(house: House) -> None:
    operator, viewer = await house.person(Role.OPERATOR), await house.person(Role.VIEWER, factor=True)
    assert (await operator.post("/account/factor/give-up")).status == 403
    assert (await viewer.post("/account/factor/give-up")).status == 303
    async with house.desk.db.read() as conn:
        found = [await users.find(conn, person.user_id) for person in (operator, viewer)]
    assert [user.has_factor for user in found if user] == [True, False]


async def test_another_telephone_counts_only_after_its_first_code(house: House) -> None:
    ada = await set_password(house, Role.OPERATOR)
    await ada.post("/account/factor/begin")
    page = (await ada.get("/account/factor")).text
    secret = page.split('id="secret">')[1].split("<")[0]
    assert secret != ada.secret
    assert (await ada.post("/account/factor/prove", {"code": "000000"})).status == 422
    assert (await enter_code(house, ada, ada.code(house.wall.now)))[1].status == 303
    new = pyotp.TOTP(secret).at(house.wall.now)
    assert (await ada.post("/account/factor/prove", {"code": new})).status == 200
    house.wall.pass_by(seconds=30)
    assert (await enter_code(house, ada, ada.code(house.wall.now)))[1].status == 422
    assert (await enter_code(house, ada, pyotp.TOTP(secret).at(house.wall.now)))[1].status == 303


async def begun(house: House) -> tuple[Person, str]:
    """Ada, who begins to set up another telephone, and its secret."""
    ada = await set_password(house, Role.OPERATOR)
    await ada.post("/account/factor/begin")
    return ada, (await ada.get("/account/factor")).text.split('id="secret">')[1].split("<")[0]


async def test_another_telephone_is_neither_shown_nor_taken_without_a_fresh_code(house: House) -> None:
    ada, secret = await begun(house)
    house.wall.pass_by(minutes=6)
    assert secret not in (await ada.get("/account/factor")).text
    code = pyotp.TOTP(secret).at(house.wall.now)
    refused = await ada.post("/account/factor/prove", {"code": code})
    assert (refused.status, "begin again" in refused.text) == (409, True)


async def test_another_telephone_is_set_up_in_the_session_that_began_it(house: House) -> None:
    ada, secret = await begun(house)
    other, _ = await enter_code(house, ada, ada.code(house.wall.now))
    assert secret not in (await other.get("/account/factor")).text
    code = pyotp.TOTP(secret).at(house.wall.now)
    assert (await other.post("/account/factor/prove", {"code": code})).status == 409
    assert (await ada.post("/account/factor/prove", {"code": code})).status == 200


async def test_a_first_telephone_is_proven_within_ten_minutes(house: House) -> None:
    ada = await house.person(Role.OPERATOR, factor=False)
    await ada.post("/account/factor/begin")
    secret = (await ada.get("/account/factor")).text.split('id="secret">')[1].split("<")[0]
    house.wall.pass_by(minutes=10)
    assert secret not in (await ada.get("/account/factor")).text
    code = pyotp.TOTP(secret).at(house.wall.now)
    assert (await ada.post("/account/factor/prove", {"code": code})).status == 409
