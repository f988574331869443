"""`flexpact verify`: whether a record is what was anchored, or a log only grew, from files alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from flexpact import verdict
from flexpact.source_step import MAX_CERTIFICATE_BYTES, MAX_ORIGINAL_BYTES, source_steps
from ledger import consistency as consistency_file
from ledger import receipt as receipt_file
from ledger import record as record_file
from ledger import trust as trust_file
from ledger.consistency import ConsistencyProof, consistency_steps, keep_evidence, read_head
from ledger.errors import ForkError, VerificationError
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.source import STEP
from ledger.trust import Trust
from ledger.verify import Step, read_evidence, verification_steps

app = typer.Typer()


@app.command()
def verify(
    receipt: Annotated[Path | None, typer.Argument(help="The receipt.")] = None,
    *,
    record: Annotated[Path | None, typer.Option(help="The record that the receipt is for.")] = None,
    trust: Annotated[
        Path, typer.Option(help="What you take as given: the log's key, the chain's contract and a block.")
    ],
    original: Annotated[
        Path | None, typer.Option(help="The message that a report's record rests on, byte for byte.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="The certificate (PEM) that a report must be signed by.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
    consistency: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="A B",
            help="Instead of a receipt: whether the log only grew between two receipts or checkpoints.",
        ),
    ] = None,
    proof: Annotated[
        Path | None, typer.Option(help="With --consistency: the proof, from `flexpact ledger consistency`.")
    ] = None,
    keep: Annotated[
        Path, typer.Option(help="With --consistency: the folder for evidence of a fork.")
    ] = Path(),
) -> None:
    """Verify a receipt offline, step by step; or, with --consistency, that the log only grew.

    Exit code 0: every step was checked. 3: nothing failed, but a step could not be checked with this trust
    file. 1: a step failed, or a file is not exactly what its format allows; the last line names the step
    and both values. Two signed checkpoints that do not belong to one log are kept in a file.
    """
    steps: list[Step] = []
    failure: VerificationError | None = None
    try:
        # Step by step, so that those before a failure are shown as well.
        if consistency is not None:
            if (receipt, record, original, certificate) != (None, None, None, None):
                raise typer.BadParameter("--consistency takes its two files, no receipt and no --record")
            steps.extend(_grown(*consistency, proof, trust))
        elif receipt is None or record is None or proof is not None:
            raise typer.BadParameter("needs a receipt with its --record, or --consistency A B")
        else:
            evidence = _evidence(record, receipt, trust)
            raw = None if original is None else read_evidence(STEP, original, MAX_ORIGINAL_BYTES)
            pem = None if certificate is None else read_evidence(STEP, certificate, MAX_CERTIFICATE_BYTES)
            steps.extend(verification_steps(*evidence))
            steps.extend(source_steps(evidence[0], raw, pem))
    except VerificationError as error:
        failure = error
    typer.echo(verdict.as_json(steps, failure) if as_json else verdict.as_lines(steps, failure))
    if isinstance(failure, ForkError):
        _keep(keep, failure)
    raise typer.Exit(verdict.exit_code(steps, failure))


def _evidence(record: Path, receipt: Path, trust: Path) -> tuple[Record, Receipt, Trust]:
    return (
        Record.from_file(read_evidence("record", record, record_file.MAX_FILE_BYTES)),
        Receipt.from_file(read_evidence("receipt", receipt, receipt_file.MAX_FILE_BYTES)),
        Trust.from_file(read_evidence("trust", trust, trust_file.MAX_FILE_BYTES)),
    )


def _grown(one: Path, other: Path, proof: Path | None, trust: Path) -> Iterator[Step]:
    heads = [read_head(read_evidence("checkpoint", p, receipt_file.MAX_FILE_BYTES)) for p in (one, other)]
    shown = None
    if proof is not None:
        limit = consistency_file.MAX_FILE_BYTES
        shown = ConsistencyProof.from_file(read_evidence("consistency", proof, limit))
    trusted = Trust.from_file(read_evidence("trust", trust, trust_file.MAX_FILE_BYTES))
    yield from consistency_steps(heads[0], heads[1], shown, trusted)


def _keep(folder: Path, fork: ForkError) -> None:
    try:
        path = keep_evidence(folder, fork)
    except OSError as error:
        raise SystemExit(
            f"flexpact verify: the evidence could not be kept: {error.filename or folder}: {error.strerror}"
        ) from None
    typer.echo(f"both checkpoints are kept in {path}", err=True)
