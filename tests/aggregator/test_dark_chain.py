"""A day on which the chain takes connections and answers nobody: no exchange waits, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ledger.node import Node
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import START, Platform, Prepared, node_settings, running, write_settings
from tests.aggregator.hole import Hole

TIMEOUT_S = 60  # real seconds; the day of the test takes less


@pytest.mark.goal(49)
async def test_no_exchange_of_a_day_waits_for_the_chain(prepared: Prepared, tmp_path: Path) -> None:
    folder = tmp_path / "chain"
    folder.mkdir()
    chain = Chain(folder)
    settings = await chain.start()
    hole = Hole(settings["rpc_url"])
    async with hole.open() as url:
        dark = {**settings, "rpc_url": url, "timeout_s": TIMEOUT_S}
        made = write_settings(tmp_path, [node_settings(n) for n in (1, 2, 3)], chain=dark)
        async with running(made, prepared.copy(tmp_path)) as platform:
            await platform.until("/status", lambda _: hole.calls == 1)
            await a_day(platform)
            # All that was exchanged lies between the anchorer's first question and its answer.
            assert (hole.calls, hole.hanging) == (1, 1)
            counts = (await platform.get("/status"))["counts"]
            assert counts["anchored"] == 0
            assert counts["checkpoints"] > 1
            hole.light()
            sealed = await platform.post("/seal", {"timeout_s": TIMEOUT_S})
            assert sealed["complete"]
            assert sealed["anchored"] == sealed["leaves"] >= counts["leaves"] > 0
            contract = bytes.fromhex(settings["contract"][2:])
            async with Node.open(url, TIMEOUT_S) as node:
                steps = await node.published(contract, 0, 100)
            assert [step.size for step in steps] == [sealed["leaves"]]
    await chain.close()


async def a_day(platform: Platform) -> None:
    """An event in the evening, and polls, reports and offers every four hours until midnight."""
    answer = await platform.ask(5)
    for hour in range(16, 28, 4):
        await platform.jump(START + timedelta(hours=hour))
    taken = {name for name, box in platform.boxes.items() if box.events}
    assert taken == {node["ven_name"] for node in answer["nodes"]}
    await platform.settled(len(taken))
