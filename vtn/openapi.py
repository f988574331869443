"""The OpenAPI 3.1 document, made of the routes and their models, so that it says what they do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vtn.api_route import Route
from vtn.problem import CONTENT_TYPE, ProblemBody

VERSION = "1"
JSON = "application/json"
REF = "#/components/schemas/"
OF_ALL = (413, 422, 500, 503)
WITH_BODY = (400, 415)
PARAMETERS = {
    "ven": "Id of the VEN, or its name.",
    "event_id": "Id of the event.",
    "fingerprint": "SHA-256 of the certificate, 64 hex digits, or the 29 characters `5E:71:...`.",
    "report_request_id": "Id of the report request.",
    "programme": "Key of the programme.",
}
QUERY = {
    "limit": "At most so many are listed.",
    "last": "At most so many, the newest.",
    "bodies": "With the messages themselves.",
    "page": "Which page, from 1.",
    "size": "How many a page has.",
    "sort": "By what they are sorted.",
    "order": "`up` or `down`.",
    "text": "Only what has this in its name.",
    "start": "Begin of the period.",
    "end": "End of the period.",
}
"""What names in a query mean whose models do not say it."""


def document(routes: Sequence[Route], prefix: str) -> dict[str, Any]:
    """The document as JSON values."""
    names, schemas = models_json_schema([*_models(routes)], ref_template=REF + "{model}")
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(prefix + route.path, {})[route.method.lower()] = _operation(route, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flexpact VTN, the operator's API",
            "version": VERSION,
            "description": "VENs, events, opts, reports and message traces of an OpenADR 2.0b server.",
        },
        "paths": paths,
        "components": {
            "schemas": {name: _without_nulls(schema) for name, schema in schemas["$defs"].items()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],  # none on the Unix socket, the token on the loopback port
    }


def _without_nulls(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as answers are written: what is null is left out, so it is not required."""
    fields = schema.get("properties", {})
    required = [
        name for name in schema.get("required", ()) if {"type": "null"} not in fields[name].get("anyOf", ())
    ]
    return (
        {**schema, "required": required} if required else {k: v for k, v in schema.items() if k != "required"}
    )


Key = tuple[type[BaseModel], Literal["validation", "serialization"]]


def _models(routes: Sequence[Route]) -> Iterator[Key]:
    yield ProblemBody, "serialization"
    for route in routes:
        if _answers_json(route):
            yield route.answer, "serialization"
        if route.body is not None:
            yield route.body, "validation"


def _operation(route: Route, names: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.path.split("/")[1]],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route, names),
    }
    if route.body is not None:
        content: dict[str, Any] = {"schema": names[route.body, "validation"]}
        if route.example is not None:
            content["example"] = route.example
        required = any(field.is_required() for field in route.body.model_fields.values())
        operation["requestBody"] = {"required": required, "content": {JSON: content}}
    return operation


def _responses(route: Route, names: Any) -> dict[str, Any]:
    content: dict[str, Any] = {media_type: {} for media_type in route.files}
    if _answers_json(route):
        content[JSON] = {"schema": names[route.answer, "serialization"]}
    responses: dict[str, Any] = {
        str(route.status): {"description": HTTPStatus(route.status).phrase, "content": content}
    }
    own = WITH_BODY if route.body is not None else ()
    unknown = (404,) if "{" in route.path else ()
    for status in sorted({*OF_ALL, *own, *unknown, *route.refusals}):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {CONTENT_TYPE: {"schema": names[ProblemBody, "serialization"]}},
        }
    return responses


def _answers_json(route: Route) -> bool:
    return not route.files or JSON in route.files


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", route.path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": {**PARAMETERS, **route.parameters}[name],
            "schema": {"type": "string"},
        }


def _query_parameters(route: Route) -> Iterator[dict[str, Any]]:
    if route.query is None:
        return
    schema = route.query.model_json_schema()
    named = schema.get("$defs", {})
    for name, described in schema.get("properties", {}).items():
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": described.get("description") or QUERY.get(name, ""),
            "schema": _resolved(_but(described, "description"), named),
        }


def _resolved(schema: Any, named: Mapping[str, Any]) -> Any:
    """A schema of a parameter with what it refers to in its place, and without null, which no text says."""
    if isinstance(schema, list):
        return [_resolved(each, named) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolved({**named[schema["$ref"].rpartition("/")[2]], **_but(schema, "$ref")}, named)
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(kinds) == 1:
        dropped = ("anyOf", "default") if schema.get("default", 0) is None else ("anyOf",)
        return _resolved({**_but(schema, *dropped), **kinds[0]}, named)
    return {name: _resolved(part, named) for name, part in schema.items()}


def _but(schema: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: part for name, part in schema.items() if name not in names}
