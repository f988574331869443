"""An export in which more lies than was signed, or less than it seems: nothing in it passes unread."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.evidence_export import export
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.errors import LedgerError, TamperedError, VerificationError
from ledger.evidence_folder import EvidenceFolder, check_folder
from ledger.log import Log
from ledger.merkle import root_from_inclusion
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.trust import LogKey, Trust
from ledger.verify import Status, Step
from tests.ledger.conftest import ORIGIN, Site


@pytest.fixture
async def exported(site: Site, database_path: Path) -> tuple[EvidenceFolder, Trust]:
    """Two checkpoints, of three and of five leaves, and all of it in a folder."""
    folder = EvidenceFolder(site.directory / "out")
    for keys in ("abc", "de"):
        await site.append(*keys)
        await site.publish()
        await site.step()
        async with site.database.read() as conn:
            trust = await site.log.trust(conn)
        export(database_path, folder, trust, lambda *_: None)
    return folder, trust


def steps(folder: EvidenceFolder, trust: Trust) -> dict[str, Step]:
    return {step.name: step for step in check_folder(folder, trust, lambda *_: None)}


def leaf_hash(folder: EvidenceFolder, index: int) -> bytes:
    return Record.from_file(folder.file("records", index).read_bytes()).leaf()


def put(place: Path, content: bytes = b"{}") -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


STRAYS = [
    "records/000000/005.json",
    "records/000000/4.xml",
    "records/000000/letter.txt",
    "records/000001/4.json",
    "records/0/1.json",
    "receipts/000000/4.json",
    "originals/extra",
    "erased/000000/\u0664.hash",
    "checkpoints/0.txt",
    "checkpoints/05.txt",
    "checkpoints/\u0665.txt",
]


@pytest.mark.parametrize("name", STRAYS)
def test_a_file_that_nobody_would_read_is_named(name: str, exported: tuple[EvidenceFolder, Trust]) -> None:
    folder, trust = exported
    assert steps(folder, trust)["leaves"].status is Status.CHECKED
    stray = put(folder.path / name)
    with pytest.raises(TamperedError, match="it has no place in an export") as failed:
        steps(folder, trust)
    assert failed.value.record in {str(stray), str(stray.parent)}


def test_drafts_of_an_export_that_was_killed_are_left_alone(exported: tuple[EvidenceFolder, Trust]) -> None:
    folder, trust = exported
    put(folder.path / "records" / "000000" / ".5.json.part")
    put(folder.path / "checkpoints" / ".9.txt.part")
    assert steps(folder, trust)["leaves"].status is Status.CHECKED


def test_leaves_behind_the_newest_checkpoint_of_a_folder_are_not_called_checked(
    exported: tuple[EvidenceFolder, Trust],
) -> None:
    folder, trust = exported
    folder.checkpoint_file(5).unlink()
    put(folder.file("records", 4), b'{"forged": 1}')
    found = steps(folder, trust)["leaves"]
    assert found.status is Status.NOT_CHECKED
    assert "4 files are of leaves under no checkpoint here" in found.text


def test_a_record_beside_the_hash_that_says_it_is_erased_is_named(
    exported: tuple[EvidenceFolder, Trust],
) -> None:
    folder, trust = exported
    digest = leaf_hash(folder, 2)
    forged = put(folder.file("records", 2), b'{"forged": 1}')
    put(folder.file("erased", 2), f"{digest.hex()}\n".encode())
    with pytest.raises(
        TamperedError, match=r"the leaf is erased by .*2\.hash, and this is beside it"
    ) as failed:
        steps(folder, trust)
    assert failed.value.record == str(forged)


def test_a_folder_with_nothing_but_an_empty_head_is_no_evidence(tmp_path: Path, site: Site) -> None:
    put(tmp_path / "log" / "checkpoints" / "0.txt", b"junk")
    trust = Trust((LogKey(site.log.verifier),))
    with pytest.raises(TamperedError, match="it has no place in an export"):
        steps(EvidenceFolder(tmp_path / "log"), trust)


@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        (
            b"flexpact-export/v2\n",
            "format is not known: expected flexpact-export/v1, got 'flexpact-export/v2'",
        ),
        (b"", "format is not known"),
        (b"flexpact-export/v1\nother.example/log\n00\n", "it names another log: expected example.org/log"),
    ],
)
def test_what_the_folder_says_of_itself_must_be_what_is_in_it(
    stamp: bytes, said: str, exported: tuple[EvidenceFolder, Trust]
) -> None:
    folder, trust = exported
    (folder.path / "log.txt").write_bytes(stamp)
    with pytest.raises(VerificationError) as failed:
        steps(folder, trust)
    assert said in str(failed.value)


async def test_a_receipt_under_another_tree_of_the_same_size_is_named(
    site: Site, exported: tuple[EvidenceFolder, Trust]
) -> None:
    folder, trust = exported
    own = Receipt.from_file(folder.file("receipts", 4).read_bytes())
    path = (bytes(32), *own.path[1:])
    other = Checkpoint.sign(5, root_from_inclusion(4, 5, leaf_hash(folder, 4), path), site.log._key)
    forked = replace(own, path=path, checkpoint=other)
    folder.file("receipts", 4).write_bytes(forked.to_file())
    with pytest.raises(TamperedError, match=r"checkpoint: another tree than in .*/5\.txt: expected"):
        steps(folder, replace(trust, chain=None))


async def test_receipts_of_a_key_that_was_lost_since_are_named_until_they_are_made_again(
    site: Site, database_path: Path, exported: tuple[EvidenceFolder, Trust]
) -> None:
    folder, old = exported
    rotated = Log(ORIGIN, SigningKey.generate(ORIGIN), former=[replace(old.keys[0], lost_at=site.clock())])
    site.log = rotated
    await site.append("f")
    await site.publish()
    await site.step()
    async with site.database.read() as conn:
        trust = await rotated.trust(conn)
    export(database_path, folder, trust, lambda *_: None)
    with pytest.raises(TamperedError, match="the key is declared lost") as failed:
        steps(folder, trust)
    assert failed.value.record == str(folder.file("receipts", 0))
    shutil.rmtree(folder.path / "receipts")
    export(database_path, folder, trust, lambda *_: None)
    assert {step.status for step in steps(folder, trust).values()} == {Status.CHECKED}


def test_an_export_that_was_killed_at_its_first_file_begins_anew(tmp_path: Path) -> None:
    for number, names in enumerate((".log.txt.part", "log.txt")):
        folder = EvidenceFolder(tmp_path / str(number))
        put(folder.path / names, b"")
        folder.begin(ORIGIN, bytes(32))
        assert (folder.path / "log.txt").read_bytes().startswith(b"flexpact-export/v1\n")
    put(tmp_path / "2" / "letter.txt")
    with pytest.raises(LedgerError, match="holds other files"):
        EvidenceFolder(tmp_path / "2").begin(ORIGIN, bytes(32))


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    folder, outside = EvidenceFolder(tmp_path / "log"), tmp_path / "outside"
    outside.mkdir()
    mine = put(outside / "mine", b"mine")
    folder.begin(ORIGIN, bytes(32))
    for name in ("trust.toml", ".trust.toml.part"):
        (folder.path / name).symlink_to(mine)
    folder.write(folder.path / "trust.toml", b"new")
    assert ((folder.path / "trust.toml").read_bytes(), mine.read_bytes()) == (b"new", b"mine")
    (folder.path / "records").symlink_to(outside)
    with pytest.raises(LedgerError, match="records is a link, and an export stays in its folder"):
        folder.write(folder.file("records", 3), b"{}")
    (folder.path / "receipts").mkdir()
    (folder.path / "receipts" / "000000").symlink_to(outside)
    with pytest.raises(LedgerError, match="000000 is a link"):
        folder.write(folder.file("receipts", 3), b"")
    assert [place.name for place in outside.iterdir()] == ["mine"]
