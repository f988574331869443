"""The result of the last audit, as a small file beside the box's own: written whole or not at all."""

import json
import os
from datetime import datetime
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


def found_until(path: Path) -> datetime | None:
    """Up to when the audits so far have found all that was done; None where none has, or nobody can tell."""
    kept = read(path)
    try:
        at = datetime.fromisoformat(kept["found_until"]) if isinstance(kept, dict) else None
    except (KeyError, TypeError, ValueError):
        return None
    return at if at is not None and at.tzinfo is not None else None


def read(path: Path) -> object:
    """What the last audit has found, None where there was none or its file cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
