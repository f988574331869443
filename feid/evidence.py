"""Records and receipts as a box gets them to audit: each receipt verified here, none taken on trust."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from feid.audit import Fault, Finding, Present, Tally, compare
from feid.settings import FeidSettings
from ledger import receipt as receipt_file
from ledger import record as record_file
from ledger.errors import VerificationError
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.trust import Trust
from ledger.verify import read_evidence, verify_receipt
from ven.errors import SettingsError, StateError
from ven.store import recollect

RECORD, RECEIPT = ".record.json", ".receipt.txt"
Pair = tuple[str, bytes, bytes]
"""Name of a leaf, its record and its receipt."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit came to; `open` receipts rest on a step that the trust file leaves open."""

    tally: Tally
    open: int


def audit(
    settings: FeidSettings, pairs: Iterable[Pair], trust: Trust, now: datetime, ven_id: str | None = None
) -> Audit:
    """What this box remembers, held against these records.

    `ven_id` is needed where the box is not registered. A receipt that does not hold proves nothing, which is
    a finding. StateError or SettingsError where the box's own files cannot be read.
    """
    memory = recollect(settings.ven.state_path)
    memory = replace(memory, ven_id=ven_id or memory.ven_id)
    if memory.ven_id is None:
        raise StateError("the box is not registered, so its id must be given")
    records: list[Record] = []
    findings: list[Finding] = []
    unchecked = 0
    for name, raw_record, raw_receipt in pairs:
        try:
            record = Record.from_file(raw_record)
            if record.body.get("ven_id") != memory.ven_id:
                continue
            unchecked += not verify_receipt(record, Receipt.from_file(raw_receipt), trust).complete
        except VerificationError as error:
            findings.append(Finding(Fault.BROKEN, f"{name}: {error}"))
        else:
            records.append(record)
    present = Present(now, own_keys(settings), xml_certificate=xml_certificate(settings))
    tally = compare(memory, records, present)
    return Audit(replace(tally, findings=(*findings, *tally.findings)), unchecked)


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
    if settings.ven.cert is None:
        return frozenset()
    key = _certificate(settings.ven.cert).public_key()
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
