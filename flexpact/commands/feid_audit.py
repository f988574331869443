"""`flexpact feid audit`: the box holds what it has sent and received against the aggregator's log."""

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from flexpact.clock import Clock, ClockError
from flexpact.control import harmless

if TYPE_CHECKING:
    from feid.evidence import Audit, Before, Pair
    from feid.settings import FeidSettings
    from ledger.trust import Trust

app = typer.Typer()
log = logging.getLogger(__name__)

EXIT_ALARM = 1
EXIT_NOT_MADE = 2
EXIT_NOT_CHECKED = 3


@app.command()
def audit(  # noqa: PLR0917 - the command line passes them by name
    config: Annotated[Path, typer.Option(help="Settings of the box, a TOML file.")],
    trust: Annotated[Path, typer.Option(help="What you take as given, as for `flexpact verify`.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Directory with records and receipts, or an export; without it the aggregator is asked.",
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(help="When those were taken out, such as 2026-01-21T00:00Z; without it: now."),
    ] = None,
    ven_id: Annotated[
        str | None, typer.Option(help="Our id, where the box is not registered any more.")
    ] = None,
    begin_anew: Annotated[
        bool, typer.Option("--all", help="Begin at the first leaf, not where the last audit ended.")
    ] = False,
    clock: Annotated[str, typer.Option(help="As `flexpact feid serve` takes it.")] = "real",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Find what is missing, different or forged in the log: reports, events and opts of this box.

    Every receipt is verified here first. The aggregator is asked for what is newer than the last audit
    without a finding, and for the proof that its log only grew since; with --all for everything.

    Exit code 0: all that the box remembers is in the log, or too young to be. 1: an alarm; each finding is a
    line of the log too, and `flexpact feid status` shows them. 3: no alarm, but the trust file leaves steps
    of a receipt open. 2: the audit could not be made.
    """
    logging.basicConfig(level="WARNING", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from feid import evidence, outcome  # noqa: PLC0415  # the command line starts without the parts it does not run
    from feid.errors import FeidError  # noqa: PLC0415
    from ledger.errors import LedgerError  # noqa: PLC0415
    from ven.errors import VenError  # noqa: PLC0415

    try:
        settings, now = _settings(config), _instant(as_of, clock)
        given = _trust(trust)
        before = _before(settings, given, now, goes_on=source is None and not begin_anew)
        if source is not None:
            pairs = _taken_out(source)
        else:
            pairs, before = _asked(settings, clock, before)
        made = evidence.audit(settings, pairs, given, now, ven_id, before=before)
        shown = _result(made, now, before)
        outcome.write(settings.audited, shown)
    except (FeidError, LedgerError, VenError, ClockError) as error:
        _end(str(error))
    except OSError as error:
        _end(f"{error.filename or config}: {error.strerror}")
    for finding in made.tally.findings:
        log.error("audit: %s: %s", finding.fault, harmless(finding.text))
    typer.echo(json.dumps(shown) if as_json else _lines(made, shown["from_leaf"]))
    if not made.tally.holds:
        raise typer.Exit(EXIT_ALARM)
    if made.open:
        raise typer.Exit(EXIT_NOT_CHECKED)


def _trust(path: Path) -> "Trust":
    from ledger import trust as trust_file  # noqa: PLC0415
    from ledger.verify import read_evidence  # noqa: PLC0415

    return trust_file.Trust.from_file(read_evidence("trust", path, trust_file.MAX_FILE_BYTES))


def _before(settings: "FeidSettings", trust: "Trust", now: datetime, *, goes_on: bool) -> "Before":
    """What the audits before have come to; none that are of another log, or reach into the future."""
    from feid import outcome  # noqa: PLC0415
    from feid.evidence import Before  # noqa: PLC0415
    from feid.progress import Progress  # noqa: PLC0415

    found, progress = outcome.found_until(settings.audited), Progress.of(outcome.read(settings.audited))
    if progress is not None and progress.head.origin != trust.origin:
        progress = None
    if found is not None and found > now:  # nothing that is done from now on would be looked for
        found = progress = None
    return Before(found, progress, goes_on=goes_on and found is not None and progress is not None)


def _taken_out(source: Path) -> "Iterable[Pair]":
    """What lies in a directory: files side by side, or an export with folders of its own for each kind."""
    from feid import evidence  # noqa: PLC0415
    from ledger.evidence_folder import RECORDS  # noqa: PLC0415

    return _exported(source) if (source / RECORDS).is_dir() else evidence.directory(source)


def _exported(folder: Path) -> "Iterator[Pair]":
    """The pairs of an export, or of an auditor's archive; a receipt that is not there as an empty one."""
    from ledger import receipt, record  # noqa: PLC0415
    from ledger.errors import VerificationError  # noqa: PLC0415
    from ledger.evidence_folder import RECEIPTS, RECORDS, SUFFIX  # noqa: PLC0415
    from ledger.verify import read_evidence  # noqa: PLC0415

    places = sorted((folder / RECORDS).rglob(f"[0-9]*{SUFFIX[RECORDS]}"))
    if not places:
        raise VerificationError("evidence", f"{folder / RECORDS} holds no records")
    for place in places:
        beside = folder / RECEIPTS / place.relative_to(folder / RECORDS).with_suffix(SUFFIX[RECEIPTS])
        proof = read_evidence("receipt", beside, receipt.MAX_FILE_BYTES) if beside.exists() else b""
        yield place.stem, read_evidence("record", place, record.MAX_FILE_BYTES), proof


def _asked(settings: "FeidSettings", clock: str, before: "Before") -> "tuple[Iterable[Pair], Before]":
    from feid.records import ask  # noqa: PLC0415

    progress = before.progress if before.goes_on else None
    pairs, proofs = asyncio.run(ask(settings.ven, Clock.parse(clock), progress))
    return pairs, replace(before, proofs=proofs, asked=True)


def _settings(config: Path) -> "FeidSettings":
    from feid.settings import FeidSettings  # noqa: PLC0415

    return FeidSettings.load(config)


def _instant(text: str | None, clock: str) -> datetime:
    if text is None:
        return Clock.parse(clock)()
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        _end(f"--as-of is no time: {harmless(text)}")
    if instant.tzinfo is None:
        _end(f"--as-of needs a time zone, such as a Z at the end: {harmless(text)}")
    return instant


def _result(made: "Audit", now: datetime, before: "Before") -> dict[str, object]:
    from feid.outcome import KEPT  # noqa: PLC0415

    tally = made.tally
    findings = [{"fault": str(each.fault), "text": each.text} for each in tally.findings]
    return {
        "at": now.isoformat(),
        "holds": tally.holds,
        "found_until": made.found_until.isoformat() if made.found_until else None,
        "from_leaf": before.progress.after + 1 if before.goes_on and before.progress else 0,
        "progress": made.progress.kept() if made.progress else None,
        "reports": tally.reports,
        "signals": tally.signals,
        "opts": tally.opts,
        "pending": tally.pending,
        "unjudged": tally.unjudged,
        "never_came": tally.never_came,
        "open_receipts": made.open,
        "alarms": len(findings),
        "findings": findings[:KEPT],
    }


def _lines(made: "Audit", from_leaf: object) -> str:
    tally = made.tally
    verdict = "complete" if tally.holds else f"ALARM: {len(tally.findings)} found"
    counted = f"{tally.reports} reports, {tally.signals} events and {tally.opts} opts are in the log"
    lines = [f"{verdict}: {counted}{f' from leaf {from_leaf} on' if from_leaf else ''}"]
    lines += [f"{each.fault:<10} {harmless(each.text)}" for each in tally.findings]
    for number, text in (
        (tally.pending, "done here, not sealed yet"),
        (tally.unjudged, "in the log without anything here to compare with, such as from before our memory"),
        (tally.never_came, "versions of events in the log that never came here"),
        (made.open, "receipts rest on a step that the trust file leaves open"),
    ):
        if number:
            lines.append(f"{number:>10} {text}")
    return "\n".join(lines)


def _end(sentence: str) -> NoReturn:
    typer.echo(f"flexpact feid: {sentence}", err=True)
    raise typer.Exit(EXIT_NOT_MADE)
