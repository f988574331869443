"""What the OpenAPI document says of an answer, and whether it is so, in the words of JSON Schema we use."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from vtn.api import described

WORDS = {
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "enum",
    "examples",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "propertyNames",
    "required",
    "title",
    "type",
}
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


@cache
def document() -> Any:
    return json.loads(described())


def answer_of(method: str, path: str, status: int) -> Any:
    """The schema of this answer, None for an unknown path; a status that the document does not have fails."""
    for template, operations in document()["paths"].items():
        pattern = re.sub(r"{\w+}", "[^/]+", template)
        if re.fullmatch(pattern, path.partition("?")[0]) and method.lower() in operations:
            responses = operations[method.lower()]["responses"]
            assert str(status) in responses, f"{method} {template} answers {status}, not in the document"
            (content,) = responses[str(status)]["content"].values()
            return content["schema"]
    return None


def check(schema: Any, value: Any, where: str = "answer") -> None:
    """AssertionError where the value is not as the schema says."""
    assert schema.keys() <= WORDS, f"{where}: {schema.keys() - WORDS} is not looked at"
    if "$ref" in schema:
        check(document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]], value, where)
    if "anyOf" in schema:
        assert any(_fits(each, value, where) for each in schema["anyOf"]), f"{where}: {value!r} fits nothing"
    if "type" in schema:
        fits = isinstance(value, TYPES[schema["type"]]) and not (
            isinstance(value, bool) and schema["type"] in ("integer", "number")
        )
        assert fits, f"{where}: {value!r} is no {schema['type']}"
    assert value in schema.get("enum", [value]), f"{where}: {value!r} is none of {schema.get('enum')}"
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", False)
        if "properties" in schema or isinstance(more, dict):
            missing = set(schema.get("required", ())) - value.keys()
            assert not missing, f"{where}: {missing} is missing"
            for name, part in value.items():
                inner = properties.get(name, more)
                assert isinstance(inner, dict), f"{where}: {name} is not in the document"
                check(inner, part, f"{where}.{name}")
    if isinstance(value, list):
        for index, part in enumerate(value):
            check(schema.get("items", {}), part, f"{where}[{index}]")


def _fits(schema: Any, value: Any, where: str) -> bool:
    try:
        check(schema, value, where)
    except AssertionError:
        return False
    return True
