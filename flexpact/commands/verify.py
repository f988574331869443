"""`flexpact verify`: whether a record is what was anchored, from three files alone."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger import receipt as receipt_file
from ledger import record as record_file
from ledger import trust as trust_file
from ledger.errors import VerificationError
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.trust import Trust
from ledger.verify import Status, Step, read_evidence, verification_steps

app = typer.Typer()

EXIT_FAILED = 1
EXIT_NOT_CHECKED = 3
FAILED = "FAILED"


@app.command()
def verify(
    receipt: Annotated[Path, typer.Argument(help="The receipt.")],
    record: Annotated[Path, typer.Option(help="The record that the receipt is for.")],
    trust: Annotated[
        Path, typer.Option(help="What you take as given: the log's key, the chain's contract and a block.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Verify a receipt offline, step by step.

    Exit code 0: every step was checked. 3: nothing failed, but a step could not be checked with this trust
    file. 1: a step failed, or a file is not exactly what its format allows; the last line names the step
    and both values.
    """
    steps: list[Step] = []
    failure: VerificationError | None = None
    try:
        # Step by step, so that those before a failure are shown as well.
        steps.extend(verification_steps(*_evidence(record, receipt, trust)))
    except VerificationError as error:
        failure = error
    typer.echo(_as_json(steps, failure) if as_json else _as_lines(steps, failure))
    if failure is not None:
        raise typer.Exit(EXIT_FAILED)
    if any(step.status is Status.NOT_CHECKED for step in steps):
        raise typer.Exit(EXIT_NOT_CHECKED)


def _evidence(record: Path, receipt: Path, trust: Path) -> tuple[Record, Receipt, Trust]:
    return (
        Record.from_file(read_evidence("record", record, record_file.MAX_FILE_BYTES)),
        Receipt.from_file(read_evidence("receipt", receipt, receipt_file.MAX_FILE_BYTES)),
        Trust.from_file(read_evidence("trust", trust, trust_file.MAX_FILE_BYTES)),
    )


def _as_lines(steps: list[Step], failure: VerificationError | None) -> str:
    lines = [_line(step.status, step.name, step.text) for step in steps]
    if failure is not None:
        lines.append(_line(FAILED, failure.step, str(failure).removeprefix(f"{failure.step}: ")))
    return "\n".join(lines)


def _line(status: str, name: str, text: str) -> str:
    return f"{status:<11}  {name:<10}  {_shown(text)}"


def _shown(text: str) -> str:
    """Return `text` with everything escaped that could move the cursor, start a line or fail to print.

    The files come from somebody else: a key with a line break in it must not print a verdict of its own.
    """
    plain = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
    encoding = sys.stdout.encoding or "ascii"
    return plain.encode(encoding, "backslashreplace").decode(encoding)


def _as_json(steps: list[Step], failure: VerificationError | None) -> str:
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
