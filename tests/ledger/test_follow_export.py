"""A follower whose log is a folder: an export of it shows each tree, and a folder with nothing shows none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.checkpoint import Checkpoint
from ledger.errors import ForkError
from ledger.evidence_folder import EvidenceFolder
from ledger.head_source import FolderSource, SourceError
from ledger.verify import Status
from tests.ledger import test_follow
from tests.ledger.test_follow import Scene, said

scene = test_follow.scene


async def exported(scene: Scene, folder: Path) -> EvidenceFolder:
    """The checkpoints as an export of the log has them, with the receipt of its first leaf."""
    made = EvidenceFolder(folder)
    made.begin(scene.trust.origin, bytes(32))
    for count in (3, 4):
        await scene.grow(count)
        async with scene.site.database.read() as conn:
            checkpoint = (await scene.site.log.receipt(conn, 0))[1].checkpoint
        made.write(made.checkpoint_file(checkpoint.size), checkpoint.text().encode())
    return made


async def test_an_export_shows_every_tree_that_the_chain_holds(scene: Scene, tmp_path: Path) -> None:
    await exported(scene, tmp_path / "export")
    steps = await scene.look(folder=tmp_path / "export")
    assert said(steps, "log").text.startswith("2 checkpoints, signed by ")
    assert {step.status for step in steps} == {Status.CHECKED}


async def test_another_tree_in_an_export_is_a_fork(scene: Scene, tmp_path: Path) -> None:
    export = await exported(scene, tmp_path / "export")
    made = Checkpoint.sign(3, bytes(32), scene.key).text()
    export.write(export.checkpoint_file(3), made.encode())
    with pytest.raises(ForkError, match="two trees of 3 leaves"):
        await scene.look(folder=export.path)


async def test_a_folder_without_checkpoints_shows_no_log(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("nothing", encoding="utf-8")
    with pytest.raises(SourceError, match="holds neither receipts nor checkpoints nor an export"):
        await FolderSource(tmp_path).heads()
