"""A day on which the chain takes connections and answers nobody: no exchange waits, and nothing is lost."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.contract_node import ContractNode
from ledger.interface import interface
from ledger.node import Node
from ledger.setup import Deployed
from tests.aggregator.agreed import Agreed
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import (
    START,
    Platform,
    Prepared,
    agreed_platform,
    node_settings,
    running,
    write_settings,
)
from tests.aggregator.hole import Hole

TIMEOUT_S = 60  # real seconds; the day of the test takes less
ASKING = 2
"""Who asks the chain: the anchorer and the settler."""


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


@pytest.mark.goal(49)
async def test_events_under_an_agreement_go_on_without_the_chain_and_are_booked_in_order_once(
    prepared: Prepared, programme: tuple[Path, Deployed], tmp_path: Path
) -> None:
    holes: list[Hole] = []

    def wire(target: str) -> AbstractAsyncContextManager[str]:
        holes.append(Hole(target))
        holes[0].light()
        return holes[0].open()

    platform_of = agreed_platform(prepared, programme, tmp_path, wire, TIMEOUT_S, max_calls_per_day=2)
    async with platform_of as agreed:
        platform, (hole,) = agreed.platform, holes
        agreement_id = await agreed.agree()
        hole.darken()
        await platform.jump(START + timedelta(hours=1))
        await platform.until("/status", lambda _: hole.hanging > 0)
        called = await an_evening(platform)
        assert (hole.calls, hole.hanging) == (ASKING, ASKING)  # each still waits for its first answer
        shown = await platform.get(f"/agreements/{agreement_id}")
        assert [event["settled"] for event in shown["events"]] == [None] * len(shown["events"])
        assert await booked(agreed, agreement_id) == []
        hole.light()
        assert (await platform.post("/seal", {"timeout_s": TIMEOUT_S}))["complete"]
        shown = {e["event_id"]: e for e in (await platform.get(f"/agreements/{agreement_id}"))["events"]}
        assert shown.keys() == {*called}
        assert {event["settled"]["status"] for event in shown.values()} == {"open"}
        assert await booked(agreed, agreement_id) == [shown[event_id]["event_key"] for event_id in called]


async def an_evening(platform: Platform) -> list[str]:
    """The ids of two events of the first node, each admitted, sent, taken, measured; a third is refused."""
    node, box = {"node-1": 1}, platform.boxes["node-1"]
    for begins in (17, 21):
        await platform.jump(START + timedelta(hours=begins - 2))
        await platform.post("/requests", {**period(begins), "nodes": node}, status=201)
        await box.poll_for_event()
    called = [*box.events]
    assert len(called) == 2
    refused = await platform.post("/requests", {**period(22), "nodes": node}, status=422)
    assert "2 calls on 2026-01-20, 2 agreed" in refused["error"]
    await platform.jump(START + timedelta(hours=24))
    statements = await platform.settled(len(called))
    assert {(each["event_id"], each["outcome"]) for each in statements} == {(i, "measured") for i in called}
    return called


def period(begins: int) -> dict[str, str]:
    """An hour of the day."""
    return {name: f"2026-01-20T{begins + later}:00:00Z" for later, name in enumerate(("start", "end"))}


async def booked(agreed: Agreed, agreement_id: str) -> list[str]:
    """The keys of the events that the chain says were booked, in their order."""
    topic = interface("DRAgreement").topic("Booked")
    async with ContractNode.open(agreed.url, TIMEOUT_S) as node:
        newest = (await node.newest()).number
        entries = await node.events(agreed.deployed.agreement, topic, 0, newest)
    assert {entry.topics[1].hex() for entry in entries} <= {agreement_id}
    return [entry.topics[2].hex() for entry in entries]


async def a_day(platform: Platform) -> None:
    """An event in the evening, and polls, reports and offers every four hours until midnight."""
    answer = await platform.ask(5)
    for hour in range(16, 28, 4):
        await platform.jump(START + timedelta(hours=hour))
    taken = {name for name, box in platform.boxes.items() if box.events}
    assert taken == {node["ven_name"] for node in answer["nodes"]}
    await platform.settled(len(taken))
