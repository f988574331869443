"""The evidence of a demo, exported and verified as an outsider would: from the files alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexpact.demo.errors import DemoError
from ledger.errors import LedgerError
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.trust import Trust
from ledger.verify import verify_receipt


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many receipts lie in a directory, how many hold in every step, and the first trouble found."""

    receipts: int
    verified: int
    trouble: str = ""


def receipt_paths(directory: Path, index: int) -> tuple[Path, Path]:
    """Return where leaf `index` has its record and its receipt."""
    return directory / f"{index:06d}.record.json", directory / f"{index:06d}.receipt.txt"


def write_receipt(directory: Path, index: int, record: bytes, receipt: bytes) -> None:
    """Write the record and the receipt of leaf `index`; `DemoError` when the directory does not take them."""
    record_path, receipt_path = receipt_paths(directory, index)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        record_path.write_bytes(record)
        receipt_path.write_bytes(receipt)
    except OSError as error:
        raise DemoError(f"{directory} cannot be written: {error.strerror}") from None


def verify_directory(directory: Path, trust_path: Path) -> Verdict:
    """Verify every receipt in `directory` with the trust file; all steps must be checked for it to count."""
    trust = Trust.from_file(trust_path.read_bytes())
    receipts = sorted(directory.glob("*.receipt.txt"))
    troubles = [trouble for path in receipts if (trouble := _trouble(path, trust))]
    return Verdict(len(receipts), len(receipts) - len(troubles), _first(troubles))


def _trouble(receipt_path: Path, trust: Trust) -> str:
    """Return what is wrong with one receipt, empty if nothing is."""
    record_path = receipt_path.with_name(receipt_path.name.replace(".receipt.txt", ".record.json"))
    try:
        record = Record.from_file(record_path.read_bytes())
        verified = verify_receipt(record, Receipt.from_file(receipt_path.read_bytes()), trust)
    except (LedgerError, OSError) as error:
        return f"{receipt_path.name}: {error}"
    open_steps = [step.name for step in verified.steps if step.status == "not checked"]
    return f"{receipt_path.name}: not checked: {', '.join(open_steps)}" if open_steps else ""


def _first(troubles: Sequence[str]) -> str:
    return troubles[0] if troubles else ""
