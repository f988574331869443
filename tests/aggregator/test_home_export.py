"""The file with all that is kept of one home: made beside the event loop, one at a time for each user."""

from __future__ import annotations

import asyncio
import json
import threading
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from aggregator import home_export
from aggregator.access.permission import Role
from aggregator.home import Home
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.conftest import START
from vtn.schema import reading_table

HOME = Home(("ven-1",), "home-01")


async def measure(house: House, count: int) -> None:  # noqa: F811
    """So many values of the home are there."""
    value = {
        "ven_id": HOME.ven_ids[0],
        "r_id": HOME.name,
        "report_name": "TELEMETRY_USAGE",
        "duration_s": 60.0,
        "quality": "Quality Good - Non Specific",
        "created_at": START,
        "report_request_id": "asked",
    }
    rows = [{**value, "ts": START + timedelta(minutes=n), "value": float(n)} for n in range(count)]
    async with house.desk.db.write() as conn:
        await conn.execute(insert(reading_table), rows)


async def test_values_are_written_in_pieces_beside_the_event_loop_and_stay_in_order(
    house: House,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await measure(house, 4500)
    sizes: list[int] = []
    dumps = json.dumps

    def seen(content: Any, **how: Any) -> str:
        if isinstance(content, list) and content and "quality" in content[0]:
            assert threading.current_thread() is not threading.main_thread()
            sizes.append(len(content))
        return dumps(content, **how)

    monkeypatch.setattr("aggregator.home_export.json.dumps", seen)
    monkeypatch.setattr(home_export, "ROWS_A_FILE", 2000)
    async with house.desk.db.read() as conn:
        file = await home_export.export(conn, house.desk.log, "u_1", HOME, START)
    with file, zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.startswith("values/")]
        files = [json.loads(archive.read(name)) for name in names]
    assert names == [f"values/reading-00{n}.json" for n in (1, 2, 3)]
    assert [len(rows) for rows in files] == [2000, 2000, 500]
    assert [row["value"] for rows in files for row in rows] == [float(n) for n in range(4500)]
    assert max(sizes) <= 1000


async def test_a_second_file_of_the_same_user_waits_for_the_first(
    house: House,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person, other = await house.person(Role.PROSUMER), await house.person(Role.PROSUMER)
    begun, go_on = asyncio.Event(), asyncio.Event()
    actions = home_export._actions

    async def slow(conn: Any, user_id: str) -> Any:
        begun.set()
        await go_on.wait()
        return await actions(conn, user_id)

    monkeypatch.setattr(home_export, "_actions", slow)
    first = asyncio.create_task(person.get("/home/data.zip"))
    await begun.wait()
    second = await asyncio.wait_for(person.get("/home/data.zip"), 20)
    assert (second.status, second.headers["Retry-After"]) == (429, "10")
    assert "your file is being made already" in second.text
    go_on.set()
    assert (await first).status == 200
    assert [(await one.get("/home/data.zip")).status for one in (person, other)] == [200, 200]
