"""Secrets stand in no log, no error, no page that is not theirs, and no file but the one-time link's."""

import logging
from pathlib import Path

import pytest
import structlog

from aggregator.access.first_link import FILE
from aggregator.access.permission import Role
from tests.aggregator.access.conftest import House, open_house
from tests.aggregator.access.people import PASSWORD
from tests.aggregator.access.test_first_sign_in import MINE, link_path
from tests.aggregator.access.test_session import enter
from tests.aggregator.access.test_tokens import database_files, make

CANARY = "canary-7fb1-password-words"


@pytest.mark.goal(32)
async def test_logs_and_errors_hold_no_secret(
    state: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    with structlog.testing.capture_logs() as lines:
        async with open_house(state) as house:
            secrets, pages = await _use(house)
    told = "\n".join([*map(repr, lines), caplog.text, *capfd.readouterr(), *pages])
    assert "a sign-in failed" in told
    for secret in secrets:
        assert secret not in told, secret
    kept = b"".join(path.read_bytes() for path in database_files(state))
    for secret in secrets[1:]:  # what a second factor is made of must be kept
        assert secret.encode() not in kept, secret


async def _use(house: House) -> tuple[list[str], list[str]]:
    """Sign in in every way; the secrets that were used, and what answers said that should hold none."""
    link = link_path(house)
    first = house.stranger()
    await first.get(link)
    refused = await first.post(link, {**MINE, "password": CANARY, "password_again": "other"})
    await first.post(link, MINE)
    admin = await house.person(Role.ADMIN, name="Ben")
    await house.give_password(admin)
    token = await make(house, admin)
    wrong = (await enter(house, name="Ben", password=CANARY))[1]
    half, _ = await enter(house, name="Ben")
    code = admin.code(house.wall.now)
    await half.post("/login/factor", {"code": code})
    broken = await admin.get("/account", Cookie=f"__Host-flexpact={'x' * 300}")
    bad_token = await half.get("/api/v1/nothing", Authorization=f"Bearer {token}x")
    invited = (await admin.post("/users", {"name": "Cleo", "role": "viewer"})).text
    new_link = invited.split("/link/")[1].split("<")[0]
    cookies = [person.jar["__Host-flexpact"] for person in (first, admin, half)]
    secrets = [admin.secret, PASSWORD, CANARY, token, link.removeprefix("/link/"), new_link, *cookies]
    form = refused.text.replace(link, "the address that was asked for")
    return secrets, [form, wrong.text, broken.text, bad_token.text]


@pytest.mark.goal(32)
async def test_a_page_that_fails_does_not_put_its_link_into_the_log(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> None:
        raise ValueError("on purpose")

    monkeypatch.setattr("aggregator.access.link.digest", fault)
    path = link_path(house)
    with structlog.testing.capture_logs() as lines:
        answer = await house.stranger().get(path)
    assert (answer.status, "this is our mistake" in answer.text) == (500, True)
    assert "on purpose" not in answer.text
    assert [line["page"] for line in lines if line["event"] == "a page failed"] == ["/link/{token}"]


async def test_the_file_with_the_link_is_its_owners_alone(house: House) -> None:
    path = house.settings.state / FILE
    path.chmod(0o644)
    await house.aggregator.stop()
    async with open_house(house.settings.state):
        assert path.stat().st_mode & 0o777 == 0o600
