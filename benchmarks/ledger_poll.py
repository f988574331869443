"""What a poll costs while the chain answers nobody, against what it costs while the chain is well.

Two aggregators in one process, one with each chain, polled in turn. Between rounds time goes on, nodes
report, and both have checkpoints to anchor: one does it, the other waits for an answer that does not come.
"""

from __future__ import annotations

import logging
import statistics
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import structlog

from flexpact.migrations import upgrade
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import START, Platform, make_boxes, node_settings, running, write_settings
from tests.aggregator.hole import Hole

ROUNDS = 12
POLLS = 60
TIMEOUT_S = 60


async def poll_cost(directory: Path) -> dict[str, float]:
    """Medians in microseconds, client and server together, and their ratio."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    async with AsyncExitStack() as stack:
        alive = await platform(directory / "alive", stack, dark=False)
        dead = await platform(directory / "dead", stack, dark=True)
        spent: list[tuple[Platform, list[float]]] = [(alive, []), (dead, [])]
        for number in range(1, ROUNDS + 1):
            for each, _ in spent:
                await each.jump(START + number * timedelta(minutes=15))
            for _ in range(POLLS):
                for each, times in spent:
                    box = next(iter(each.boxes.values()))
                    begun = time.perf_counter()
                    await box.poll()
                    times.append(time.perf_counter() - begun)
        anchored = [(await each.get("/status"))["counts"]["anchored"] for each, _ in spent]
        if not anchored[0] or anchored[1]:
            raise SystemExit(f"anchored with a chain and without: {anchored}")
        well, ill = (statistics.median(times) * 1e6 for _, times in spent)
    return {
        "poll_us_chain_alive": round(well),
        "poll_us_chain_dead": round(ill),
        "poll_ratio_chain_dead_vs_alive": round(ill / well, 2),
    }


async def platform(folder: Path, stack: AsyncExitStack, *, dark: bool) -> Platform:
    """An aggregator with three nodes and a chain."""
    (folder / "chain").mkdir(parents=True)
    upgrade(folder / "aggregator.sqlite")
    chain = Chain(folder / "chain")
    stack.push_async_callback(chain.close)
    settings = await chain.start()
    if dark:
        url = await stack.enter_async_context(Hole(settings["rpc_url"]).open())
        settings |= {"rpc_url": url, "timeout_s": TIMEOUT_S}
    made = write_settings(folder, [node_settings(number) for number in (1, 2, 3)], chain=settings)
    started = await stack.enter_async_context(running(made, make_boxes()))
    for box in started.boxes.values():
        await box.register(START)
    return started
