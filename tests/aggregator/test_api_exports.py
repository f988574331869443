"""Files below /api/v1: of what was settled and measured, the same as the pages give."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pyarrow.parquet
import pytest
import pytest_asyncio

from aggregator.access.permission import Role
from aggregator.store import calls
from aggregator.web import Web
from aggregator.web_settings import WebSettings
from tests.aggregator.access.people import Person, sign_in
from tests.aggregator.conftest import END, Prepared, node_settings, running, write_settings
from tests.aggregator.test_statement_export import verify

pytestmark = pytest.mark.asyncio(loop_scope="module")
V1 = "/api/v1"
DAY = {"start": "2026-01-20T00:00:00Z", "end": "2026-01-20T12:00:00Z"}
FOREVER = {"start": "2020-01-20T00:00:00Z", "end": "2026-01-20T12:00:00Z"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Web]:
    """Two nodes after an event that is settled."""
    folder = tmp_path_factory.mktemp("files")
    boxes = prepared.copy(folder)
    settings = write_settings(folder, [node_settings(n) for n in (1, 2, 3)])
    settings = settings.model_copy(update={"web": WebSettings(port=0, insecure_dev=True)})
    async with running(settings, boxes) as platform:
        answer = await platform.ask(5)
        await platform.jump(END)
        await platform.clock.move(END + timedelta(days=2))
        await platform.settled(len(answer["nodes"]))
        assert platform.aggregator is not None and platform.aggregator.web is not None
        yield platform.aggregator.web


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def viewer(web: Web, http: aiohttp.ClientSession) -> Person:
    return await sign_in(web.desk.access, http, web.address, Role.VIEWER)


async def raw(who: Person, path: str, **query: Any) -> tuple[aiohttp.ClientResponse, bytes]:
    """The answer and the file."""
    cookies = "; ".join(f"{name}={text}" for name, text in who.jar.items())
    address = f"{who.address}{path}?{urlencode(query)}"
    async with who.http.get(address, headers={"Cookie": cookies}) as answer:
        return answer, await answer.read()


@pytest.mark.parametrize("kind", ["csv", "xlsx", "pdf", "json"])
async def test_statements_come_as_the_file_that_the_page_gives(web: Web, viewer: Person, kind: str) -> None:
    answer, content = await raw(viewer, f"{V1}/statements/export/{kind}")
    page, on_page = await raw(viewer, f"/settlement/export/{kind}")
    assert (answer.status, page.status) == (200, 200), content
    for name in ("Content-Type", "Content-Disposition"):
        assert answer.headers[name] == page.headers[name]
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
    if kind == "json":
        verify(content, str(web.desk.log.verifier))
    if kind != "xlsx":  # its parts have the time of day
        assert content == on_page


async def test_a_choice_of_statements_that_cannot_be_taken_names_field_and_value(viewer: Person) -> None:
    for path, query, field, value in (
        ("docx", {}, "kind", "docx"),
        ("csv", {"month": "2026-13"}, "month", "2026-13"),
        ("csv", {"page": "2"}, "page", "2"),
    ):
        answer, content = await raw(viewer, f"{V1}/statements/export/{path}", **query)
        assert answer.status == 422, content
        (error,) = json.loads(content)["errors"]
        assert (error["field"], error["value"]) == (field, json.dumps(value))


async def test_readings_of_chosen_nodes_come_as_csv_and_as_parquet(viewer: Person) -> None:
    chosen = {**DAY, "nodes": "node-1, node-2", "report": "TELEMETRY_USAGE"}
    answer, content = await raw(viewer, f"{V1}/readings/export/csv", **chosen)
    assert (answer.status, answer.content_type) == (200, "text/csv"), content
    assert "readings-20260120T0000Z-20260120T1200Z.csv" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert {row["node"] for row in rows} == {"node-1", "node-2"}
    answer, content = await raw(viewer, f"{V1}/readings/export/parquet", **chosen)
    table = pyarrow.parquet.read_table(io.BytesIO(content))
    assert table.num_rows == len(rows) > 90


async def test_a_choice_of_readings_that_cannot_be_taken_names_field_and_value(viewer: Person) -> None:
    for path, query, field in (
        ("csv", {**DAY, "nodes": "node-1,nobody"}, "nodes"),
        ("csv", {**DAY, "end": DAY["start"]}, "end"),
        ("csv", FOREVER, "end"),
        ("csv", {**DAY, "points": ",".join(map(str, range(101)))}, "points"),
        ("csv", {"start": DAY["start"]}, "end"),
        ("txt", DAY, "format"),
    ):
        answer, content = await raw(viewer, f"{V1}/readings/export/{path}", **query)
        assert (answer.status, answer.content_type) == (422, "application/problem+json"), content
        assert [error["field"] for error in json.loads(content)["errors"]] == [field], query


async def test_an_events_curves_are_those_of_its_page(web: Web, viewer: Person) -> None:
    async with web.desk.db.read() as conn:
        (event_id,) = {call.event_id for call in await calls(conn)}
    shown: dict[str, Any] = {"complete": False}
    while not shown["complete"]:  # the first curves of a day are made when somebody asks
        answer, content = await raw(viewer, f"{V1}/events/{event_id}/load")
        assert answer.status == 200, content
        shown = json.loads(content)
    drawn = json.loads((await raw(viewer, f"/events/{event_id}/load.json"))[1])
    curves = [one["values"] for one in drawn["series"]]
    assert [shown[name]["kw"] for name in ("metered", "target", "baseline")] == curves
    assert len(shown["times"]) == len(curves[0])
    called = [at for at, kw in zip(shown["times"], shown["target"]["kw"], strict=True) if kw is not None]
    assert called == [at for at in shown["times"] if shown["start"] <= at < shown["end"]]
    assert (await raw(viewer, f"{V1}/events/nothing/load"))[0].status == 404
