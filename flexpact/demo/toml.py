"""Settings files, written: as much of TOML as settings need, which the standard library only reads."""

import json
from collections.abc import Mapping
from pathlib import Path


def write_toml(path: Path, content: Mapping[str, object]) -> Path:
    """Write `content` as TOML, readable for its owner alone, and return the path."""
    path.touch(mode=0o600)
    path.write_text("\n".join(_lines(content, "")) + "\n", encoding="utf-8")
    return path


def _lines(table: Mapping[str, object], prefix: str) -> list[str]:
    """Return the lines of one table: its plain values first, then its sub-tables and lists of tables."""
    plain = [f"{name} = {_value(value)}" for name, value in table.items() if not _is_table(value)]
    for name, value in table.items():
        if isinstance(value, Mapping):
            plain += ["", f"[{prefix}{name}]", *_lines(value, f"{prefix}{name}.")]
        elif isinstance(value, list) and _is_table(value):
            for row in value:
                plain += ["", f"[[{prefix}{name}]]", *_lines(row, f"{prefix}{name}.")]
    return plain


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
    )


def _value(value: object) -> str:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(str(value))
