"""JSON that is kept as text, as SQL reads it: on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class JsonText(FunctionElement[Any]):
    """A column of text as the JSON value that it holds: `JsonText(t.c.body)["who"].as_string()`."""

    name = "json_text"
    inherit_cache = True
    type = JSON()


@compiles(JsonText)
def _cast(element: JsonText, compiler: SQLCompiler, **more: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **more)} AS JSON)"


@compiles(JsonText, "sqlite")
def _as_it_is(element: JsonText, compiler: SQLCompiler, **more: Any) -> str:
    """SQLite reads text as JSON, and would make a number of it in a cast."""
    return compiler.process(element.clauses, **more)
