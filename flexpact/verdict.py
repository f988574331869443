"""What a check of evidence found, as a person or a program reads it, and the exit code that says it."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from ledger.errors import VerificationError
from ledger.verify import Status, Step

EXIT_FAILED = 1
EXIT_NOT_CHECKED = 3
FAILED = "FAILED"


def exit_code(steps: Sequence[Step], failure: VerificationError | None) -> int:
    """0: every step was checked; 3: nothing failed, but a step could not be checked; 1: a step failed."""
    if failure is not None:
        return EXIT_FAILED
    return EXIT_NOT_CHECKED if any(step.status is Status.NOT_CHECKED for step in steps) else 0


def as_lines(steps: Sequence[Step], failure: VerificationError | None) -> str:
    """One line for each step, the failed one last."""
    lines = [_line(step.status, step.name, step.text) for step in steps]
    if failure is not None:
        lines.append(_line(FAILED, failure.step, str(failure).removeprefix(f"{failure.step}: ")))
    return "\n".join(lines)


def as_json(steps: Sequence[Step], failure: VerificationError | None) -> str:
    """One JSON object with the verdict and the steps."""
    shown: list[dict[str, Any]] = [
        {"name": step.name, "status": step.status, "text": step.text} for step in steps
    ]
    verdict = "verified"
    if failure is not None:
        verdict = "failed"
        shown.append(
            {
                "name": failure.step,
                "status": "failed",
                "text": failure.text,
                "expected": failure.expected,
                "got": failure.got,
            }
        )
    elif any(step.status is Status.NOT_CHECKED for step in steps):
        verdict = "not checked"
    return json.dumps({"verdict": verdict, "steps": shown})  # in ASCII, so that it prints everywhere


def _line(status: str, name: str, text: str) -> str:
    return f"{status:<11}  {name:<10}  {shown(text)}"


def shown(text: str) -> str:
    """Return `text` with everything escaped that could move the cursor, start a line or fail to print.

    The files come from somebody else: a key with a line break in it must not print a verdict of its own.
    """
    plain = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
    encoding = sys.stdout.encoding or "ascii"
    return plain.encode(encoding, "backslashreplace").decode(encoding)
