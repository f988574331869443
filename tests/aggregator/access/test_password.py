"""Passwords: how they are kept, which are taken, and what guessing them costs."""

import asyncio

import pytest

from aggregator.access import password, throttle
from aggregator.access import user as users
from aggregator.access.errors import FieldError, RefusedError
from aggregator.access.password import Passwords
from aggregator.access.permission import Role
from tests.aggregator.access.conftest import House
from tests.aggregator.access.people import PASSWORD
from tests.aggregator.access.test_session import enter, set_password


@pytest.mark.goal(29)
async def test_a_password_is_kept_as_argon2id_of_19_mib_and_two_rounds() -> None:
    kept = await Passwords().hash(PASSWORD)
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PASSWORD not in kept


@pytest.mark.goal(29)
async def test_a_hash_of_weaker_parameters_is_replaced_at_the_next_sign_in(house: House) -> None:
    ada = await set_password(house, Role.VIEWER)
    weak = await Passwords(memory_kib=1024, rounds=1).hash(PASSWORD)
    async with house.desk.db.write() as conn:
        await users.change(conn, ada.user_id, password=weak)
    assert (await enter(house))[1].status == 303
    async with house.desk.db.read() as conn:
        user = await users.find(conn, ada.user_id)
    assert user is not None and user.password is not None
    assert "m=19456,t=2" in user.password
    assert (await enter(house))[1].status == 303


async def test_one_password_typed_in_two_ways_is_one() -> None:
    passwords = Passwords(memory_kib=1024, rounds=1)
    kept = await passwords.hash("caf\u00e9 au lait noir")
    assert await passwords.matches(kept, "cafe\u0301 au lait noir")


@pytest.mark.goal(29)
async def test_an_unknown_name_is_told_and_costs_what_a_wrong_password_does(house: House) -> None:
    await set_password(house, Role.VIEWER)
    hashing = house.access.passwords
    before = hashing.checks
    _, wrong = await enter(house, password="not the right one")
    between = hashing.checks
    _, unknown = await enter(house, name="Eve", password="not the right one")
    assert (between - before, hashing.checks - between) == (1, 1)
    assert wrong.status == unknown.status == 422
    assert wrong.text.replace("Ada", "Eve").split("csrf")[0] == unknown.text.split("csrf")[0]
    assert "name or password is not right" in unknown.text


@pytest.mark.goal(29)
async def test_who_is_suspended_or_has_no_password_is_told_nothing_else(house: House) -> None:
    suspended = await set_password(house, Role.VIEWER)
    async with house.desk.db.write() as conn:
        await users.change(conn, suspended.user_id, suspended_at=house.wall.now)
    await house.person(Role.VIEWER, name="Ben")
    for name in ("Ada", "Ben"):
        answer = (await enter(house, name=name))[1]
        assert (answer.status, "name or password is not right" in answer.text) == (422, True)


@pytest.mark.goal(29)
async def test_after_ten_failures_an_account_has_to_wait_longer_each_time(house: House) -> None:
    await set_password(house, Role.VIEWER)
    for _ in range(10):
        assert (await enter(house, password="wrong wrong wrong"))[1].status == 422
    blocked = (await enter(house))[1]
    assert (blocked.status, blocked.headers["Retry-After"]) == (429, "31")
    assert "too many tries failed: wait 31 seconds" in blocked.text
    house.wall.pass_by(seconds=31)
    assert (await enter(house, password="wrong wrong wrong"))[1].status == 422
    house.wall.pass_by(seconds=31)
    assert (await enter(house))[1].status == 429
    house.wall.pass_by(seconds=31)
    assert (await enter(house))[1].status == 303


@pytest.mark.goal(29)
async def test_guessing_is_slowed_alike_for_names_that_do_not_exist(house: House) -> None:
    keys = (throttle.of_account("Nobody"),)
    async with house.desk.db.write() as conn:
        for _ in range(10):
            await throttle.count(conn, keys, house.wall.now)
    assert (await enter(house, name="NOBODY"))[1].status == 429


@pytest.mark.goal(29)
async def test_one_address_that_tries_many_names_has_to_wait(house: House) -> None:
    await set_password(house, Role.VIEWER)
    async with house.desk.db.write() as conn:
        for number in range(10):
            keys = (throttle.of_account(f"name {number}"), throttle.of_address("127.0.0.1"))
            await throttle.count(conn, keys, house.wall.now)
    assert (await enter(house))[1].status == 429


@pytest.mark.goal(29)
def test_waiting_doubles_up_to_a_quarter_of_an_hour() -> None:
    waits = [throttle.wait(failures).total_seconds() for failures in (0, 9, 10, 11, 12, 14, 15, 10_000)]
    assert waits == [0, 0, 30, 60, 120, 480, 900, 900]


def test_addresses_of_one_customer_are_one() -> None:
    assert throttle.of_address("2001:db8::1") == throttle.of_address("2001:db8::ffff:2")
    assert throttle.of_address("2001:db8::1") != throttle.of_address("2001:db8:0:1::1")
    assert throttle.of_address("192.0.2.1") != throttle.of_address("192.0.2.2")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("eleven char", "at least 12"),
        ("x" * 257, "at most 256"),
        ("aaaaaaaaaaaaaa", "repetition"),
        ("abcabcabcabcabc", "repetition"),
        ("123456789012", "row"),
        ("lkjhgfdsapoiuytrewq"[:12], "row"),
        ("qwertyuiopas", "row"),
        ("Password2026!", "guessed first"),
        ("P4ssw0rd!!2026", "guessed first"),
        ("flexpact-2026", "guessed first"),
        ("Ada.Lovelace.1", "guessed first"),
    ],
)
def test_a_password_that_is_guessed_first_is_refused(text: str, why: str) -> None:
    with pytest.raises(FieldError, match=why):
        password.check(text, "Ada Lovelace")


@pytest.mark.parametrize(
    "text", [PASSWORD, "Tr4verse-onyx-Kelp", "비밀번호는아주길게적는다", "v8#Lq2!mZ0$wXr"]
)
def test_a_good_password_is_taken(text: str) -> None:
    password.check(text, "Ada Lovelace")


async def test_who_would_wait_too_long_for_a_hash_is_sent_away() -> None:
    passwords = Passwords(memory_kib=1024, rounds=1)
    asked = [passwords.hash(PASSWORD) for _ in range(password.IN_LINE + 3)]
    told = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in told if isinstance(answer, RefusedError)]
    assert [(error.status, error.retry_after_s) for error in refused] == [(503, 5)] * 3
    assert (await passwords.hash(PASSWORD)).startswith("$argon2id$")
