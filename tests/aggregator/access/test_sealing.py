"""Secrets of second factors are sealed with a key beside the database: the database alone has no code."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pyotp
import pytest
import structlog

from aggregator.access import second_factor
from aggregator.access import user as users
from aggregator.access.errors import SealError
from aggregator.access.permission import Role
from aggregator.access.sealing import SealingKey
from aggregator.backup import Secrets, make, unpack_secrets
from tests.aggregator.access.conftest import House, open_house
from tests.aggregator.access.people import PASSWORD
from tests.aggregator.access.test_session import enter, set_password
from tests.aggregator.access.test_tokens import database_files
from vtn.errors import StartupError

UNSEALED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def kept(database: Path) -> list[tuple[str, str | None, str | None]]:
    """What the file has of second factors."""
    with closing(sqlite3.connect(database)) as conn:
        query = "SELECT user_id, totp_secret, totp_pending FROM agg_user"
        return [(row[0], row[1], row[2]) for row in conn.execute(query)]


@pytest.mark.goal(30)
async def test_the_database_alone_has_no_second_factor(state: Path) -> None:
    async with open_house(state) as house:
        ada = await set_password(house, Role.OPERATOR)
        await ada.post("/account/factor/begin")
        shown = (await ada.get("/account/factor")).text.split('id="secret">')[1].split("<")[0]
    ((_, secret, pending),) = [row for row in kept(house.settings.database) if row[0] == ada.user_id]
    assert secret and secret.startswith("v1.") and pending and pending.startswith("v1.")
    files = b"".join(path.read_bytes() for path in database_files(house.settings.state))
    assert ada.secret.encode() not in files
    assert shown.encode() not in files


async def test_the_key_is_made_once_and_its_owner_s_alone(state: Path) -> None:
    async with open_house(state) as house:
        ada = await set_password(house, Role.OPERATOR)
        path = house.settings.sealing_key
        assert path.stat().st_mode & 0o777 == 0o600
        before = path.read_bytes()
    async with open_house(state) as house:
        assert path.read_bytes() == before
        browser, _ = await enter(house)
        assert (await browser.post("/login/factor", {"code": ada.code(house.wall.now)})).status == 303


async def test_what_was_kept_unsealed_is_sealed_at_the_start_and_opens_as_before(state: Path) -> None:
    async with open_house(state) as house:
        ada = await set_password(house, Role.OPERATOR)
        async with house.access.db.write() as conn:  # as versions before kept it
            await users.change(conn, ada.user_id, totp_secret=UNSEALED, totp_pending=ada.secret)
    async with open_house(state) as house:
        browser, _ = await enter(house)
        code = pyotp.TOTP(UNSEALED).at(house.wall.now)
        assert (await browser.post("/login/factor", {"code": code})).status == 303
        assert ada.secret not in (await browser.get("/account/factor")).text  # begun in no session
    files = b"".join(path.read_bytes() for path in database_files(state))
    assert UNSEALED.encode() not in files


async def test_a_secret_put_to_another_account_opens_nothing(house: House) -> None:
    await set_password(house, Role.OPERATOR)
    eve = await house.person(Role.VIEWER, factor=True)
    async with house.access.db.write() as conn:
        of_eve, ada = await users.find(conn, eve.user_id), await users.named(conn, "Ada")
        assert of_eve is not None and ada is not None
        await users.change(conn, ada.user_id, totp_secret=of_eve.totp_secret)
    browser, _ = await enter(house)
    with structlog.testing.capture_logs() as lines:
        assert (await browser.post("/login/factor", {"code": eve.code(house.wall.now)})).status == 422
    assert [line["user"] for line in lines if line["event"] == "a second factor cannot be read"] == [
        ada.user_id
    ]


async def test_with_another_key_codes_are_refused_and_the_log_says_what_to_do(state: Path) -> None:
    async with open_house(state) as house:
        ada = await set_password(house, Role.OPERATOR)
        page = (await ada.post("/account/factor/codes")).text
        recovery = page.split("<li><code>")[1].split("<")[0]
        house.settings.sealing_key.rename(state / "kept elsewhere")
    SealingKey.at(house.settings.sealing_key)
    with structlog.testing.capture_logs() as lines:
        async with open_house(state) as house:
            browser, _ = await enter(house)
            assert (await browser.post("/login/factor", {"code": ada.code(house.wall.now)})).status == 422
            assert (await browser.post("/login/factor", {"code": recovery})).status == 303
    said = [line for line in lines if "sealed with another key" in line["event"]]
    assert [line["users"] for line in said] == [1]
    shutil.copy(state / "kept elsewhere", house.settings.sealing_key)
    async with open_house(state) as house:
        browser, _ = await enter(house)
        assert (await browser.post("/login/factor", {"code": ada.code(house.wall.now)})).status == 303


async def test_a_lost_key_is_not_replaced_unless_somebody_says_so(state: Path) -> None:
    async with open_house(state) as house:
        await set_password(house, Role.OPERATOR)
        path = house.settings.sealing_key
        path.unlink()
    with pytest.raises(StartupError, match="second factors of 1 users open with it alone: put it back"):
        async with open_house(state):
            pass
    assert not path.exists()
    wish = path.with_name("sealing.begin-anew")
    wish.touch()
    async with open_house(state) as house:
        assert (path.exists(), wish.exists()) == (True, False)
        assert (await enter(house))[1].headers["Location"] == "/account/factor"


async def test_a_backup_with_keys_has_it_and_one_without_has_not(state: Path, tmp_path: Path) -> None:
    async with open_house(state) as house:
        await set_password(house, Role.OPERATOR)
        settings = house.settings
    config, out = tmp_path / "aggregator.toml", tmp_path / "out"
    config.write_text("# settings")
    make(settings, tmp_path / "plain.tar", version="1", now=house.wall.now)
    assert settings.sealing_key.read_bytes().strip() not in (tmp_path / "plain.tar").read_bytes()
    secrets = Secrets.of(config, settings)
    make(settings, tmp_path / "keys.tar", version="1", now=house.wall.now, secrets=secrets)
    lines = unpack_secrets(tmp_path / "keys.tar", out)
    (found,) = [path for path in out.rglob("*sealing.key") if path.is_file()]
    assert found.read_bytes() == settings.sealing_key.read_bytes()
    assert lines


@pytest.mark.parametrize("content", ["", "c2hvcnQ=", "no base64 at all!"])
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "sealing.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(StartupError, match=r"sealing\.key holds no sealing key: put the one of your backup"):
        SealingKey.at(path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    SealingKey.at(path)
    path.chmod(0o644)
    with pytest.raises(StartupError, match="open to others"):
        SealingKey.at(path)


def test_a_sealed_text_that_was_changed_or_is_of_another_key_does_not_open(tmp_path: Path) -> None:
    ours, other = SealingKey.at(tmp_path / "one"), SealingKey.at(tmp_path / "other")
    text = second_factor.sealed(ours, "u_1", PASSWORD)
    assert ours.open("second factor of u_1", text) == PASSWORD
    head, _, body = text.rpartition(".")
    for at in range(len(body) - 1):
        changed = f"{head}.{body[:at]}{'A' if body[at] != 'A' else 'B'}{body[at + 1 :]}"
        with pytest.raises(SealError):
            ours.open("second factor of u_1", changed)
    for of, key in (("second factor of u_2", ours), ("second factor of u_1", other)):
        with pytest.raises(SealError):
            key.open(of, text)
