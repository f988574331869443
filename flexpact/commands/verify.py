"""`flexpact verify`: whether a record is what was anchored, from three files alone."""

from pathlib import Path
from typing import Annotated

import typer

from flexpact import verdict
from ledger import receipt as receipt_file
from ledger import record as record_file
from ledger import trust as trust_file
from ledger.errors import VerificationError
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.trust import Trust
from ledger.verify import Step, read_evidence, verification_steps

app = typer.Typer()


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
    typer.echo(verdict.as_json(steps, failure) if as_json else verdict.as_lines(steps, failure))
    raise typer.Exit(verdict.exit_code(steps, failure))


def _evidence(record: Path, receipt: Path, trust: Path) -> tuple[Record, Receipt, Trust]:
    return (
        Record.from_file(read_evidence("record", record, record_file.MAX_FILE_BYTES)),
        Receipt.from_file(read_evidence("receipt", receipt, receipt_file.MAX_FILE_BYTES)),
        Trust.from_file(read_evidence("trust", trust, trust_file.MAX_FILE_BYTES)),
    )
