"""The result of the last audit, as a small file beside the box's own: written whole or not at all."""

import json
import os
from pathlib import Path

KEPT = 20
"""Findings that are named; the number says how many there were."""


def write(path: Path, result: dict[str, object]) -> None:
    """Put it in the place of the one before; OSError where the disk does not take it."""
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(result, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read(path: Path) -> object:
    """What the last audit has found, None where there was none or its file cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
