"""Records and receipts as a box gets them to audit: each receipt verified here, none taken on trust."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from feid.audit import MARGIN, Fault, Finding, Present, Tally, compare, found_until
from feid.progress import Progress, Proofs, faults
from feid.settings import FeidSettings
from ledger import receipt as receipt_file
from ledger import record as record_file
from ledger.checkpoint import Checkpoint
from ledger.errors import VerificationError
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.trust import Trust
from ledger.verify import read_evidence, verify_receipt
from ven.errors import SettingsError, StateError
from ven.store import Recollection, recollect

RECORD, RECEIPT = ".record.json", ".receipt.txt"
Pair = tuple[str, bytes, bytes]
"""Name of a leaf, its record and its receipt."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit came to; `open` receipts rest on a step that the trust file leaves open.

    `found_until`: up to when this audit, or one before it, has found all that was done; `progress`: from
    where the next one can go on.
    """

    tally: Tally
    open: int
    found_until: datetime | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Before:
    """What the audits before this one have come to. `asked`: the aggregator gives the records; `goes_on`:
    only those behind `progress`, with `proofs` that the log only grew since.
    """

    found_until: datetime | None = None
    progress: Progress | None = None
    proofs: Proofs = field(default_factory=dict)
    goes_on: bool = False
    asked: bool = False


NOTHING_BEFORE = Before()


def audit(
    settings: FeidSettings,
    pairs: Iterable[Pair],
    trust: Trust,
    now: datetime,
    ven_id: str | None = None,
    *,
    before: Before = NOTHING_BEFORE,
) -> Audit:
    """What this box remembers, held against these records.

    `ven_id` is needed where the box is not registered. A receipt that does not hold proves nothing, which is
    a finding. StateError or SettingsError where the box's own files cannot be read.
    """
    memory = recollect(settings.ven.state_path)
    memory = replace(memory, ven_id=ven_id or memory.ven_id)
    if memory.ven_id is None:
        raise StateError("the box is not registered, so its id must be given")
    read = _Reading(memory, trust)
    for pair in pairs:
        read.take(*pair)
    read.follow(before, settings.state.parent)
    present = Present(
        now,
        own_keys(settings),
        xml_certificate=xml_certificate(settings),
        found_until=before.found_until,
        goes_on=before.goes_on,
    )
    tally = compare(memory, read.records, present)
    tally = replace(tally, findings=(*read.findings, *tally.findings))
    if not tally.holds:
        return Audit(tally, read.open, before.found_until, before.progress)
    found = max(filter(None, (found_until(memory, read.records, now), before.found_until)), default=None)
    progress = before.progress
    if before.asked:
        progress = read.progress(progress if before.goes_on else None, found)
    return Audit(tally, read.open, found, progress)


class _Reading:
    """Records whose receipts hold, as they are read, and what speaks against the others."""

    def __init__(self, memory: Recollection, trust: Trust) -> None:
        self._ids, self._trust = memory.ids, trust
        self._leaves: list[tuple[int, datetime]] = []
        self._heads: dict[tuple[int, bytes], Checkpoint] = {}
        self.records: list[Record] = []
        self.findings: list[Finding] = []
        self.open = 0

    def take(self, name: str, raw_record: bytes, raw_receipt: bytes) -> None:
        """One leaf; others' are their own affair."""
        try:
            record = Record.from_file(raw_record)
            if record.body.get("ven_id") not in self._ids:
                return
            receipt = Receipt.from_file(raw_receipt)
            self.open += not verify_receipt(record, receipt, self._trust).complete
        except VerificationError as error:
            self.findings.append(Finding(Fault.BROKEN, f"{name}: {error}"))
            return
        self.records.append(record)
        self._leaves.append((receipt.index, record.at))
        head = receipt.checkpoint
        self._heads[head.size, head.root] = head

    def follow(self, before: Before, folder: Path) -> None:
        """Whether the checkpoints are of the one log that was verified before, which only grew."""
        if not before.goes_on or before.progress is None:
            return
        head = before.progress.head
        heads = {(head.size, head.root): head, **self._heads}
        said = faults(heads.values(), before.proofs, self._trust, folder)
        self.findings += [Finding(Fault.BROKEN, text) for text in said]

    def progress(self, before: Progress | None, found: datetime | None) -> Progress | None:
        """From where the next audit can go on, where this one holds."""
        heads = [*self._heads.values(), *([before.head] if before else [])]
        if not heads or found is None:
            return before
        after = before.after if before else -1
        for index, at in sorted(self._leaves):
            if at > found - MARGIN:  # by a clock that is slow it may be of what is not found yet
                break
            after = max(after, index)
        return Progress(after, max(heads, key=lambda head: head.size))


def directory(path: Path) -> Iterator[Pair]:
    """The pairs of files in a directory, a receipt that is not there as an empty one.

    VerificationError where there is no record, or one cannot be read.
    """
    records = sorted(path.glob(f"*{RECORD}"))
    if not records:
        raise VerificationError("evidence", f"{path} holds no *{RECORD}")
    for each in records:
        name = each.name.removesuffix(RECORD)
        beside = path / (name + RECEIPT)
        receipt = read_evidence("receipt", beside, receipt_file.MAX_FILE_BYTES) if beside.exists() else b""
        yield name, read_evidence("record", each, record_file.MAX_FILE_BYTES), receipt


def own_keys(settings: FeidSettings) -> frozenset[str]:
    """SHA-256 of the key of our certificate, as `ledger.source` names keys; none without a certificate."""
    return frozenset() if settings.ven.cert is None else keys_of(settings.ven.cert)


def keys_of(path: Path) -> frozenset[str]:
    """SHA-256 of the key of a certificate; SettingsError where that cannot be read."""
    key = _certificate(path).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return frozenset({sha256(spki).hexdigest()})


def xml_certificate(settings: FeidSettings) -> str | None:
    """SHA-256 of our certificate where reports are signed in their XML and its key cannot sign the bytes."""
    if settings.ven.cert is None or not settings.ven.xml_signature:
        return None
    certificate = _certificate(settings.ven.cert)
    key = certificate.public_key()
    if isinstance(key, RSAPublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    ):
        return None
    return certificate.fingerprint(SHA256()).hex()


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
