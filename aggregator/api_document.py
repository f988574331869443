"""The OpenAPI 3.1 document of all operations under `/api/v1`, and the page that shows it.

It is made of the operations themselves: what the VTN's document says of each, and what holds for all of them
on the network, such as permissions, keys and versions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from aiohttp import hdrs, web

from aggregator.access import cookie, guard
from aggregator.access.permission import Permission
from aggregator.api_operations import OPERATIONS
from aggregator.api_repeat import HEADER as KEY
from aggregator.api_repeat import LONGEST, REPEATED
from aggregator.api_serve import PREFIX, resources
from aggregator.dashboard.operation import Operation
from aggregator.dashboard.page import Page, Visit
from vtn.openapi import REF, document
from vtn.problem import CONTENT_TYPE

PATH = f"{PREFIX}/openapi.json"
DOCS = "/developer"
ABOUT = (
    "Everything that the dashboard shows and does. A program sends `Authorization: Bearer fxp_...`, a page of"
    " the dashboard its cookie and, but for GET, the header `X-CSRF-Token`. Refusals are problem details."
)
_OF_ALL = {"401": "Unauthorized", "403": "Forbidden"}
_TAG = {"schema": {"type": "string"}, "description": "The version of what is shown."}
_Json = dict[str, Any]


@cache
def text() -> str:
    """The document as JSON text."""
    return json.dumps(described(OPERATIONS))


def described(operations: Sequence[Operation]) -> _Json:
    """The document as JSON values."""
    found = document([operation.route for operation in operations], PREFIX)
    found["info"] = {"title": "flexpact", "version": "1", "description": ABOUT}
    found["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "A token of the API."},
        "session": {"type": "apiKey", "in": "cookie", "name": cookie.SESSION},
        "form": {"type": "apiKey", "in": "header", "name": guard.CSRF_HEADER},
    }
    found["security"] = [{"token": []}]
    resource = resources(operations)
    for operation in operations:
        route = operation.route
        about = found["paths"][PREFIX + route.path][route.method.lower()]
        _say(about, operation, resource.get(route.name))
    return found


def _say(about: _Json, operation: Operation, resource: Operation | None) -> None:
    """What holds for an operation on the network beside what its route says."""
    route = operation.route
    about["description"] = f"Needs the permission `{operation.permission}`."
    if operation.fresh:
        about["description"] += " Needs a second factor of the last five minutes, which tokens never have."
    about["x-permission"] = str(operation.permission)
    session: dict[str, list[str]] = {"session": [], "form": []} if route.writes else {"session": []}
    about["security"] = [session] if operation.fresh else [{"token": []}, session]
    about["responses"] |= {status: _problem(phrase) for status, phrase in _OF_ALL.items()}
    done = about["responses"][str(route.status)]
    if route.files:
        words = 'The name of the file: `attachment; filename="..."`. Made anew each time, it has no tag.'
        done["headers"] = {hdrs.CONTENT_DISPOSITION: {"schema": {"type": "string"}, "description": words}}
    elif not route.writes:
        _say_of_reading(about, done)
    elif operation.writes:
        _say_of_change(about, done, resource)


def _say_of_reading(about: _Json, done: _Json) -> None:
    about["parameters"].append(_header(hdrs.IF_NONE_MATCH, "Tags of what is known already."))
    done["headers"] = {hdrs.ETAG: _TAG}
    about["responses"]["304"] = {"description": "Not Modified", "headers": {hdrs.ETAG: _TAG}}
    if any(parameter["name"] in {"after", "before"} for parameter in about["parameters"]):
        link = {"schema": {"type": "string"}, "description": 'The next page, with `rel="next"`.'}
        done["headers"][hdrs.LINK] = link


def _say_of_change(about: _Json, done: _Json, resource: Operation | None) -> None:
    key = _header(KEY, "A repeat with the same key is answered as the first request was, for a day.")
    key["schema"] |= {"minLength": 1, "maxLength": LONGEST, "pattern": "^[!-~]+$"}
    about["parameters"].append(key)
    done["headers"] = {REPEATED: {"schema": {"const": "true"}, "description": "This is a repeat."}}
    about["responses"].setdefault("409", _problem("Conflict"))
    if resource is not None:
        words = f"The tag of `{resource.route.name}`: refused if that has changed."
        about["parameters"].append(_header(hdrs.IF_MATCH, words))
        about["responses"]["412"] = _problem("Precondition Failed")


def _header(name: str, words: str) -> _Json:
    schema = {"type": "string"}
    return {"name": name, "in": "header", "required": False, "description": words, "schema": schema}


def _problem(phrase: str) -> _Json:
    return {"description": phrase, "content": {CONTENT_TYPE: {"schema": {"$ref": REF + "ProblemBody"}}}}


async def _serve(visit: Visit) -> web.StreamResponse:
    tag = hashlib.sha256(text().encode()).hexdigest()[:20]
    headers = {hdrs.ETAG: f'"{tag}"', hdrs.CACHE_CONTROL: "no-cache"}
    if any(each.value in {tag, "*"} for each in visit.request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.json_response(text=text(), headers=headers)


async def _page(visit: Visit) -> web.StreamResponse:
    return visit.page("developer/screen.html", groups=_groups(), document=PATH, address=_address(visit))


def _address(visit: Visit) -> str:
    return visit.desk.access.address()


@cache
def _groups() -> dict[str, list[_Json]]:
    """The operations by the first word of their paths, as the page shows them."""
    made = json.loads(text())
    groups: dict[str, list[_Json]] = {}
    for path, methods in made["paths"].items():
        for method, about in methods.items():
            shown = {**about, "method": method.upper(), "path": path, **_shown(made, about)}
            groups.setdefault(about["tags"][0], []).append(shown)
    return groups


def _shown(made: _Json, about: _Json) -> _Json:
    content = about.get("requestBody", {}).get("content", {}).get("application/json", {})
    status, done = next(iter(about["responses"].items()))
    answer = done["content"].get("application/json", {}).get("schema")
    media_types = [kind for kind in done["content"] if kind != "application/json"]
    return {
        "told": [
            (
                each["name"],
                f"{_kind(made, each['schema'])}, {each['in']}",
                each["required"],
                each["description"],
            )
            for each in about["parameters"]
        ],
        "fields": _fields(made, content.get("schema")),
        "example": json.dumps(content["example"], indent=2) if "example" in content else "",
        "status": status,
        "answered": _fields(made, answer),
        "files": media_types,
        "refusals": sorted(code for code in about["responses"] if code >= "4"),
    }


def _fields(made: _Json, schema: _Json | None) -> list[tuple[str, str, bool, str]]:
    """Name, kind, whether it is needed, and what it means."""
    if schema is None:
        return []
    whole = _followed(made, schema)
    needed = whole.get("required", ())
    return [
        (name, _kind(made, part), name in needed, part.get("description", ""))
        for name, part in whole.get("properties", {}).items()
    ]


def _followed(made: _Json, schema: _Json) -> _Json:
    name = schema.get("$ref", "").removeprefix(REF)
    return made["components"]["schemas"][name] if name else schema


def _kind(made: _Json, schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(REF)
    if "anyOf" in schema:
        kinds = dict.fromkeys(_kind(made, one) for one in schema["anyOf"] if one.get("type") != "null")
        return " or ".join(kinds)
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(made, schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")


PAGES = (
    Page(method=hdrs.METH_GET, path=PATH, name="api document", permission=Permission.ANYBODY, handle=_serve),
    Page(
        method=hdrs.METH_GET,
        path=DOCS,
        name="api documentation",
        permission=Permission.OWN_ACCOUNT,
        handle=_page,
    ),
)
