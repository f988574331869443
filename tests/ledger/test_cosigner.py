"""A log's checkpoints brought to a witness over the real wire, whatever either of them went through."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from ledger import cosignature_store, store
from ledger.checkpoint import COSIGNATURE, Checkpoint, Cosignature, SigningKey, VerifierKey
from ledger.cosigner import Cosigner, CosignState, CosignStatus
from ledger.log import Log
from tests.ledger.conftest import START, SteppedClock, record
from tests.ledger.test_consistency import KEY, ORIGIN
from tests.ledger.test_witness import Asked
from vtn.store import Database


class Side:
    """A log, and a witness that can be switched off."""

    def __init__(self, database: Database, asked: Asked) -> None:
        self.database, self.asked, self.clock = database, asked, SteppedClock()
        self.log = Log(ORIGIN, KEY)
        self.cosigners: list[Cosigner] = []

    def cosigner(self, key: VerifierKey | None = None, url: str = "") -> Cosigner:
        """A new one, as after a restart."""
        made = Cosigner(url or self.asked.server.url, key or self.asked.key, self.log, 5)
        self.cosigners.append(made)
        return made

    async def grow(self, count: int, name: str = "leaf") -> Checkpoint:
        """So many more leaves and a checkpoint over all."""
        async with self.database.write() as conn:
            size = await store.log_size(conn)
            await self.log.append([record(f"{name}/{size + n}") for n in range(count)], conn)
            made = await self.log.publish(conn, self.clock())
        assert made is not None
        return made

    async def step(self, cosigner: Cosigner) -> CosignState:
        return await cosigner.step(self.database, self.clock())

    async def lines(self, checkpoint: Checkpoint) -> tuple[Cosignature, ...]:
        """What is there for it, verified."""
        async with self.database.read() as conn:
            found = (await cosignature_store.cosigned(conn, checkpoint)).cosignatures
        for line in found:
            line.verify(checkpoint, self.asked.key)
        return found


@pytest.fixture
async def side(database: Database, tmp_path: Path) -> AsyncIterator[Side]:
    async with aiohttp.ClientSession() as http:
        asked = Asked(tmp_path / "witness", http, SteppedClock(START))
        await asked.start()
        made = Side(database, asked)
        yield made
        for cosigner in made.cosigners:
            await cosigner.close()
        await asked.stop()


async def test_without_a_checkpoint_nobody_is_asked(side: Side) -> None:
    state = await side.step(side.cosigner(url="http://127.0.0.1:1"))
    assert (state.status, state.size) == (CosignStatus.IDLE, None)


async def test_a_new_witness_begins_with_the_newest_and_then_gets_each(side: Side) -> None:
    early, first = await side.grow(3), await side.grow(300)
    cosigner = side.cosigner()
    assert (await side.step(cosigner)).size == 303
    later = [await side.grow(count) for count in (1, 200, 17)]
    assert await side.step(cosigner) == CosignState(CosignStatus.IDLE, "every checkpoint is cosigned", 521)
    assert not await side.lines(early)
    for checkpoint in (first, *later):
        assert len(await side.lines(checkpoint)) == 1


async def test_a_line_that_got_lost_is_fetched_after_a_restart(side: Side) -> None:
    await side.grow(3)
    await side.step(side.cosigner())
    lost = await side.grow(4)
    async with side.database.read() as conn:
        path = await side.log.consistency(conn, 3, 7)
    line = await side.asked.add(3, lost, path)  # the witness answered, and nobody was there to hear it
    newest = await side.grow(5)
    assert (await side.step(side.cosigner())).size == 12
    assert [made.line() + "\n" for made in await side.lines(lost)] == [line]
    assert len(await side.lines(newest)) == 1


async def test_a_witness_that_was_off_gets_what_it_missed(side: Side) -> None:
    cosigner = side.cosigner()
    await side.grow(3)
    await side.step(cosigner)
    url = side.asked.server.url
    await side.asked.stop()
    missed = [await side.grow(2), await side.grow(2)]
    state = await side.step(cosigner)
    assert (state.status, state.size) == (CosignStatus.DOWN, 3)
    assert "does not answer" in state.text
    await side.asked.start()
    again = side.cosigner()
    assert side.asked.server.url != url
    assert (await side.step(again)).status is CosignStatus.IDLE
    for checkpoint in missed:
        assert len(await side.lines(checkpoint)) == 1


async def test_a_database_that_is_older_than_what_was_published_is_told(
    side: Side, database_path: Path
) -> None:
    await side.grow(3)
    older = Path(shutil.copy(database_path, database_path.with_name("older.db")))
    shutil.copy(f"{database_path}-wal", f"{older}-wal")
    await side.grow(4)
    await side.step(side.cosigner())
    side.database, newer = await Database.open(older), side.database
    state = await side.step(side.cosigner())
    assert state.status is CosignStatus.REFUSED
    assert "has cosigned 7 leaves, and this log has 3" in state.text
    forked = await side.grow(9, "another")
    state = await side.step(cosigner := side.cosigner())
    assert state.status is CosignStatus.REFUSED
    assert "it answers 422" in state.text
    assert not await side.lines(forked)
    assert side.asked.kept() == []  # a bad proof proves nothing: anybody can send one
    assert (await side.step(cosigner)).status is CosignStatus.REFUSED
    await side.database.close()
    side.database = newer


async def test_two_trees_of_one_size_are_told(side: Side, database_path: Path) -> None:
    async with side.database.write() as conn:
        await side.log.append([record("other")], conn)
        other = await side.log.publish(conn, side.clock())
        await conn.rollback()
    assert other is not None
    await side.asked.add(0, other)
    await side.grow(1)
    state = await side.step(side.cosigner())
    assert state.status is CosignStatus.REFUSED
    assert "it answers 409" in state.text
    assert len(side.asked.kept()) == 1


Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def impostor(answer: web.Response) -> AsyncIterator[str]:
    """The address of something that gives every request this answer."""

    async def handle(_request: web.Request) -> web.Response:
        return answer

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


OTHER = SigningKey.generate("dso.example/witness", COSIGNATURE)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (web.Response(status=503, text="later"), CosignStatus.DOWN, "answers 503: later"),
        (web.Response(status=404, text="unknown"), CosignStatus.REFUSED, "it answers 404: unknown"),
        (web.Response(status=307, headers={"Location": "/"}), CosignStatus.REFUSED, "it answers 307"),
        (web.Response(status=409, text="many\n"), CosignStatus.REFUSED, "not a plain decimal number"),
        (web.Response(status=409, text="9\n"), CosignStatus.REFUSED, "has cosigned 9 leaves"),
        (web.Response(text=""), CosignStatus.REFUSED, "holds no line"),
        (web.Response(text="\u2014 other AAAA\n" + 20_000 * "x"), CosignStatus.REFUSED, "holds no line"),
    ],
)
async def test_what_is_no_witness_is_told(
    side: Side, answer: web.Response, status: CosignStatus, said: str
) -> None:
    await side.grow(3)
    async with impostor(answer) as url:
        state = await side.step(side.cosigner(url=url))
    assert state.status is status
    assert said in state.text


@pytest.mark.parametrize("right_checkpoint", [True, False])
async def test_a_line_that_does_not_verify_is_not_kept(side: Side, *, right_checkpoint: bool) -> None:
    newest = await side.grow(3)
    signed = newest if right_checkpoint else Checkpoint.sign(4, newest.root, KEY)
    line = Cosignature.sign(signed, OTHER, START).line()
    async with impostor(web.Response(text=line + "\n")) as url:
        key = side.asked.key if right_checkpoint else OTHER.verifier
        state = await side.step(side.cosigner(key, url))
    assert state.status is CosignStatus.REFUSED
    assert not await side.lines(newest)
