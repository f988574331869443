"""A node reads its own records and receipts on the VTN's listener, and the box audits with them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from aggregator.own_records import GROWTH_PATH, PATH, PER_PAGE, OwnRecords
from feid.errors import RecordsError
from feid.records import ask
from flexpact.commands.aggregator import app
from ledger.checkpoint import SigningKey
from ledger.consistency import ConsistencyProof
from ledger.log import Log
from ledger.merkle import check_consistency
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.store import leaf_table
from ledger.trust import Trust
from ledger.verify import verify_receipt
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
from tests.ven.test_transport import answering
from ven.settings import VenSettings
from vtn import original, registration
from vtn.store import Database


@pytest.fixture
async def anchored(prepared: Prepared, tmp_path: Path) -> AsyncIterator[Platform]:
    """A platform with a chain of its own, everything anchored."""
    (tmp_path / "chain").mkdir()
    chain = Chain(tmp_path / "chain")
    boxes = prepared.copy(tmp_path)
    settings = write_settings(tmp_path, [node_settings(n) for n in (1, 2, 3)], chain=await chain.start())
    async with running(settings, boxes) as started:
        assert (await started.post("/seal", {"timeout_s": 60}))["complete"]
        yield started
    await chain.close()


async def read(platform: Platform, query: str = "", number: int = 1, path: str = PATH) -> tuple[int, bytes]:
    assert platform.aggregator is not None
    url = f"http://127.0.0.1:{platform.aggregator.port}{path}{query}"
    async with platform.http.get(url, headers={"X-Client-Fingerprint": f"{number:064x}"}) as answer:
        return answer.status, await answer.read()


async def pages(platform: Platform, number: int = 1) -> list[dict[str, object]]:
    """All leaves that a node is given."""
    leaves: list[dict[str, object]] = []
    while True:
        status, body = await read(platform, f"?after={leaves[-1]['index'] if leaves else -1}", number)
        assert status == 200
        lines = [json.loads(line) for line in body.splitlines()]
        assert len(lines) <= PER_PAGE
        if not lines:
            return leaves
        leaves += lines


async def test_a_node_is_given_its_own_records_alone_each_with_a_receipt(anchored: Platform) -> None:
    trust = Trust.from_file((await anchored.get("/trust"))["trust"].encode())
    found = {}
    for number in (1, 2, 3):
        leaves = await pages(anchored, number)
        ven_id = anchored.boxes[f"node-{number}"].ven_id
        for leaf in leaves:
            record = Record.from_file(str(leaf["record"]).encode())
            receipt = Receipt.from_file(str(leaf["receipt"]).encode())
            assert verify_receipt(record, receipt, trust).complete
            assert (record.body["ven_id"], receipt.index) == (ven_id, leaf["index"])
        found[number] = {leaf["index"] for leaf in leaves}
    whole = set.union(*found.values())
    assert sum(map(len, found.values())) == len(whole) == (await anchored.get("/summary"))["leaves"]


async def test_a_page_reads_its_anchor_once(anchored: Platform) -> None:
    """It takes milliseconds, in the process that answers polls."""
    log = Log(ORIGIN, SigningKey.load(anchored.settings.log.key_file))
    db = await Database.open(anchored.settings.database)
    asked: list[str] = []
    async with db.read() as conn:
        driver = (await conn.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.visit(lambda view: view.set_trace_callback(asked.append))
    page, _ = await OwnRecords(db, log).page(anchored.boxes["node-1"].ven_id, "")
    await db.close()
    assert len(page.splitlines()) > 3
    assert len([sql for sql in asked if "anchor.proof" in sql]) == 1
    assert len([sql for sql in asked if "FROM ledger_cosignature" in sql]) == 1


async def test_what_was_erased_is_left_out_and_the_pages_go_on(anchored: Platform) -> None:
    before = await pages(anchored)
    gone = before[1]["index"]
    db = await Database.open(anchored.settings.database)
    async with db.write() as conn:
        erased = update(leaf_table).where(leaf_table.c.leaf_index == gone).values(salt=None, canonical=None)
        await conn.execute(erased)
    await db.close()
    after = await pages(anchored)
    assert [leaf["index"] for leaf in after] == [leaf["index"] for leaf in before]
    assert after[1] == {"index": gone}


async def test_what_is_not_anchored_yet_is_not_among_them(anchored: Platform) -> None:
    before = await pages(anchored)
    ven_id = anchored.boxes["node-1"].ven_id
    young = Record("report", f"report/{ven_id}/young", START, {"ven_id": ven_id})
    log = Log(ORIGIN, SigningKey.load(anchored.settings.log.key_file))
    db = await Database.open(anchored.settings.database)
    async with db.write() as conn:
        (index,) = await log.append([young], conn)
    await db.close()
    assert index == (await anchored.get("/summary"))["leaves"] - 1
    assert await pages(anchored) == before


async def test_a_node_is_not_given_the_records_of_one_whose_id_goes_on_after_a_slash(
    anchored: Platform,
) -> None:
    ven_id = anchored.boxes["node-1"].ven_id
    before = await pages(anchored)
    longer = f"{ven_id}/b"
    others = Record("report", f"report/{longer}/r/1", START, {"ven_id": longer})
    log = Log(ORIGIN, SigningKey.load(anchored.settings.log.key_file))
    db = await Database.open(anchored.settings.database)
    async with db.write() as conn:
        (index,) = await log.append([others], conn)
    await db.close()
    assert (await anchored.post("/seal", {"timeout_s": 60}))["complete"]
    after = {leaf["index"]: leaf for leaf in await pages(anchored)}
    assert after[index] == {"index": index}
    assert after.keys() == {leaf["index"] for leaf in before} | {index}


async def test_others_are_given_nothing(anchored: Platform) -> None:
    assert (await read(anchored, number=9))[0] == 403
    for query in ("?after=x", "?after=-2", "?after=1&after=2", "?x"):
        assert (await read(anchored, query))[0] == 400
    assert (await read(anchored, path="/flexpact/other"))[0] == 501
    assert (await read(anchored, path="/OpenADR2/Simple/2.0b/EiReport"))[0] == 501
    db = await Database.open(anchored.settings.database)
    async with db.write() as conn:
        await registration.suspend(conn, anchored.boxes["node-1"].ven_id, START)
    await db.close()
    await anchored.stop()
    await anchored.start()
    assert (await read(anchored))[0] == 403


async def test_a_node_is_given_the_proof_that_the_log_only_grew(anchored: Platform) -> None:
    before = Receipt.from_file(str((await pages(anchored))[0]["receipt"]).encode()).checkpoint
    await anchored.jump(START + timedelta(hours=1))
    assert (await anchored.post("/seal", {"timeout_s": 60}))["complete"]
    after = Receipt.from_file(str((await pages(anchored))[0]["receipt"]).encode()).checkpoint
    status, raw = await read(anchored, f"?old={before.size}&new={after.size}", path=GROWTH_PATH)
    proof = ConsistencyProof.from_file(raw)
    assert (status, proof.old, proof.new) == (200, before.size, after.size)
    check_consistency(before.size, before.root, after.size, after.root, proof.path)
    assert before.size < after.size
    for query in (
        f"?old=1&new={after.size + 1}",
        "?old=2&new=1",
        "?old=0&new=1",
        "?old=1",
        "?new=2&old=1",
        "",
    ):
        assert (await read(anchored, query, path=GROWTH_PATH))[0] == 400
    assert (await read(anchored, "?old=1&new=2", number=9, path=GROWTH_PATH))[0] == 403


async def test_the_terminal_writes_a_signed_report_beside_its_record(
    anchored: Platform, tmp_path: Path
) -> None:
    reports = [leaf for leaf in await pages(anchored) if '"kind": "report"' in str(leaf["record"])]
    index = int(str(reports[0]["index"]))
    raw_sha256 = Record.from_file(str(reports[0]["record"]).encode()).body["raw_sha256"]
    assert "original" not in await anchored.get(f"/receipts/{index}")
    db = await Database.open(anchored.settings.database)
    async with db.write() as conn:
        await original.keep(conn, str(raw_sha256), "v", b"<as it came/>", START)
    await db.close()
    words = ["receipt", str(index), "--socket", str(anchored.settings.socket), "--out", str(tmp_path / "e")]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert result.exit_code == 0
    assert (tmp_path / "e" / f"{index:06d}.original.xml").read_bytes() == b"<as it came/>"


# the box's side


def settings(port: int) -> VenSettings:
    return VenSettings(
        vtn_url=f"http://127.0.0.1:{port}", insecure_dev=True, ven_name="n", state_path=Path("none")
    )


def clock() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"x", "gives no record: b'x'"),
        (b"{}", "gives no record"),
        (b"[" * 100_000, "gives no record"),
        (b'{"index": 1, "record": "r"}', "gives no record"),
        (b'{"index": 1}\n{"index": 1}', "gives leaf 1 after leaf 1"),
    ],
)
async def test_an_answer_that_is_none_ends_the_asking(body: bytes, said: str) -> None:
    async def handle(_request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response(body=body)

    async with answering(handle) as port:
        with pytest.raises(RecordsError, match=said.replace("'", ".")):
            await ask(settings(port), clock)


async def test_an_aggregator_that_gives_no_records_is_said(unused_tcp_port: int) -> None:
    async def handle(_request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response(status=501)

    async with answering(handle) as port:
        with pytest.raises(RecordsError, match="HTTP status 501"):
            await ask(settings(port), clock)
    with pytest.raises(RecordsError, match="nobody listens there"):
        await ask(settings(unused_tcp_port), clock)


async def test_the_box_asks_page_after_page_until_there_is_none() -> None:
    asked: list[str] = []

    async def handle(request: aiohttp.web.Request) -> aiohttp.web.Response:
        asked.append(request.query["after"])
        told = {"-1": b'{"index": 3, "record": "r", "receipt": "s"}\n{"index": 7}\n'}
        return aiohttp.web.Response(body=told.get(asked[-1], b""))

    async with answering(handle) as port:
        assert await ask(settings(port), clock) == ([("leaf 3", b"r", b"s")], {})
    assert asked == ["-1", "7"]
