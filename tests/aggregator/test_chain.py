"""The chain beside the business: switched off it changes nothing, back again it gets everything, once."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.receipt import Receipt
from ledger.record import Record
from ledger.settings import LOOK_AGAIN
from ledger.trust import Trust
from ledger.verify import verify_receipt
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import END, Platform, Prepared, node_settings, running, write_settings


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[Chain]:
    """A chain of this test's own."""
    folder = tmp_path / "chain"
    folder.mkdir()
    opened = Chain(folder)
    yield opened
    await opened.close()


@pytest.fixture
async def anchored(prepared: Prepared, tmp_path: Path, chain: Chain) -> AsyncIterator[Platform]:
    """The platform with that chain."""
    boxes = prepared.copy(tmp_path)
    settings = write_settings(tmp_path, [node_settings(n) for n in (1, 2, 3)], chain=await chain.start())
    async with running(settings, boxes) as started:
        yield started


async def test_every_receipt_verifies_offline(anchored: Platform) -> None:
    await anchored.ask(5)
    await anchored.jump(END)
    await anchored.settled(2)
    sealed = await anchored.post("/seal", {"timeout_s": 60})
    assert sealed["complete"] is True
    assert sealed["anchored"] == sealed["leaves"] > 50
    trust = Trust.from_file((await anchored.get("/trust"))["trust"].encode())
    for index in range(0, sealed["leaves"], 7):
        files = await anchored.get(f"/receipts/{index}")
        record = Record.from_file(files["record"].encode())
        assert verify_receipt(record, Receipt.from_file(files["receipt"].encode()), trust).complete
    chain = (await anchored.get("/status"))["chain"]
    assert (chain["ok"], chain["status"], chain["head"]) == (True, "idle", sealed["leaves"])
    assert chain["last_anchor_at"] is not None


async def test_the_terminal_writes_what_an_outsider_verifies(anchored: Platform, tmp_path: Path) -> None:
    await anchored.post("/seal", {"timeout_s": 60})

    async def run(*words: str) -> tuple[int, str, str]:
        command = ("-m", "flexpact", "aggregator", *words, "--socket", str(anchored.settings.socket))
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=pipe, stderr=pipe)
        out, err = await child.communicate()
        assert child.returncode is not None
        return child.returncode, out.decode(), err.decode()

    out = tmp_path / "evidence"
    code, told, _ = await run("receipt", "3", "--out", str(out))
    assert (code, told) == (0, f"{out}/000003.record.json\n{out}/000003.receipt.txt\n")
    trust = Trust.from_file((await run("trust"))[1].encode())
    record = Record.from_file((out / "000003.record.json").read_bytes())
    receipt = Receipt.from_file((out / "000003.receipt.txt").read_bytes())
    assert verify_receipt(record, receipt, trust).complete
    code, _, refused = await run("receipt", "3", "--out", str(out / "000003.record.json"))
    assert (code, refused) == (1, f"flexpact aggregator: {out}/000003.record.json: File exists\n")


async def test_after_a_restart_nothing_was_anchored_yet_by_this_process(anchored: Platform) -> None:
    await anchored.post("/seal", {"timeout_s": 60})
    await anchored.stop()
    await anchored.start()
    status = await anchored.until("/status", lambda s: s["chain"]["status"] == "idle")
    assert (status["chain"]["ok"], status["chain"]["last_anchor_at"]) == (True, None)


async def test_a_chain_that_is_down_for_the_event_changes_nothing_else(
    anchored: Platform, chain: Chain
) -> None:
    await chain.switch_off()
    await anchored.ask(5)
    await anchored.jump(END)
    statements = {s["ven_name"]: s["amount_minor"] for s in await anchored.settled(2)}
    assert statements == {"node-1": 124, "node-2": 192}
    waiting = await anchored.post("/seal", {"timeout_s": 0.5})
    assert (waiting["complete"], waiting["anchored"]) == (False, 0)
    assert (await anchored.get("/status"))["chain"]["status"] == "chain down"
    await chain.switch_on()
    sealed = await anchored.post("/seal", {"timeout_s": 60})
    assert (sealed["complete"], sealed["leaves"]) == (True, waiting["leaves"])


async def test_without_news_the_chain_is_still_looked_at(anchored: Platform, chain: Chain) -> None:
    await anchored.post("/seal", {"timeout_s": 60})
    await anchored.until("/status", lambda s: s["chain"]["status"] == "idle")
    await chain.switch_off()
    await anchored.clock.move(anchored.clock.now + LOOK_AGAIN)
    status = await anchored.until("/status", lambda s: s["chain"]["status"] != "idle")
    assert status["chain"]["status"] == "chain down"
