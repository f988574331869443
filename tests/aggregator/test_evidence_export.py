"""A whole log is taken home as files: interrupted, gone on with, made again; a changed byte is found."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aggregator.erase import erase
from aggregator.evidence_export import Written, export
from flexpact.commands import ledger_export
from ledger import offline
from ledger.check import TILE
from ledger.checkpoint import SigningKey
from ledger.errors import LedgerError
from ledger.evidence_folder import EvidenceFolder, check_folder
from ledger.trust import LogKey, Trust, WitnessTrust
from tests.aggregator.conftest import Prepared
from tests.aggregator.sealed import LATER, WITNESSES, SealedRun, make_sealed_run

PART = 40


@pytest.fixture(scope="module")
def run(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> SealedRun:
    """A real run, with a trust file that names its witnesses too."""
    made = make_sealed_run(prepared, tmp_path_factory)
    witnesses = WitnessTrust(len(WITNESSES), tuple(key.verifier for key in WITNESSES))
    trust = tmp_path_factory.mktemp("trust") / "trust.toml"
    trust.write_bytes(replace(Trust.from_file(made.trust.read_bytes()), witness=witnesses).to_file())
    return replace(made, trust=trust)


@pytest.fixture(scope="module")
def whole(run: SealedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One export for the tests that only read it, or copy it."""
    folder = tmp_path_factory.mktemp("export") / "log"
    write(run.database, folder, run)
    return folder


def trust_of(run: SealedRun) -> Trust:
    return Trust.from_file(run.trust.read_bytes())


def write(database: Path, folder: Path, run: SealedRun) -> Written:
    return export(database, EvidenceFolder(folder), trust_of(run), lambda *_: None)


def command(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(ledger_export.app, [str(word) for word in words])
    return done.exit_code, done.output


def files(folder: Path) -> dict[str, bytes]:
    """All of it, by name."""
    return {
        str(place.relative_to(folder)): place.read_bytes() for place in folder.rglob("*") if place.is_file()
    }


def test_an_export_that_was_interrupted_goes_on_where_it_stopped(
    run: SealedRun, whole: Path, tmp_path: Path
) -> None:
    def stop(what: str, done: int, of: int) -> None:
        if done == PART:
            raise KeyboardInterrupt

    folder = EvidenceFolder(tmp_path / "log")
    with pytest.raises(KeyboardInterrupt):
        export(run.database, folder, trust_of(run), stop)
    part = files(folder.path)
    assert sum(name.startswith("receipts/") for name in part) == PART
    assert part.items() <= files(whole).items()
    with pytest.raises(LedgerError, match="did not come to its end"):
        list(check_folder(folder, trust_of(run), lambda *_: None))
    torn = folder.file("records", PART - 1)
    torn.write_bytes(b"")  # as a power cut leaves it
    torn.with_name(f".{PART}.json.part").write_bytes(b"{")  # as a kill does
    done = write(run.database, folder.path, run)
    assert (done.kept, done.waiting > 0) == (PART - 1, True)
    assert {name: raw for name, raw in files(folder.path).items() if "/." not in name} == files(whole)
    again = write(run.database, folder.path, run)
    assert (again.records, again.checkpoints, again.kept) == (0, 0, done.records + PART - 1)


def test_the_command_says_what_it_wrote_and_verifies_it_while_the_server_writes(
    run: SealedRun, tmp_path: Path
) -> None:
    database, out = run.copy(tmp_path), tmp_path / "out"
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE agg_position SET seq = seq")
        code, said = command("export", "--database", database, "--out", out, "--trust", run.trust)
        writer.execute("COMMIT")
    assert code == 0, said
    with offline.reading(database) as conn:
        size, newest = offline.log_size(conn), int(EvidenceFolder(out).checkpoint_sizes()[-1])
    assert f"written: {newest} records with receipts" in said
    assert f"not anchored yet: {size - newest}" in said
    assert out.stat().st_mode & 0o077 == 0
    assert command("check-export", out, "--trust", out / "trust.toml")[0] == 0


CHANGED = ["records/000000/7.json", "receipts/000000/7.receipt", "checkpoints/{}.txt", "blocks/{}.txt"]


@pytest.mark.parametrize("name", CHANGED)
def test_one_changed_byte_is_found_and_its_file_named(
    name: str, run: SealedRun, whole: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "log"))
    place = folder / name.format(EvidenceFolder(folder).checkpoint_sizes()[-1])
    raw = place.read_bytes()
    for at in (len(raw) // 3, len(raw) - 3):
        place.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        code, said = command("check-export", folder, "--trust", run.trust)
        assert code == 1, said
        assert "blocks" in name or str(place) in said.splitlines()[-1]
    code, said = command("export", "--database", run.database, "--out", folder, "--trust", run.trust)
    assert code == (0 if "blocks" in name else 1), said
    place.unlink()
    assert command("check-export", folder, "--trust", run.trust)[0] == 1
    code, said = command("export", "--database", run.database, "--out", folder, "--trust", run.trust)
    assert code == 0, said


def test_files_of_another_leaf_or_with_no_place_are_found(
    run: SealedRun, whole: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "log"))
    for kind, suffix in (("records", "json"), ("receipts", "receipt")):
        shutil.copy(folder / kind / "000000" / f"5.{suffix}", folder / kind / "000000" / f"6.{suffix}")
    code, said = command("check-export", folder, "--trust", run.trust)
    assert (code, "it is another leaf's: expected 6, got 5" in said) == (1, True)
    shutil.copy(folder / "README.txt", folder / "checkpoints" / "more.txt")
    assert "it has no place in an export" in command("check-export", folder, "--trust", run.trust)[1]


