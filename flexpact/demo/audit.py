"""Each box of a demo holds what it did against the exported log, as `flexpact feid audit` does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from feid.audit import Present, compare
from feid.evidence import keys_of
from flexpact.demo.layout import Layout
from flexpact.demo.summary import Check
from ledger.errors import LedgerError
from ledger.record import Record
from ledger.source import verify_source
from ven.errors import VenError
from ven.store import recollect


@dataclass(frozen=True, slots=True)
class Audited:
    """What the audits of all boxes came to, and the first trouble."""

    complete: int
    reports: int
    signed: int
    trouble: str = ""

    def checks(self, nodes: int) -> list[Check]:
        """Return what must hold of them."""
        complete = f"{self.complete} of {nodes} audits find all; {self.trouble}"
        signed = f"{self.signed} of {self.reports} reports are signed"
        return [
            Check("every box finds all that it did in the log", self.complete == nodes, complete),
            Check("every report in the log is signed by its box", 0 < self.reports == self.signed, signed),
        ]


def audit_boxes(layout: Layout, nodes: Sequence[str], now: datetime) -> Audited:
    """Audit the box of each node against the exported records, whose receipts were verified before."""
    records = [Record.from_file(path.read_bytes()) for path in layout.receipts.glob("*.record.json")]
    complete, reports, troubles = 0, list[Record](), list[str]()
    for node in nodes:
        try:
            memory = recollect(layout.directory / "state" / f"{node}-ven.sqlite")
        except VenError as error:
            troubles.append(str(error))
            continue
        own = [record for record in records if record.body.get("ven_id") == memory.ven_id]
        # the boxes have stopped and all is sealed: nothing may be missing for being young
        keys = keys_of(layout.pki / f"{node}.pem")
        tally = compare(memory, own, Present(now, keys, timedelta(0)))
        complete += tally.holds and tally.reports > 0
        troubles += [f"{node}: {finding.fault}: {finding.text}" for finding in tally.findings]
        reports += [record for record in own if record.kind == "report"]
    signed = sum(map(_is_signed, reports))
    return Audited(complete, len(reports), signed, troubles[0] if troubles else "")


def _is_signed(record: Record) -> bool:
    try:
        return verify_source(record) is not None
    except LedgerError:
        return False
