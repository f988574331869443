"""The OpenAPI document says what the routes do: all of them, with examples that work."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from aiohttp.web_urldispatcher import PrefixedSubAppResource

from openadr import CreatePartyRegistration
from tests.vtn import openapi
from tests.vtn.desk import ALICE, STRANGER, metadata
from tests.vtn.office import FAULT, Clerk, peak
from vtn.api import PREFIX, ROUTES, OperatorApi

NAMES = {"ven": "harbour-cold-store", "event_id": "peak-2026-03-02", "programme": "fast-dispatch"}
NAMES |= {"fingerprint": STRANGER, "report_request_id": "load-quarter-hourly"}


def operations() -> list[tuple[str, str, Any]]:
    return [
        (method.upper(), path, operation)
        for path, methods in openapi.document()["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    app = OperatorApi(None, None).app()  # type: ignore[arg-type] - nothing is asked of it here
    (below,) = [each for each in app.router.resources() if isinstance(each, PrefixedSubAppResource)]
    served = {(route.method, route.resource.canonical) for route in below if route.resource is not None}
    documented = {(method, path) for method, path, _ in operations()}
    assert {each for each in served if each[0] != "HEAD"} == documented
    assert len(documented) == len(ROUTES)


def test_the_document_is_whole() -> None:
    document = openapi.document()
    assert document["openapi"] == "3.1.0"
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))) <= known
    for method, path, operation in operations():
        assert operation["summary"], path
        in_path = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
        assert in_path == re.findall(r"{(\w+)}", path)
        body = operation.get("requestBody")
        assert body is None or method in ("POST", "PATCH")
        assert body is None or "example" in body["content"]["application/json"] or not body["required"]


def test_every_default_is_of_its_type() -> None:
    types = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}
    for name, schema in openapi.document()["components"]["schemas"].items():
        for field, about in schema.get("properties", {}).items():
            expected = types.get(about.get("type", ""))
            if expected and "default" in about:
                assert isinstance(about["default"], expected), f"{name}.{field}"


async def test_the_document_is_served(clerk: Clerk) -> None:
    assert await clerk.get("/openapi.json") == openapi.document()


async def prepared(clerk: Clerk, name: str) -> None:
    """What the example of an operation needs to be there."""
    desk = clerk.desk
    if name == "enrolVen":
        return
    if name == "approvePending":
        message = CreatePartyRegistration(request_id="r", ven_name="x", http_pull_model=True)
        await desk.say(message, STRANGER)
        return
    who = await desk.register(STRANGER, "harbour-cold-store")
    await desk.enrol("d4" * 32, "mill-street-bakery")
    if name in ("requestReport", "cancelReport"):
        await desk.say(metadata(who), STRANGER)
    if name == "cancelReport":
        await clerk.post(f"{PREFIX}/vens/{who}/report-requests", example("requestReport"))
    if name in ("modifyEvent", "cancelEvent", "showEvent"):
        await clerk.post(f"{PREFIX}/events", {**example("createEvent"), "duration": "PT2H"})


def example(name: str) -> Any:
    (operation,) = [each for _, _, each in operations() if each["operationId"] == name]
    body = operation.get("requestBody")
    return None if body is None else body["content"]["application/json"].get("example", {})


async def tried(clerk: Clerk, name: str) -> tuple[str, str]:
    """The status that an operation's example is answered with, and the one that is described first."""
    ((method, path, operation),) = [each for each in operations() if each[2]["operationId"] == name]
    path = re.sub(r"{(\w+)}", lambda match: NAMES[match[1]], path)
    status, _ = await clerk.ask(method, path, example(name))
    return str(status), next(iter(operation["responses"]))


@pytest.mark.parametrize("name", sorted(route.name for route in ROUTES if route.writes))
async def test_the_example_of_an_operation_works(clerk: Clerk, name: str) -> None:
    await prepared(clerk, name)
    got, described = await tried(clerk, name)
    assert got == described


async def test_all_that_can_be_read_can_be_read(clerk: Clerk) -> None:
    await prepared(clerk, "showEvent")
    for route in ROUTES:
        if not route.writes:
            got, described = await tried(clerk, route.name)
            assert got == described, route.name


async def test_an_undocumented_path_or_method_is_a_problem(clerk: Clerk) -> None:
    assert (await clerk.ask("GET", "/vtn/nothing"))[0] == 404
    assert (await clerk.ask("GET", "/elsewhere"))[0] == 404
    assert (await clerk.ask("PUT", "/vtn/vens"))[0] == 405


async def test_what_is_no_json_or_too_large_is_refused(clerk: Clerk) -> None:
    for raw, status in (
        (b"{", 400),
        (b"\xff", 400),
        (b"[]", 422),
        (b'"x"', 422),
        (io.BytesIO(b" " * (4 * 2**20 + 1)), 413),
    ):
        got, problem = await clerk.ask("POST", "/vtn/events", raw=raw)
        assert (got, problem["status"]) == (status, status), problem
    status, problem = await clerk.ask("GET", "/vtn/vens", raw=b"{}")
    assert (status, problem["errors"][0]["field"]) == (422, "body")
    status, problem = await clerk.ask("GET", "/vtn/vens?x=1")
    assert (status, problem["errors"][0]["field"]) == (422, "x")


async def test_a_database_that_takes_nothing_is_told_and_nothing_is_half_done(clerk: Clerk) -> None:
    await clerk.desk.db.close()
    status, problem = await clerk.ask("POST", "/vtn/events", peak())
    assert (status, problem["type"]) == (503, "urn:flexpact:problem:store")


@pytest.mark.goal(9)
async def test_a_fault_of_ours_tells_no_details(clerk: Clerk) -> None:
    clerk.forbidden[clerk.desk.ids[ALICE]] = FAULT
    status, problem = await clerk.ask("POST", "/vtn/events", peak())
    assert (status, problem["detail"]) == (500, "the log says more")
    assert (await clerk.get("/vtn/events"))["events"] == []
