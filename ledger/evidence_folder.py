"""A folder with the evidence of a whole log, as an auditor takes it home: how it is laid out, and its check.

    log.txt                      which log it is of: format, origin, hash of leaf 0
    trust.toml, README.txt, scripts/
    checkpoints/SIZE.txt         every signed head up to the anchored one
    blocks/SIZE.txt              the hash of the block that anchors a head under which receipts are
    records/SHARD/N.json         record N with its salt; SHARD is N // 1000 in six digits
    receipts/SHARD/N.receipt     its receipt
    originals/SHARD/N.xml        the signed message that it rests on, where it was kept
    erased/SHARD/N.hash          in place of all three: the hash of an erased leaf

A file is written under another name first, so it is there whole or not at all. The check reads them back and
builds the tree from them again: what is changed, missing or too much is named. README, trust file and scripts
are for people: whoever checks brings his own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ledger import receipt as receipt_file
from ledger import record as record_file
from ledger import tile
from ledger.check import Tree
from ledger.checkpoint import Checkpoint
from ledger.erasure import KIND, Erased, erased_ranges, is_authorised
from ledger.errors import LedgerError, TamperedError, VerificationError
from ledger.merkle import HASH_BYTES, root_from_inclusion
from ledger.receipt import Anchor, Receipt, parse_hex
from ledger.record import Record
from ledger.source import verify_source
from ledger.trust import Trust
from ledger.verify import Status, Step, check_signature, read_evidence, verification_steps

FORMAT = "flexpact-export/v1"
SHARD = 1000
RECORDS, RECEIPTS, ORIGINALS, ERASED = "records", "receipts", "originals", "erased"
SUFFIX = {RECORDS: ".json", RECEIPTS: ".receipt", ORIGINALS: ".xml", ERASED: ".hash"}
MAX_ORIGINAL_BYTES = 64 * 1024 * 1024
LINE_END = "\n"
NO_PLACE = "it has no place in an export"
_MAX_TEXT_BYTES = 64 * 1024
_STAMP, _CHECKPOINTS = "log.txt", "checkpoints"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class EvidenceFolder:
    """Where the files are."""

    path: Path

    def file(self, kind: str, index: int) -> Path:
        """The place of a leaf's file."""
        return self.path / kind / _shard(index) / f"{index}{SUFFIX[kind]}"

    def there(self, kind: str, shard: int) -> set[str]:
        """Names of a shard's files of that kind; empty ones, which a power cut leaves, are not there."""
        try:
            with os.scandir(self.path / kind / f"{shard:06d}") as entries:
                return {entry.name for entry in entries if entry.stat().st_size}
        except FileNotFoundError:
            return set()

    def missing(self, first: int, end: int) -> list[int]:
        """The leaves of a shard, from `first` to before `end`, of which not all is there."""
        shard = first // SHARD
        names = {kind: self.there(kind, shard) for kind in (RECORDS, RECEIPTS, ERASED)}

        def is_there(index: int, kind: str) -> bool:
            return f"{index}{SUFFIX[kind]}" in names[kind]

        return [
            index
            for index in range(first, end)
            if not is_there(index, ERASED) and not (is_there(index, RECORDS) and is_there(index, RECEIPTS))
        ]

    def write(self, path: Path, content: bytes) -> None:
        """Write a file, whole or not at all; LedgerError where a link would lead out of the folder."""
        for within in path.relative_to(self.path).parents[:-1]:
            if (self.path / within).is_symlink():
                raise LedgerError(f"{self.path / within} is a link, and an export stays in its folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.unlink(missing_ok=True)
        with part.open("xb") as file:  # which follows no link that somebody has put there
            file.write(content)
        part.replace(path)

    def begin(self, origin: str, first_leaf: bytes) -> None:
        """Make the folder that of a log; LedgerError if it holds something else."""
        stamp = _stamp(origin, first_leaf)
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        place, others = self.path / _STAMP, _inside(self.path)
        found = read_evidence("folder", place, _MAX_TEXT_BYTES) if place in others else b""
        if found == stamp:
            return
        if found:
            raise LedgerError(
                f"{self.path} holds another log: expected {origin} with the first leaf"
                f" {first_leaf.hex()}, got {_words(found)!r}"
            )
        if [other for other in others if other != place]:
            raise LedgerError(f"{self.path} holds other files, and no export of a log; name a new folder")
        self.write(place, stamp)

    def checkpoint_file(self, size: int) -> Path:
        """The place of a checkpoint."""
        return self.path / _CHECKPOINTS / f"{size}.txt"

    def checkpoint_sizes(self) -> list[int]:
        """The sizes of the checkpoints that are there, in order; TamperedError at a file that is none."""
        return sorted(_number(place, ".txt", 1) for place in _inside(self.path / _CHECKPOINTS))

    def waiting(self, size: int) -> int:
        """How many files are of leaves from `size` on; TamperedError at a file that has no place in an
        export, so that nobody takes for checked what was never read.
        """
        found = 0
        for kind, suffix in SUFFIX.items():
            for shard in _inside(self.path / kind):
                for place in _inside(shard):
                    index = _number(place, suffix, 0)
                    if shard.name != _shard(index):
                        raise TamperedError(str(place), NO_PLACE)
                    found += index >= size
        return found

    def block_file(self, size: int) -> Path:
        """The place of the hash of the block that anchors a checkpoint."""
        return self.path / "blocks" / f"{size}.txt"

    def checkpoint(self, size: int) -> Checkpoint:
        """The checkpoint of that size; TamperedError if its file does not hold it."""
        place = self.checkpoint_file(size)
        try:
            text = read_evidence("checkpoint", place, _MAX_TEXT_BYTES).decode("utf-8", "replace")
            found = Checkpoint.parse(text)
        except VerificationError as error:
            raise TamperedError(str(place), str(error)) from error
        if found.size != size:
            raise TamperedError(str(place), "it is of another size", expected=str(size), got=str(found.size))
        return found


def _shard(index: int) -> str:
    return f"{index // SHARD:06d}"


def _stamp(origin: str, first_leaf: bytes) -> bytes:
    """Which log a folder is of."""
    return f"{FORMAT}\n{origin}\n{first_leaf.hex()}\n".encode()


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder, in order, without drafts; nothing if it is not there."""
    try:
        return sorted(place for place in folder.iterdir() if not place.name.startswith("."))
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise TamperedError(str(folder), NO_PLACE) from None


def _number(place: Path, suffix: str, least: int) -> int:
    """The number that a file is named by; TamperedError if that is not the one way to name it."""
    digits = place.name.removesuffix(suffix)
    if not digits.isdecimal() or f"{int(digits)}{suffix}" != place.name or int(digits) < least:
        raise TamperedError(str(place), NO_PLACE)
    return int(digits)


@dataclass(slots=True)
class _Found:
    """What a check has come across so far."""

    trust: Trust
    records: int = 0
    erased: list[int] = field(default_factory=list)
    told: list[tuple[int, int]] = field(default_factory=list)
    """Leaves of which signed records say that they were erased."""
    messages: int = 0
    open_steps: set[str] = field(default_factory=set)
    anchors: set[tuple[Checkpoint, Anchor]] = field(default_factory=set)
    """What leads from each of them to its block is checked once."""


def check_folder(folder: EvidenceFolder, trust: Trust, progress: Progress) -> Iterator[Step]:
    """The steps one by one; TamperedError names the first file that is not what was signed."""
    sizes = folder.checkpoint_sizes()
    if not sizes:
        raise LedgerError(f"{folder.path} holds no checkpoint yet: the export did not come to its end")
    found, tree, heads = _Found(trust), Tree(), iter(sizes)
    size, head = sizes[-1], next(heads, None)
    stamp, waiting = _known_stamp(folder), folder.waiting(size)
    for first in range(0, size, tile.WIDTH):
        leaves = [_leaf(folder, index, found) for index in range(first, min(first + tile.WIDTH, size))]
        if not first:
            _same_log(folder, stamp, trust, leaves[0])
        tree.add(leaves)
        while head is not None and head <= tree.size:
            _same_root(folder, head, tree, trust)
            head = next(heads, None)
        progress("checked", tree.size, size)
    yield _leaves(found, waiting)
    yield _erasures(found)
    yield Step("checkpoint", Status.CHECKED, f"{len(sizes)} checkpoints up to {size} leaves are of this tree")
    yield _anchors(found)
    text = f"{found.messages} messages are those that the records rest on"
    yield Step("originals", Status.CHECKED, text)


def _leaves(found: _Found, waiting: int) -> Step:
    text = f"{found.records} records and receipts, {len(found.erased)} erased"
    if not waiting:
        return Step("leaves", Status.CHECKED, text)
    text += f"; {waiting} files are of leaves under no checkpoint here: an export did not come to its end"
    return Step("leaves", Status.NOT_CHECKED, text)


def _known_stamp(folder: EvidenceFolder) -> bytes:
    """What the folder says of itself; VerificationError if a later version wrote it."""
    stamp = read_evidence("folder", folder.path / _STAMP, _MAX_TEXT_BYTES)
    version = stamp.partition(b"\n")[0]
    if version != FORMAT.encode():
        got = repr(version[:40].decode("utf-8", "replace"))
        raise VerificationError("folder", "format is not known", expected=FORMAT, got=got)
    return stamp


def _same_log(folder: EvidenceFolder, stamp: bytes, trust: Trust, first_leaf: bytes) -> None:
    own = _stamp(trust.origin, first_leaf)
    if stamp != own:
        expected, got = (_words(text) for text in (own, stamp))
        raise TamperedError(str(folder.path / _STAMP), "it names another log", expected=expected, got=got)


def _words(stamp: bytes) -> str:
    return " ".join(stamp.decode("utf-8", "replace").split("\n")[1:3])[:300]


def fitting(trust: Trust, anchor: Anchor) -> Trust:
    """The trust for a receipt under that anchor: a block that the file names is that of one anchor only."""
    chain = trust.chain
    if chain is None or chain.header is None or anchor.block().hash == chain.header:
        return trust
    return replace(trust, chain=replace(chain, header=None))


def _leaf(folder: EvidenceFolder, index: int, found: _Found) -> bytes:
    """The hash of a leaf, whose files are in order."""
    place = folder.file(ERASED, index)
    if place.exists():
        found.erased.append(index)
        for kind in (RECORDS, RECEIPTS, ORIGINALS):
            if (beside := folder.file(kind, index)).exists():
                raise TamperedError(str(beside), f"the leaf is erased by {place}, and this is beside it")
        with _named(place):
            text = read_evidence("erased", place, _MAX_TEXT_BYTES).decode("ascii", "replace")
            return parse_hex("erased", f"0x{text.removesuffix(LINE_END)}", HASH_BYTES)
    place = folder.file(RECORDS, index)
    with _named(place):
        record = Record.from_file(read_evidence("record", place, record_file.MAX_FILE_BYTES))
    leaf = _receipted(folder, index, record, found)
    _original(folder, index, record, found)
    if record.kind == KIND and is_authorised(
        index, record.canonical(), [key.key for key in found.trust.keys]
    ):
        found.told += erased_ranges(record.body)
    found.records += 1
    return leaf


def _receipted(folder: EvidenceFolder, index: int, record: Record, found: _Found) -> bytes:
    """The leaf hash of a record whose receipt holds."""
    place, leaf = folder.file(RECEIPTS, index), record.leaf()
    with _named(place):
        receipt = Receipt.from_file(read_evidence("receipt", place, receipt_file.MAX_FILE_BYTES))
        if receipt.index != index:
            raise VerificationError(
                "receipt", "it is another leaf's", expected=str(index), got=str(receipt.index)
            )
        root = root_from_inclusion(index, receipt.checkpoint.size, leaf, receipt.path)
    if root != receipt.checkpoint.root:
        raise TamperedError(
            str(folder.file(RECORDS, index)),
            f"it, or the path in {place}, leads to another root",
            expected=receipt.checkpoint.root.hex(),
            got=root.hex(),
        )
    under = receipt.checkpoint, receipt.anchor
    with _named(place):
        if under not in found.anchors:
            _same_block(folder, receipt)
            steps = verification_steps(record, receipt, fitting(found.trust, receipt.anchor))
            found.open_steps |= {step.name for step in steps if step.status is Status.NOT_CHECKED}
    found.anchors.add(under)
    return leaf


def _same_block(folder: EvidenceFolder, receipt: Receipt) -> None:
    """Nothing if the receipt is under a checkpoint and a block of this export, trusted or not."""
    place, own = folder.checkpoint_file(receipt.checkpoint.size), receipt.checkpoint.root
    if not place.exists():
        raise TamperedError(str(place), "the file is missing, and receipts are under it")
    held = folder.checkpoint(receipt.checkpoint.size).root
    if held != own:
        raise VerificationError(
            "checkpoint", f"another tree than in {place}", expected=held.hex(), got=own.hex()
        )
    noted = read_evidence("header", folder.block_file(receipt.checkpoint.size), _MAX_TEXT_BYTES)
    block = f"0x{receipt.anchor.block().hash.hex()}"
    if noted != f"{block}{LINE_END}".encode():
        expected = noted.decode("utf-8", "replace").strip()
        raise VerificationError("header", "the export names another block", expected=expected, got=block)


def _original(folder: EvidenceFolder, index: int, record: Record, found: _Found) -> None:
    place = folder.file(ORIGINALS, index)
    with _named(place):
        kept = read_evidence("original", place, MAX_ORIGINAL_BYTES) if place.exists() else None
        verify_source(record, kept)
    found.messages += kept is not None


def _same_root(folder: EvidenceFolder, size: int, tree: Tree, trust: Trust) -> None:
    checkpoint = folder.checkpoint(size)
    with _named(folder.checkpoint_file(size)):
        check_signature(checkpoint, trust)
        root = tree.root(size)
        if root != checkpoint.root:
            raise VerificationError(
                "checkpoint",
                "the leaves lead to another root",
                expected=checkpoint.root.hex(),
                got=root.hex(),
            )


def _erasures(found: _Found) -> Step:
    told = Erased.of(found.told)
    open_ones = [index for index in found.erased if index not in told]
    if open_ones:
        others = f", nor of {len(open_ones) - 1} more" if open_ones[1:] else ""
        said = f"no record in this folder says yet that leaf {open_ones[0]} was erased{others}"
        return Step("erasures", Status.NOT_CHECKED, said)
    return Step(
        "erasures", Status.CHECKED, f"signed records say of {len(found.erased)} that they were erased"
    )


def _anchors(found: _Found) -> Step:
    text = f"receipts are under {len(found.anchors)} anchors"
    if found.open_steps:
        missing = ", ".join(sorted(found.open_steps))
        return Step("anchor", Status.NOT_CHECKED, f"{text}; not by this trust file for all: {missing}")
    return Step("anchor", Status.CHECKED, f"{text}, each in a block that is trusted")


@contextmanager
def _named(place: Path) -> Iterator[None]:
    """TamperedError that names the file where something inside it is wrong."""
    try:
        yield
    except TamperedError:
        raise
    except VerificationError as error:
        raise TamperedError(str(place), str(error)) from error
