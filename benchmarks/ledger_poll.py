"""What a poll costs while the chain answers nobody, against what it costs while the chain is well.

Two aggregators in one process, one with each chain, polled in turn. Between rounds time goes on, nodes
report, and both have checkpoints to anchor: one does it, the other waits for an answer that does not come.

    python benchmarks/ledger_poll.py

ends with one line of JSON, and with exit code 1 if p50 or p99 is more than 1.10 times as much without the
chain and chance does not explain it: drawn anew from the rounds, 99 of 100 ratios are above that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import structlog

# Run as a script, this folder comes first on the path, and a file in it hides the package that it measures.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

from flexpact.migrations import upgrade  # noqa: E402 - see above
from tests.aggregator.chain import Chain  # noqa: E402 - see above
from tests.aggregator.conftest import (  # noqa: E402 - see above
    START,
    Platform,
    make_boxes,
    node_settings,
    running,
    write_settings,
)
from tests.aggregator.hole import Hole  # noqa: E402 - see above

Round = tuple[list[float], list[float]]
"""Seconds of polls beside the living chain and beside the dead one, in turn."""
ROUNDS = 12
POLLS = 120
BEYOND = 10
DRAWS = 500
MOST = 1.10
TIMEOUT_S = 60


async def poll_cost(directory: Path) -> dict[str, float]:
    """Medians in microseconds, client and server together; the ratios of p50 and p99, each with the least
    that it can be by chance.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    async with AsyncExitStack() as stack:
        alive = await platform(directory / "alive", stack, dark=False)
        dead = await platform(directory / "dead", stack, dark=True)
        spent: list[Round] = []
        for number in range(1, ROUNDS + 1):
            for each in (alive, dead):
                await each.jump(START + number * timedelta(minutes=15))
            spent.append(([], []))
            for _ in range(POLLS):
                for each, times in zip((alive, dead), spent[-1], strict=True):
                    box = next(iter(each.boxes.values()))
                    begun = time.perf_counter()
                    await box.poll()
                    times.append(time.perf_counter() - begun)
        anchored = [(await each.get("/status"))["counts"]["anchored"] for each in (alive, dead)]
        if not anchored[0] or anchored[1]:
            raise SystemExit(f"anchored with a chain and without: {anchored}")
    well, ill = ([one for each in spent for one in each[side]] for side in (0, 1))
    return {
        "poll_us_chain_alive": round(statistics.median(well) * 1e6),
        "poll_us_chain_dead": round(statistics.median(ill) * 1e6),
        "poll_ratio_chain_dead_vs_alive": round(ratio(spent, 0.5), 2),
        "poll_ratio_least": round(least(spent, 0.5), 3),
        "poll_p99_ratio_chain_dead_vs_alive": round(ratio(spent, 0.99), 2),
        "poll_p99_ratio_least": round(least(spent, 0.99), 3),
    }


def ratio(spent: Sequence[Round], share: float) -> float:
    """A percentile of the polls beside the dead chain, by that beside the living one."""
    well, ill = (sorted(one for each in spent for one in each[side]) for side in (0, 1))
    at = min(int(share * len(well)), len(well) - 1)
    return ill[at] / well[at]


def least(spent: Sequence[Round], share: float) -> float:
    """What the ratio exceeds in 99 of 100 draws of as many rounds; 0 where fewer than `BEYOND` polls lie
    beyond the percentile, so that a few of them would be the whole of it.

    Whole rounds are drawn, because what disturbs one poll on a shared machine disturbs its neighbours too.
    """
    polls = sum(len(well) for well, _ in spent)
    if polls * (1 - share) < BEYOND:
        return 0.0
    rng = random.Random(1)
    drawn = sorted(ratio(rng.choices(spent, k=len(spent)), share) for _ in range(DRAWS))
    return drawn[DRAWS // 100]


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


def main() -> None:
    """Measure, and say whether a silent chain costs a poll more than it may."""
    with tempfile.TemporaryDirectory() as name:
        found = asyncio.run(poll_cost(Path(name)))
    print(json.dumps(found))
    if max(found["poll_ratio_least"], found["poll_p99_ratio_least"]) > MOST:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
