"""A light follower on a real chain: honest parties, a log that forked, a chain that was set back."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest

from aggregator.public_log import PublicLog
from aggregator.settings import PublicSettings
from flexpact.commands import ledger_follow
from ledger.chain import EmbeddedChain
from ledger.chain_key import ChainKey
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.cosigner import Cosigner
from ledger.errors import ForkError, LedgerError, VerificationError
from ledger.follow import STATE_FILE, Follower
from ledger.head_source import FolderSource, UrlSource, tile_path
from ledger.log import Log
from ledger.merkle import EMPTY_ROOT
from ledger.node import PUBLISHED, Node, publish_call, publish_transaction
from ledger.rpc import RpcServer
from ledger.trust import ChainTrust, LogKey, Trust, ValidatorSet
from ledger.verify import Status, Step
from tests.ledger.conftest import ORIGIN, Site, SteppedClock
from tests.ledger.line import Line
from tests.ledger.test_witness import Asked
from vtn.store import Database

SIZES = (3, 300, 1, 40)


@dataclass
class Scene:
    """A site whose log everybody can read, and somebody who follows."""

    site: Site
    url: str
    folder: Path
    key: SigningKey

    @property
    def trust(self) -> Trust:
        return Trust((LogKey(self.key.verifier),), ChainTrust(self.site.chain_id, self.site.contract))

    async def grow(self, *counts: int, anchor: bool = True) -> None:
        """More leaves and a checkpoint, each time."""
        for count in counts:
            name = f"{self.site.directory.name}{await self.size()}"
            await self.site.append(*(f"{name}/{n}" for n in range(count)))
            await self.site.publish()
            if anchor:
                await self.site.step()

    async def size(self) -> int:
        async with self.site.database.read() as conn:
            return len((await conn.exec_driver_sql("SELECT leaf_index FROM ledger_leaf")).all())

    async def look(
        self, url: str = "", rpc: str = "", trust: Trust | None = None, folder: Path | None = None
    ) -> list[Step]:
        """One look, as a process of its own would."""
        source = FolderSource(folder) if folder else UrlSource(url or self.url, 5)
        try:
            async with Node.open(rpc or self.site.url, 5) as node:
                return await Follower(trust or self.trust, source, node, self.folder, 0).look()
        finally:
            await source.close()

    async def receipts(self, folder: Path, *indices: int) -> None:
        """Receipts as they are given now."""
        async with self.site.database.read() as conn:
            for index in indices:
                receipt = (await self.site.log.receipt(conn, index))[1]
                (folder / f"{receipt.checkpoint.size:06d}.receipt.txt").write_bytes(receipt.to_file())


@asynccontextmanager
async def public(database: Database) -> AsyncIterator[str]:
    opened = PublicLog(PublicSettings(port=0))
    await opened.start(database)
    try:
        yield f"http://127.0.0.1:{opened.port}"
    finally:
        await opened.close()


@pytest.fixture
async def scene(site: Site, tmp_path: Path) -> AsyncIterator[Scene]:
    key = SigningKey.generate(ORIGIN)
    site.log = Log(ORIGIN, key)
    (tmp_path / "follower").mkdir()
    async with public(site.database) as url:
        yield Scene(site, url, tmp_path / "follower", key)


@asynccontextmanager
async def another(scene: Scene, database_template: Path, folder: Path) -> AsyncIterator[Scene]:
    """The same aggregator with another history: same key, same chain, other leaves."""
    database = await Database.open(Path(shutil.copy(database_template, folder / "fork.db")))
    try:
        async with public(database) as url:
            site = replace(scene.site, database=database, directory=folder / "fork")
            yield replace(scene, site=site, url=url)
    finally:
        await database.close()


def said(steps: Sequence[Step], name: str) -> Step:
    return next(step for step in steps if step.name == name)


async def test_an_honest_log_and_its_chain_are_one_tree(scene: Scene) -> None:
    steps = await scene.look()
    assert {step.status for step in steps} == {Status.CHECKED}
    await scene.grow(*SIZES)
    await scene.grow(5, 6, anchor=False)
    await scene.grow(7)
    await scene.grow(8, anchor=False)
    for _ in range(2):
        steps = await scene.look()
        assert {step.status for step in steps} == {Status.CHECKED}
        assert "the last of 5: 362" in said(steps, "chain").text
        assert "one tree, of 370 leaves; 8 leaves are not on the chain yet" in said(steps, "tree").text
    await scene.grow(300)
    assert "one tree, of 670 leaves" in said(await scene.look(), "tree").text


async def test_one_follower_shows_only_what_is_new(scene: Scene) -> None:
    await scene.grow(*SIZES)
    source = UrlSource(scene.url, 5)
    async with Node.open(scene.site.url, 5) as node:
        follower = Follower(scene.trust, source, node, scene.folder, 0)
        await follower.look()
        asked: list[tuple[int, int]] = []
        path = source.path

        async def noted(old: int, new: int, size: int) -> Sequence[bytes] | None:
            asked.append((old, new))
            return await path(old, new, size)

        source.path = noted  # type: ignore[method-assign] # it only listens
        await scene.grow(9)
        await follower.look()
    await source.close()
    assert asked == [(344, 353)]


async def test_receipts_are_held_against_the_chain(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "receipts").mkdir()
    for count in (3, 4):
        await scene.grow(count)
        await scene.receipts(tmp_path / "receipts", 0)
    steps = await scene.look(folder=tmp_path / "receipts")
    assert {step.status for step in steps} == {Status.CHECKED}
    await scene.grow(5)
    steps = await scene.look(folder=tmp_path / "receipts")
    assert said(steps, "tree").status is Status.NOT_CHECKED


async def test_a_receipt_of_a_checkpoint_that_the_chain_never_held_is_a_gap(
    scene: Scene, tmp_path: Path
) -> None:
    (tmp_path / "receipts").mkdir()
    await scene.grow(3)
    await scene.receipts(tmp_path / "receipts", 0)
    (name,) = (tmp_path / "receipts").iterdir()
    head, _, _ = name.read_text(encoding="utf-8").rpartition("\n\n" + ORIGIN)
    made = Checkpoint.sign(2, bytes(32), scene.key).text()
    (tmp_path / "receipts" / "2.tlog-proof").write_text(f"{head}\n\n{made}", encoding="utf-8")
    with pytest.raises(ForkError, match=r"never held the checkpoint of the receipt 2.tlog-proof") as found:
        await scene.look(folder=tmp_path / "receipts")
    assert made in found.value.evidence


async def test_one_follower_finds_a_fork_at_a_size_that_it_knew(scene: Scene, tmp_path: Path) -> None:
    (heads := tmp_path / "heads").mkdir()
    for count in (3, 4):
        await scene.grow(count)
        await scene.receipts(heads, 0)
    made = Checkpoint.sign(3, bytes(32), scene.key).text()
    async with Node.open(scene.site.url, 5) as node:
        follower = Follower(scene.trust, FolderSource(heads), node, scene.folder, 0)
        assert {step.status for step in await follower.look()} == {Status.CHECKED}
        (heads / "000003.receipt.txt").rename(heads / "000003")
        (heads / "other.checkpoint").write_text(made, encoding="utf-8")
        with pytest.raises(ForkError, match="two trees of 3 leaves: one of the log") as found:
            await follower.look()
    assert made in found.value.evidence


async def test_what_is_on_the_chain_and_not_of_the_log_is_a_fork(scene: Scene) -> None:
    await scene.grow(3)
    key = ChainKey.load(scene.site.directory / "chain.key")
    async with Node.open(scene.site.url, 5) as node:
        head = await node.head(scene.site.chain_id, scene.site.contract)
        (held,) = await node.published(scene.site.contract, 0, head.number)
        made = publish_transaction(
            scene.site.chain_id,
            scene.site.contract,
            nonce=await node.nonce(key.address, head),
            gas=100_000,
            fees=head.fees,
            data=publish_call(3, held.root, 5, bytes(32)),
        )
        await node.send(key.sign(made))
    with pytest.raises(ForkError, match="the chain holds 5 leaves, and the log shows 3 only"):
        await scene.look()
    await scene.grow(9, anchor=False)
    with pytest.raises(ForkError, match=r"of 5 leaves holds that of 3: one of the .*, one of the chain"):
        await scene.look()


async def test_a_log_that_forked_is_told_and_both_sides_are_named(
    scene: Scene, database_template: Path, tmp_path: Path
) -> None:
    await scene.grow(3, 4)
    await scene.look()
    async with another(scene, database_template, tmp_path) as fork:
        await fork.grow(7, anchor=False)
        with pytest.raises(ForkError, match="two trees of 7 leaves") as found:
            await fork.look()
        assert sum("\u2014" in kept for kept in found.value.evidence) >= 1
        await fork.grow(5, anchor=False)
        with pytest.raises(ForkError, match="one of the log"):
            await fork.look()
    assert {step.status for step in await scene.look()} == {Status.CHECKED}


async def test_a_log_that_shows_less_than_before_is_told(
    scene: Scene, database_template: Path, tmp_path: Path
) -> None:
    await scene.grow(3, 4)
    await scene.look()
    async with another(scene, database_template, tmp_path) as older:
        with pytest.raises(ForkError, match=r"older state.*at least 7 leaves, got 0"):
            await older.look()
        await older.grow(6, anchor=False)
        with pytest.raises(ForkError, match=r"older state.*at least 7 leaves, got 6"):
            await older.look()


@asynccontextmanager
async def chain_in(folder: Path, clock: SteppedClock) -> AsyncIterator[str]:
    chain = EmbeddedChain(folder, clock)
    server = RpcServer(chain)
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()
        chain.close()


async def test_a_chain_that_was_set_back_is_told_also_when_it_caught_up(scene: Scene, tmp_path: Path) -> None:
    await scene.grow(3)
    older = tmp_path / "older"
    older.mkdir()
    for name in ("chain.db", "chain.db-wal"):
        (older / name).write_bytes((scene.site.directory / name).read_bytes())
    await scene.grow(4)
    await scene.look()
    scene.site.clock.advance(3600)
    async with chain_in(older, scene.site.clock) as rpc:
        with pytest.raises(ForkError, match=r"set back.*of 7 leaves, got 3 leaves"):
            await scene.look(rpc=rpc)
        await scene.site.step(scene.site.anchorer(rpc_url=rpc))
        with pytest.raises(ForkError, match="rewritten: block 3 is another one"):
            await scene.look(rpc=rpc)
    assert {step.status for step in await scene.look()} == {Status.CHECKED}


async def test_a_node_that_hides_or_repeats_events_is_told(scene: Scene, line: Line) -> None:
    await scene.grow(3, 4)
    line.changed_answers = {"eth_getLogs": []}
    with pytest.raises(ForkError, match="proves another checkpoint than the last"):
        await scene.look(rpc=line.url)
    async with aiohttp.ClientSession() as http:
        query = {
            "address": f"0x{scene.site.contract.hex()}",
            "fromBlock": "0x0",
            "toBlock": "latest",
            "topics": ["0x" + PUBLISHED.hex()],
        }
        call = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [query]}
        async with http.post(scene.site.url, json=call) as answer:
            events = (await answer.json())["result"]
    line.changed_answers = {"eth_getLogs": [*events, events[-1]]}
    with pytest.raises(ForkError, match="do not follow each other, in block 3"):
        await scene.look(rpc=line.url)


async def test_another_chain_another_key_and_missing_seals_are_told(scene: Scene) -> None:
    await scene.grow(3)
    chain = scene.trust.chain
    assert chain is not None
    with pytest.raises(VerificationError, match="another chain: expected 5"):
        await scene.look(trust=replace(scene.trust, chain=replace(chain, id=5)))
    with pytest.raises(VerificationError, match="too few seals"):
        await scene.look(trust=replace(scene.trust, chain=replace(chain, validators=(bytes(20),))))
    later = (ValidatorSet((bytes(20),), 10**9),)
    with pytest.raises(VerificationError, match="expected a block from 1000000000 on, got block"):
        await scene.look(trust=replace(scene.trust, chain=replace(chain, validator_sets=later)))
    with pytest.raises(VerificationError, match=r"/checkpoint: signed by another key"):
        await scene.look(trust=replace(scene.trust, keys=(LogKey(SigningKey.generate(ORIGIN).verifier),)))
    with pytest.raises(LedgerError, match="names no chain"):
        await scene.look(trust=replace(scene.trust, chain=None))
    (scene.folder / STATE_FILE).write_text("{}")
    with pytest.raises(LedgerError, match="cannot be read"):
        await scene.look()


async def test_a_witness_is_followed_as_far_as_it_saw(scene: Scene) -> None:
    async with aiohttp.ClientSession() as http:
        asked = Asked(scene.folder / "witness", http, scene.site.clock)
        asked.logs = [scene.key.verifier]
        await asked.start()
        cosigner = Cosigner(asked.server.url, asked.key, scene.site.log, 5)
        await scene.grow(3)
        await cosigner.step(scene.site.database, scene.site.clock())
        url = f"{asked.server.url}/{ORIGIN}"
        assert {step.status for step in await scene.look(url)} == {Status.CHECKED}
        await scene.grow(4)
        assert said(await scene.look(url), "tree").status is Status.NOT_CHECKED
        await cosigner.close()
        await asked.stop()


async def test_the_command_says_it_in_its_exit_code_and_keeps_both_sides(
    scene: Scene, tmp_path: Path, database_template: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await scene.grow(3, 4)
    (tmp_path / "trust.toml").write_bytes(scene.trust.to_file())

    async def run(url: str, rpc: str = scene.site.url) -> int:
        kept = (scene.folder, 0)
        return await ledger_follow._follow(url, scene.trust, rpc, kept=kept, timeout_s=5, every_s=None)

    arguments = ("--from", scene.url, "--trust", str(tmp_path / "trust.toml"), "--rpc", scene.site.url)
    more = ("--dir", str(scene.folder), "--once")
    command = (sys.executable, "-m", "flexpact", "ledger", "follow", *arguments, *more)
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    assert child.returncode == 0, out
    assert out.decode().splitlines()[-1].startswith("checked      tree ")
    assert await run("http://127.0.0.1:1") == 3
    assert await run(scene.url, "http://127.0.0.1:1") == 3
    assert await run(str(tmp_path / "nowhere")) == 3
    async with another(scene, database_template, tmp_path) as fork:
        await fork.grow(7, anchor=False)
        assert await run(fork.url) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-2].startswith("FAILED       tree        there are two trees of 7 leaves")
    (kept,) = scene.folder.glob("fork-*")
    assert said[-1] == f"kept: {kept}"
    assert kept.read_text(encoding="utf-8").count(ORIGIN) >= 2


async def test_it_follows_until_something_is_wrong(
    scene: Scene, tmp_path: Path, database_template: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await scene.grow(3)
    source = UrlSource(scene.url, 5)
    async with Node.open(scene.site.url, 5) as node, another(scene, database_template, tmp_path) as fork:
        follower = Follower(scene.trust, source, node, scene.folder, 0)
        looked, look = asyncio.Event(), follower.look

        async def noted() -> list[Step]:
            steps = await look()
            looked.set()
            return steps

        follower.look = noted  # type: ignore[method-assign] # it only listens
        task = asyncio.create_task(ledger_follow._keep_looking(follower, 0.01, asyncio.Event()))
        await fork.grow(3, anchor=False)
        await looked.wait()
        source._url = fork.url
        async with asyncio.timeout(30):
            with pytest.raises(ForkError, match="two trees of 3 leaves"):
                await task
    await source.close()
    assert "one tree, of 3 leaves" in capsys.readouterr().out


async def test_tiles_are_asked_for_as_c2sp_writes_them() -> None:
    assert tile_path(0, 1234067, 256) == "tile/0/x001/x234/067"
    assert tile_path(3, 0, 17) == "tile/3/000.p/17"
    assert EMPTY_ROOT  # of a log without leaves there is no tile
