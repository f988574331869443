"""As much of YAML as a compose file of ours uses, read strictly and not with the code that writes it."""

from __future__ import annotations

import json
import re
from typing import Any

_LINE = re.compile(r'(?P<indent> *)(?:- (?P<item>".*")|(?P<name>[a-z0-9_-]+):(?: (?P<value>".*"))?)')


def read(text: str) -> dict[str, Any]:
    """The file's content; ValueError at the first line that is of another kind."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    content, rest = _table(lines, 0)
    if rest:
        raise ValueError(f"what is this: {rest[0]!r}")
    return content


def _table(lines: list[str], depth: int) -> tuple[dict[str, Any], list[str]]:
    table: dict[str, Any] = {}
    while lines:
        match = _LINE.fullmatch(lines[0])
        if match is None or match["name"] is None or len(match["indent"]) > depth:
            raise ValueError(f"what is this: {lines[0]!r}")
        if len(match["indent"]) < depth:
            break
        if match["name"] in table:
            raise ValueError(f"twice: {lines[0]!r}")
        lines = lines[1:]
        if match["value"] is not None:
            table[match["name"]] = json.loads(match["value"])
        elif lines and lines[0].lstrip().startswith("- "):
            items = []
            while lines and (item := _LINE.fullmatch(lines[0])) and item["item"] is not None:
                if len(item["indent"]) != depth + 2:
                    raise ValueError(f"what is this: {lines[0]!r}")
                items.append(json.loads(item["item"]))
                lines = lines[1:]
            table[match["name"]] = items
        else:
            table[match["name"]], lines = _table(lines, depth + 2)
    return table, lines
