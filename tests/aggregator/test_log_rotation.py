"""The log's key is replaced between two runs: what the old one signed stays good, an erasure too that no
checkpoint covers yet.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aggregator.erase import erase
from aggregator.settings import AggregatorSettings, LogSettings
from flexpact.commands import ledger_check, verify
from ledger import offline
from ledger.checkpoint import COSIGNATURE, SigningKey
from ledger.erasure import read_erased
from ledger.errors import KeyFileError, TamperedError
from ledger.log import Log
from ledger.trust import LogKey, Trust
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import (
    ORIGIN,
    START,
    Platform,
    Prepared,
    node_settings,
    running,
    write_settings,
)
from vtn.store import Database

UNTIL = START + timedelta(days=1)
NOW = START + timedelta(hours=3)
SIGNED_OR_NOT = {0, 3}
"""Exit codes of a record that verifies: the boxes of these tests sign no reports."""


@dataclass(frozen=True)
class Rotated:
    """What is left of both runs: the database between them and at the end, one leaf's files of each, and the
    trust file that the server gave under each key.
    """

    folder: Path
    between: Path
    settings: AggregatorSettings
    old: SigningKey
    new: SigningKey

    def verified(self, run: str, trust: Path) -> tuple[int, str]:
        """What `flexpact verify` says of the leaf of that run."""
        record, receipt = (self.folder / f"{run}.{kind}" for kind in ("record", "receipt"))
        words = [str(receipt), "--record", str(record), "--trust", str(trust)]
        done = CliRunner().invoke(verify.app, words)
        return done.exit_code, done.output


async def take(platform: Platform, folder: Path, run: str) -> None:
    """Seal all; keep the files of the newest leaf and the trust file."""
    sealed = await platform.post("/seal", {"timeout_s": 60})
    assert sealed["complete"] is True
    files = await platform.get(f"/receipts/{sealed['leaves'] - 1}")
    for kind in ("record", "receipt"):
        (folder / f"{run}.{kind}").write_text(files[kind], encoding="utf-8")
    (folder / f"{run}.trust").write_text((await platform.get("/trust"))["trust"], encoding="utf-8")


def with_key(settings: AggregatorSettings, file: Path, **more: object) -> AggregatorSettings:
    """The settings after a rotation."""
    log = LogSettings.model_validate({"origin": ORIGIN, "key_file": file, **more})
    return settings.model_copy(update={"log": log, "nodes": settings.nodes[:2]})


async def rotate(prepared: Prepared, folder: Path) -> Rotated:
    boxes = prepared.copy(folder)
    (folder / "chain").mkdir()
    chain = Chain(folder / "chain")
    try:
        settings = write_settings(folder, [node_settings(n) for n in (1, 2, 3)], chain=await chain.start())
        old, new = SigningKey.load(folder / "log.key"), SigningKey.generate(ORIGIN)
        async with running(settings, boxes) as platform:
            await take(platform, folder, "old")
        erase(settings.database, "node-3", NOW, old)
        between = Path(shutil.copy(settings.database, folder / "between.sqlite"))
        new.save(folder / "new.key")
        known = [{"key": str(old.verifier), "valid_until": UNTIL}]
        settings = with_key(settings, folder / "new.key", former_keys=known)
        async with running(settings, boxes[:2], NOW) as platform:
            await platform.jump(NOW + timedelta(hours=1))
            await take(platform, folder, "new")
    finally:
        await chain.close()
    return Rotated(folder, between, settings, old, new)


@pytest.fixture(scope="module")
def rotated(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Rotated:
    """One rotation for all tests."""
    return asyncio.run(rotate(prepared, tmp_path_factory.mktemp("rotated")))


def test_the_log_goes_on_under_the_new_key_over_an_erasure_of_the_old_one(rotated: Rotated) -> None:
    trust = Trust.from_file((rotated.folder / "new.trust").read_bytes())
    assert trust.keys == (LogKey(rotated.new.verifier), LogKey(rotated.old.verifier, valid_until=UNTIL))
    words = ["check", "--database", str(rotated.settings.database), "--trust"]
    receipts = ["--receipt", str(rotated.folder / "old.receipt")]
    done = CliRunner().invoke(ledger_check.app, [*words, str(rotated.folder / "new.trust"), *receipts])
    assert done.exit_code == 0, done.output
    with offline.reading(rotated.settings.database) as conn:
        assert len(read_erased(conn, keys=[rotated.old.verifier])) > 0
    alone = rotated.folder / "alone.trust"
    alone.write_bytes(replace(trust, keys=(LogKey(rotated.new.verifier),)).to_file())
    assert CliRunner().invoke(ledger_check.app, [*words, str(alone)]).exit_code == 1


def test_receipts_of_before_and_after_verify_with_one_list_of_keys(rotated: Rotated) -> None:
    code, said = rotated.verified("new", rotated.folder / "new.trust")
    assert code in SIGNED_OR_NOT, said
    trust = Trust.from_file((rotated.folder / "new.trust").read_bytes())
    before = Trust.from_file((rotated.folder / "old.trust").read_bytes())
    assert before.keys == (LogKey(rotated.old.verifier),)
    both = rotated.folder / "both.trust"
    both.write_bytes(replace(trust, chain=before.chain).to_file())  # the block that anchors the old receipt
    code, said = rotated.verified("old", both)
    assert code in SIGNED_OR_NOT, said
    assert said.count("not checked ") == said.count("unsigned: ")
    assert "; the key counts before 2026-01-21" in said


def test_the_old_key_does_not_count_for_what_is_anchored_after_its_end(rotated: Rotated) -> None:
    before = Trust.from_file((rotated.folder / "old.trust").read_bytes())
    late = rotated.folder / "late.trust"
    late.write_bytes(replace(before, keys=(LogKey(rotated.old.verifier, valid_until=START),)).to_file())
    code, said = rotated.verified("old", late)
    assert code == 1
    assert "no longer valid" in said


@pytest.mark.parametrize("lost", [None, UNTIL], ids=["not named", "named as lost"])
async def test_the_erasure_of_a_key_that_is_not_named_or_lost_is_not_signed_over(
    rotated: Rotated, lost: object, tmp_path: Path
) -> None:
    known = [LogKey(rotated.old.verifier, valid_until=UNTIL, lost_at=UNTIL)] if lost else []
    database = await Database.open(Path(shutil.copy(rotated.between, tmp_path / "aggregator.sqlite")))
    try:
        async with database.write() as conn:
            with pytest.raises(TamperedError, match="erasure that the log's key did not sign"):
                await Log(ORIGIN, rotated.new, former=known).publish(conn, NOW)
            former = [LogKey(rotated.old.verifier, valid_until=UNTIL)]
            assert await Log(ORIGIN, rotated.new, former=former).publish(conn, NOW)
    finally:
        await database.close()


def test_a_key_is_not_its_own_former_key() -> None:
    key = SigningKey.generate(ORIGIN)
    with pytest.raises(KeyFileError, match="is among its former keys too"):
        Log(ORIGIN, key, former=[LogKey(key.verifier)])


OURS = str(SigningKey(ORIGIN, bytes(32)).verifier)
END = "2027-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("former", "message"),
    [
        ([{"key": OURS}], "valid_until"),
        ([{"key": OURS, "valid_until": "2027-01-01T00:00:00"}], "timezone"),
        ([{"key": OURS[:-1], "valid_until": END}], "key: "),
        ([{"key": OURS, "valid_from": END, "valid_until": END}], "a key ends before it begins"),
        (
            [{"key": str(SigningKey(ORIGIN, bytes(32), COSIGNATURE).verifier), "valid_until": END}],
            "another kind",
        ),
        (
            [{"key": str(SigningKey("other.example/log", bytes(32)).verifier), "valid_until": END}],
            "a key of 'other.example/log', and the log is 'test.example/log'",
        ),
        ([{"key": OURS, "valid_until": END}] * 2, "twice"),
    ],
)
def test_a_wrong_former_key_is_refused_with_its_fault(former: list[dict[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogSettings.model_validate({"origin": ORIGIN, "key_file": "log.key", "former_keys": former})