def test_an_erased_leaf_is_a_hash_and_what_was_taken_out_before_is_told(
    run: SealedRun, whole: Path, tmp_path: Path
) -> None:
    database, folder = run.copy(tmp_path), Path(shutil.copytree(whole, tmp_path / "log"))
    gone = erase(database, "node-2", LATER, SigningKey.load(run.log_key)).leaves
    words = ["export", "--database", database, "--trust", run.trust, "--out"]
    newest = EvidenceFolder(folder).checkpoint_sizes()[-1]
    told = sum(index < newest for index in gone)
    code, said = command(*words, folder)
    assert f"{told} leaves were erased in the log, and their files are still here" in said
    assert code == 0
    code, said = command(*words, tmp_path / "new")
    assert f"{told} hashes of erased leaves" in said
    assert (code, "no record in this folder says yet that leaf" in said) == (3, True)
    assert len(list((tmp_path / "new").glob("erased/*/*.hash"))) == told


def with_tile(database: Path, changed: bytes) -> None:
    """Put another first tile into a database."""
    with closing(sqlite3.connect(database)) as conn:
        conn.execute(f"UPDATE {TILE} SET hashes = ? WHERE level = 0 AND tile_index = 0", (changed,))
        conn.commit()


def test_a_folder_of_another_log_or_of_another_state_is_refused(
    run: SealedRun, whole: Path, tmp_path: Path
) -> None:
    before, database = files(whole), run.copy(tmp_path)
    with offline.reading(database) as conn:
        first = offline.tile_bytes(conn, (0, 0))
    with_tile(database, bytes(32) + first[32:])
    with pytest.raises(LedgerError, match=r"holds another log: expected .* with the first leaf 0000"):
        write(database, whole, run)
    with_tile(database, first[:64] + bytes(32) + first[96:])
    with pytest.raises(LedgerError, match="that this log does not lead to: the database is older"):
        write(database, whole, run)
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "letter.txt").write_text("mine")
    with pytest.raises(LedgerError, match="holds other files"):
        write(run.database, strange, run)
    foreign = replace(trust_of(run), keys=(LogKey(SigningKey.generate("other.example/log").verifier),))
    with pytest.raises(LedgerError, match=r"trust file is of the log other\.example/log"):
        export(run.database, EvidenceFolder(tmp_path / "new"), foreign, lambda *_: None)
    assert files(whole) == before
    assert [place.name for place in strange.iterdir()] == ["letter.txt"]
