"""Puts the interpreter's recursion limit back to its default.

Libraries for Ethereum raise it to 100,000 when they are imported. In a process that reads messages of
strangers, a body of many brackets would then overflow the C stack inside the JSON parser and end the
process, instead of raising RecursionError. Call it after these imports.
"""

from __future__ import annotations

import sys

RECURSION_LIMIT = 1000


def restore_recursion_limit() -> None:
    """Set the limit that Python starts with."""
    sys.setrecursionlimit(RECURSION_LIMIT)
