"""How often an anchorer was killed and what befell its chain: seeded trials on the embedded chain and anvil.

    python benchmarks/crash_matrix.py [--trials 100] [--settler] [--write FILE]

Each trial (tests/ledger/trial.py) ends with the question whether the chain's events are the checkpoints that
the ledger calls anchored, without gap or double, with every leaf under the newest. The table counts; any
trial that ends otherwise is named with its number, and the exit code is 1.

With --settler the settler is killed (tests/ledger/test_settler_crash.py), on anvil, and the question is
whether each event is booked once, by transactions that were kept before they were sent, none mined in vain.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

# Run as a script, this folder comes first on the path, and a file in it hides the package that it measures.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

from flexpact.migrations import upgrade  # noqa: E402 - see above
from tests.ledger.anvil import anvil  # noqa: E402 - see above
from tests.ledger.anvil_programme import AnvilProgramme  # noqa: E402 - see above
from tests.ledger.ground import AnvilGround, EmbeddedGround  # noqa: E402 - see above
from tests.ledger.test_settler_crash import NODES, POINTS, Trial, opened  # noqa: E402 - see above
from tests.ledger.trial import WrongError, drawn, run  # noqa: E402 - see above
from tests.ledger.victim import Zygote  # noqa: E402 - see above
from tests.ledger.wire import SEND  # noqa: E402 - see above

ROWS = {
    "trials": "trials",
    "wrong": "trials that ended wrong",
    "lives": "lives of an anchorer",
    "killed": "killed by SIGKILL",
    "twins": "two anchorers at once",
    "grow": "checkpoints",
    "anchors": "anchored in the end, each once",
    "sent": "times a transaction was sent",
    "mined in vain": "mined in vain, after a fork or for want of gas",
    "restore": "chain restored from an older state",
    "reorg": "blocks reorganised away",
    "drop": "pool emptied",
    "hold": "blocks held back",
    "other": "another transaction of the same key",
    "out_of_gas": "too little gas",
    "delivered late": "transactions delivered late",
    "request lost": "requests lost",
    "answer lost": "answers lost",
    "refused": "sendings refused",
    "taken and refused": "sendings taken, and the answer a refusal",
    "taken and dropped": "sendings answered, and dropped",
    "hangs": "calls that hung and were not done",
    "hangs after": "calls that were done and hung",
}
KINDS = ("embedded", "anvil")
REORG_SHARE = 0.3
SEND_FAULTS = ("request lost", "answer lost", "refused", "taken and refused", "taken and dropped")
SETTLER_ROWS = {
    "trials": "trials",
    "wrong": "trials that ended wrong",
    "lives": "lives of a settler",
    "killed": "killed by SIGKILL",
    "events": "events booked in the end, each once",
    "sent": "times a transaction was sent",
    "reorg": "blocks reorganised away",
    **{fault: ROWS[fault] for fault in SEND_FAULTS},
}


async def matrix(directory: Path, trials: int) -> dict[str, Counter[str]]:
    """Counts for each chain, half of the trials on each."""
    counts = {kind: Counter[str]() for kind in KINDS}
    upgrade(directory / "template.db")
    with anvil(directory) as url, Zygote.started() as zygote:
        for seed in range(trials // 2):
            for kind in KINDS:
                place = directory / f"{kind}-{seed}"
                place.mkdir()
                database = Path(shutil.copy(directory / "template.db", place / "flexpact.db"))
                ground = AnvilGround(url) if kind == "anvil" else EmbeddedGround(place / "chain")
                counts[kind]["trials"] += 1
                try:
                    counts[kind] += await run(drawn(seed, ground.can), ground, zygote, place, database)
                except WrongError as error:
                    counts[kind]["wrong"] += 1
                    print(f"trial {seed} on {kind}: {error}", file=sys.stderr)
    return counts


async def settler_matrix(directory: Path, trials: int) -> dict[str, Counter[str]]:
    """Counts of the settler's trials, all on anvil, whose blocks can be taken back."""
    counts = Counter[str]()
    upgrade(directory / "template.db")
    with anvil(directory) as url, Zygote.started() as zygote:
        (directory / "programme").mkdir()
        deployed = await AnvilProgramme.make(directory / "programme", url)
        for seed in range(trials):
            database = Path(shutil.copy(directory / "template.db", directory / f"{seed}.db"))
            counts["trials"] += 1
            async with opened(deployed, database, url, zygote) as trial:
                try:
                    counts += await settler_trial(trial, random.Random(seed))
                except AssertionError as error:
                    counts["wrong"] += 1
                    where = traceback.extract_tb(error.__traceback__)[-1].line
                    print(f"trial {seed} of the settler: {error or where}", file=sys.stderr)
    return {"anvil": counts}


async def settler_trial(trial: Trial, rng: random.Random) -> Counter[str]:
    """Events that are booked by settlers of which some die, over a wire and a chain that forget."""
    counts = Counter[str]()
    for _ in range(rng.randint(1, 3)):
        await trial.event()
        faults = rng.choices(SEND_FAULTS, k=rng.randint(0, 2))
        trial.wire.faults[SEND] = list(faults)
        counts["killed"] += "killed" in await trial.live(rng.randint(1, POINTS - 1))
        await trial.live()
        counts["lives"] += 2
        left = trial.wire.faults.pop(SEND)
        counts.update(faults[: len(faults) - len(left)])
        if rng.random() < REORG_SHARE:
            depth = rng.randint(1, 2)
            await trial.programme.ground.undo(depth)
            counts["reorg"] += depth
    await trial.check()
    counts["events"] += NODES * trial.events
    counts["sent"] += len(trial.wire.sent)
    return counts


def table(counts: dict[str, Counter[str]], rows: dict[str, str]) -> str:
    """The counts in Markdown, with their sums where there are several chains."""
    kinds = [*counts] + ["both"] * (len(counts) > 1)
    lines = [f"| | {' | '.join(kinds)} |", "|---|" + "---:|" * len(kinds)]
    for name, title in rows.items():
        each = [found[name] for found in counts.values()]
        lines.append(f"| {title} | {' | '.join(map(str, each + [sum(each)] * (len(each) > 1)))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run as asked for on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--settler", action="store_true", help="kill the settler, not the anchorer")
    parser.add_argument("--write", type=Path, help="keep the table in this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        trials = settler_matrix if arguments.settler else matrix
        counts = asyncio.run(trials(Path(name), arguments.trials))
    text = table(counts, SETTLER_ROWS if arguments.settler else ROWS)
    if arguments.write:
        arguments.write.write_text(text, encoding="utf-8")
    print(text, end="")
    if any(each["wrong"] for each in counts.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
