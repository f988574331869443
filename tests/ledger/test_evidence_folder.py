"""An export that grows with its log: anchors of several blocks, messages that were signed, an erasure."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from typer.testing import CliRunner

from aggregator.evidence_export import export
from flexpact.commands import ledger_export
from ledger.erasure import erased_ranges
from ledger.errors import TamperedError
from ledger.evidence_folder import EvidenceFolder, check_folder
from ledger.trust import Trust
from ledger.verify import Status
from tests.ledger.conftest import Site, record
from vtn import original

RAW = b"<oadrUpdateReport/>"


async def trust_now(site: Site) -> Trust:
    async with site.database.read() as conn:
        return await site.log.trust(conn)


async def anchor(site: Site, *keys: str) -> Trust:
    """Append records that rest on the message, and anchor them; the trust file of then."""
    body = {"raw_sha256": sha256(RAW).hexdigest()}
    async with site.database.write() as conn:
        await site.log.append([record(key, body=body) for key in keys], conn)
    await site.publish()
    await site.step()
    return await trust_now(site)


def checked(folder: EvidenceFolder, trust: Trust) -> dict[str, Status]:
    return {step.name: step.status for step in check_folder(folder, trust, lambda *_: None)}


async def test_an_export_goes_on_with_its_log_and_leaves_open_blocks_that_are_not_named(
    site: Site, database_path: Path
) -> None:
    database, folder = database_path, EvidenceFolder(site.directory / "out")
    first = await anchor(site, "a", "b", "c")
    async with site.database.write() as conn:
        await original.keep(conn, sha256(RAW).hexdigest(), "v", RAW, site.clock())
    done = export(database, folder, first, lambda *_: None)
    assert (done.records, done.originals, done.checkpoints) == (3, 3, 1)
    assert folder.file("originals", 2).read_bytes() == RAW
    assert set(checked(folder, first).values()) == {Status.CHECKED}
    second = await anchor(site, "d")
    done = export(database, folder, second, lambda *_: None)
    assert (done.records, done.kept, done.checkpoints) == (1, 3, 1)
    found = checked(folder, second)
    assert [name for name, status in found.items() if status is Status.NOT_CHECKED] == ["anchor"]
    folder.file("originals", 1).write_bytes(RAW + b" ")
    try:
        checked(folder, second)
        raise AssertionError("a changed message was not found")
    except TamperedError as error:
        assert error.record == str(folder.file("originals", 1))
    assert erased_ranges({"leaves": [[1, 2]]}) == [(1, 2)]
    assert erased_ranges({"leaves": 7}) == []


async def test_a_kept_message_that_is_damaged_is_said_in_one_sentence(
    site: Site, database_path: Path
) -> None:
    trust = site.directory / "trust.toml"
    trust.write_bytes((await anchor(site, "a")).to_file())
    async with site.database.write() as conn:
        await original.keep(conn, sha256(RAW).hexdigest(), "v", RAW, site.clock())
        await conn.exec_driver_sql("/* SQLite */ UPDATE vtn_original SET raw = x'7801ffff'")
    words = ["export", "--database", database_path, "--out", site.directory / "out", "--trust", trust]
    done = CliRunner().invoke(ledger_export.app, [str(word) for word in words])
    assert (done.exit_code, "is damaged: Error -3 while decompressing" in done.output) == (1, True), done
