"""The trail: each action of somebody who is known is a fact of the journal, and a leaf of the log."""

import json

from aggregator import audit
from aggregator.access.action import KIND, Entry, trail
from aggregator.access.permission import Role
from ledger.store import leaf, log_size
from tests.aggregator.access.conftest import House
from tests.aggregator.access.people import PASSWORD
from tests.aggregator.access.test_session import enter, set_password


async def entries(house: House, what: str | None = None) -> list[Entry]:
    """The trail, newest first."""
    async with house.desk.db.read() as conn:
        return list(await trail(conn, what=what))


async def test_what_was_done_names_who_what_and_which_object(house: House) -> None:
    admin, viewer = await house.person(Role.ADMIN), await house.person(Role.VIEWER)
    await admin.post(f"/users/{viewer.user_id}/role", {"role": "auditor"})
    (entry,) = await entries(house)
    assert (entry.who, entry.role, entry.what) == (admin.user_id, "admin", "change role")
    assert (entry.objects, entry.outcome) == ((f"user_id={viewer.user_id}",), "done")
    assert entry.by.startswith("s_")
    assert len(entry.form_sha256) == 64


async def test_what_was_refused_is_there_too(house: House) -> None:
    viewer = await house.person(Role.VIEWER)
    await viewer.post("/users/u_1/suspend")
    await viewer.post("/account", Origin="https://evil.example")
    await viewer.post("/account/tokens/t_1/revoke")
    await viewer.post("/account", {"time_zone": "Mars/Olympus"})
    found = [(entry.what, entry.outcome, entry.detail) for entry in await entries(house)]
    assert found == [
        ("change profile", "failed", "status 422"),
        ("revoke token", "failed", "UnknownObject"),
        ("change profile", "refused", "this was sent by a page of another site"),
        ("suspend user", "refused", "your role does not have the permission user:admin"),
    ]


async def test_nobody_who_is_not_known_writes_into_it(house: House) -> None:
    await set_password(house, Role.VIEWER)
    await enter(house, password="wrong wrong wrong")
    await house.stranger().post("/users")
    assert await entries(house) == []


async def test_signing_in_and_out_is_in_it(house: House) -> None:
    ada = await set_password(house, Role.OPERATOR)
    person, _ = await enter(house)
    await person.post("/login/factor", {"code": "000000"})
    await person.post("/login/factor", {"code": ada.code(house.wall.now)})
    await person.post("/logout")
    found = [(entry.who, entry.what, entry.outcome) for entry in reversed(await entries(house))]
    assert found == [
        (ada.user_id, "sign in", "done"),
        (ada.user_id, "second factor", "failed"),
        (ada.user_id, "second factor", "done"),
        (ada.user_id, "sign out", "done"),
    ]


async def test_a_change_and_its_line_are_kept_together_or_not_at_all(house: House) -> None:
    admin = await house.person(Role.ADMIN)
    seen = house.desk.db
    async with seen.read() as conn:
        before = (await conn.exec_driver_sql("SELECT count(*) FROM agg_user")).scalar_one()
    async with seen.write() as conn:  # the next line of the trail cannot be written
        await conn.exec_driver_sql(
            "CREATE TRIGGER no_line BEFORE INSERT ON vtn_journal BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    answer = await admin.post("/users", {"name": "Ben", "role": "viewer"})
    assert answer.status == 503
    async with seen.read() as conn:
        assert (await conn.exec_driver_sql("SELECT count(*) FROM agg_user")).scalar_one() == before


async def test_lines_become_leaves_and_hold_no_name_and_no_secret(house: House) -> None:
    admin = await house.person(Role.ADMIN, name="Augusta Lovelace")
    await house.give_password(admin)
    new = "nine slow otters sing"
    form = {"password": PASSWORD, "new_password": new, "password_again": new}
    assert (await admin.post("/account/password", form)).status == 303
    assert (await admin.post("/users", {"name": "Benedict Babbage", "role": "viewer"})).status == 200
    await audit.seal(house.desk.db, house.desk.log)
    async with house.desk.db.read() as conn:
        rows = (await conn.exec_driver_sql("SELECT body FROM vtn_journal WHERE kind = ?", (KIND,))).all()
        leaves = [await leaf(conn, index) for index in range(await log_size(conn))]
    assert len(rows) == 2
    sealed = [found.canonical or b"" for found in leaves if found and found.key.startswith(f"{KIND}/")]
    assert [json.loads(record)["body"]["what"] for record in sealed] == ["change password", "invite user"]
    text = json.dumps([str(row[0]) for row in rows]) + b"".join(sealed).decode()
    for word in ("Augusta", "Lovelace", "Benedict", "Babbage", PASSWORD, new, admin.csrf):
        assert word not in text
