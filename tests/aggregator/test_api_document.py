"""The OpenAPI document of `/api/v1`: whole, valid, and served to anybody."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest
from aiohttp import hdrs

from aggregator.api_document import text
from aggregator.api_operations import OPERATIONS
from aggregator.api_serve import PREFIX
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.test_api_serve import Caller


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(text())


def operations(document: Any) -> list[tuple[str, str, Any]]:
    found = []
    for path, methods in document["paths"].items():
        found += [(method.upper(), path, about) for method, about in methods.items()]
    return found


def test_every_operation_is_in_the_document_with_its_permission(document: Any) -> None:
    said = {(method, path): about["x-permission"] for method, path, about in operations(document)}
    assert said == {(op.route.method, PREFIX + op.route.path): op.permission for op in OPERATIONS}


def test_all_that_is_referred_to_is_there_and_every_schema_is_one(document: Any) -> None:
    schemas = document["components"]["schemas"]
    named = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)))
    assert named == {f"#/components/schemas/{name}" for name in schemas}
    for schema in schemas.values():
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})


def test_every_operation_says_what_it_takes_and_answers(document: Any) -> None:
    ids = [about["operationId"] for _, _, about in operations(document)]
    assert len(set(ids)) == len(ids)
    for method, path, about in operations(document):
        in_path = [each["name"] for each in about["parameters"] if each["in"] == "path"]
        assert in_path == re.findall(r"{(\w+)}", path)
        assert {"401", "403", "422", "500", "503"} <= about["responses"].keys(), path
        names = {each["name"] for each in about["parameters"]}
        (done,) = (answer for status, answer in about["responses"].items() if status[0] == "2")
        is_file = "Content-Disposition" in done.get("headers", {})
        assert ("If-None-Match" in names) is (method == "GET" and not is_file), path
        for each in about["parameters"]:
            assert "description" in each, (path, each["name"])


def test_every_creation_takes_an_idempotency_key(document: Any) -> None:
    for _, path, about in operations(document):
        if "201" in about["responses"]:
            assert "Idempotency-Key" in {each["name"] for each in about["parameters"]}, path


def test_every_list_has_pages_or_says_that_it_is_short(document: Any) -> None:
    short = {
        "listPending",
        "listEndingCertificates",
        "listProgrammes",
        "listReportRequests",
        "listAgreements",
        "listApprovals",
        "listEventTemplates",  # two hundred at the most
        "listSettings",
        "listNotices",  # two hundred at the most
    }
    for method, _, about in operations(document):
        if method == "GET" and about["operationId"].startswith("list"):
            names = {each["name"] for each in about["parameters"]}
            ways = ({"limit", "after"}, {"limit", "before"}, {"page", "size"}, {"start", "end"})
            paged = any(way <= names for way in ways)
            assert paged is (about["operationId"] not in short), about["operationId"]


def test_examples_are_as_their_schemas_say(document: Any) -> None:
    count = 0
    for _, path, about in operations(document):
        content = about.get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in content:
            schema = {**content["schema"], "components": document["components"]}
            jsonschema_rs.validator_for(schema).validate(content["example"])
            count += 1
        assert not content or "example" in content or not about["requestBody"]["required"], path
    assert count > 10


async def test_anybody_may_read_it_and_once_is_enough(house: House) -> None:  # noqa: F811
    anybody = Caller(house)
    answer, document = await anybody.ask("GET", "/openapi.json")
    assert (answer.status, document) == (200, json.loads(text()))
    again, _ = await anybody.ask("GET", "/openapi.json", If_None_Match=answer.headers[hdrs.ETAG])
    assert again.status == 304
