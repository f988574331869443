"""The log for everybody: what is served is what C2SP tlog-tiles says, and no more than was signed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest

from aggregator.public_log import PublicLog
from aggregator.settings import PublicSettings
from ledger import cosignature_store
from ledger.checkpoint import COSIGNATURE, Checkpoint, Cosignature, SigningKey
from ledger.log import Log
from ledger.merkle import range_hash
from ledger.record import Record
from ledger.tile import split, subtree_hash
from tests.aggregator.conftest import ORIGIN, START
from vtn.errors import StartupError
from vtn.store import Database

SIZE = 600
WITNESS = SigningKey.generate("dso.example/witness", COSIGNATURE)


class Reader:
    """Somebody on the internet."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.url = http, url

    async def get(self, path: str) -> tuple[int, bytes, str]:
        async with self.http.get(self.url + path) as answer:
            return answer.status, await answer.read(), answer.headers.get("Cache-Control", "")


@pytest.fixture
async def reader(database: Database) -> AsyncIterator[Reader]:
    opened = PublicLog(PublicSettings(port=0))
    await opened.start(database)
    async with aiohttp.ClientSession() as http:
        yield Reader(http, f"http://127.0.0.1:{opened.port}")
    await opened.close()


async def fill(database: Database, leaves: int, *, sign: bool = True) -> Checkpoint | None:
    log = Log(ORIGIN, SigningKey(ORIGIN, bytes(32)))
    async with database.write() as conn:
        await log.append([Record("kind", f"{leaves}/{n}", START, {}, bytes(32)) for n in range(leaves)], conn)
        return await log.publish(conn, START) if sign else None


async def test_anyone_makes_the_tree_that_was_signed_from_tiles(database: Database, reader: Reader) -> None:
    made = await fill(database, SIZE)
    assert made is not None
    line = Cosignature.sign(made, WITNESS, START)
    async with database.write() as conn:
        await cosignature_store.add(conn, SIZE, str(WITNESS.verifier), line, START)
    status, raw, caching = await reader.get("/checkpoint")
    assert (status, caching) == (200, "no-store")
    assert Checkpoint.parse(raw.decode()) == replace(made, cosignatures=(line,))
    tiles = {}
    for place, path in {(0, 0): "000", (0, 1): "001", (0, 2): "002.p/88", (1, 0): "000.p/2"}.items():
        status, tiles[place], caching = await reader.get(f"/tile/{place[0]}/{path}")
        assert (status, "immutable" in caching) == (200, True)
    assert [len(split(tiles[0, n])) for n in range(3)] == [256, 256, 88]
    assert range_hash((0, SIZE), lambda subtree: subtree_hash(subtree, tiles)) == made.root


async def test_what_is_not_signed_is_not_given(database: Database, reader: Reader) -> None:
    assert (await reader.get("/checkpoint"))[0] == 404
    await fill(database, 10, sign=False)
    assert (await reader.get("/tile/0/000.p/10"))[0] == 404
    await fill(database, 5)
    await fill(database, 250, sign=False)
    assert [(await reader.get(f"/tile/0/000.p/{n}"))[0] for n in (14, 15, 16)] == [200, 200, 404]
    assert (await reader.get("/tile/0/000"))[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "0/000.p/0", "0/000.p/256", "0/000.p/016", "0/000.p/", "0/0", "00/000", "0/1000", "0/001.p/1",
        "8/000.p/1",
        "63/000.p/1", "99/000.p/1", "0/x000/x000/x000/x000/x000/000.p/1", "1/000.p/1", "entries/000.p/1",
        "0/%30%30%30%2F", "0/../checkpoint", "-1/000", "0/\u0660\u0660\u0660",
    ],
)  # fmt: skip
async def test_other_paths_are_nothing(database: Database, reader: Reader, path: str) -> None:
    await fill(database, 10)
    assert (await reader.get(f"/tile/{path}"))[0] == 404


async def test_a_port_that_is_taken_is_told(database: Database, reader: Reader) -> None:
    port = int(reader.url.rpartition(":")[2])
    with pytest.raises(StartupError, match=f"cannot listen on 127.0.0.1 port {port}"):
        await PublicLog(PublicSettings(port=port)).start(database)
