"""Notices and a prosumer's own data below /api/v1, as the pages give them."""

from __future__ import annotations

import io
import json
import zipfile

from aggregator.access.permission import Role
from aggregator.operator_choice import NoticeChoice, write
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.test_api_exports import V1, raw
from tests.aggregator.test_api_serve import Caller, token_of
from tests.aggregator.test_home_export import HOME, measure


async def test_a_test_goes_to_everybody_who_would_be_told_and_is_listed(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house, Role.ADMIN))
    choice = NoticeChoice(webhooks=("https://hooks.example/a",), escalate_to=("night@example.org",))
    async with house.desk.db.write() as conn:
        await write(conn, choice, 0, "u_1", house.clock.now)
    answer, made = await program.ask("POST", "/notices/test", Idempotency_Key="once")
    again, same = await program.ask("POST", "/notices/test", Idempotency_Key="once")
    assert (answer.status, made, again.status, same) == (200, {"targets": 2}, 200, made)
    _, listed = await program.ask("GET", "/notices")
    assert {(one["channel"], one["target"]) for one in listed["notices"]} == {
        ("webhook", "https://hooks.example/a"),
        ("mail", "night@example.org"),
    }
    assert [one["body"]["type"] for one in listed["notices"]] == ["test", "test"]
    assert len((await program.ask("GET", "/notices?limit=1"))[1]["notices"]) == 1
    assert (await program.ask("GET", "/notices?limit=201"))[0].status == 422


async def test_a_home_gets_all_its_data_and_nobody_elses(house: House) -> None:  # noqa: F811
    await measure(house, 3)
    ada = await house.person(Role.PROSUMER, name="Ada", scope=frozenset(HOME.ven_ids))
    answer, content = await raw(ada, f"{V1}/home/data.zip")
    assert (answer.status, answer.content_type, answer.headers["Cache-Control"]) == (
        200,
        "application/zip",
        "no-store",
    )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert json.loads(archive.read("about.json"))["user_id"] == ada.user_id
        assert json.loads(archive.read("account/user.json"))[0]["name"] == "Ada"
    operator = await house.person(Role.OPERATOR)
    assert (await raw(operator, f"{V1}/home/data.zip"))[0].status == 403
