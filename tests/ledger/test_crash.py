"""Anchoring exactly once, whatever happens: processes killed at every point, a chain and a wire that fail.

What must hold in the end is `Trial.check`: the chain's events are the checkpoints that the ledger calls
anchored, without gap or double, every leaf is under the newest, nothing was sent that was not durable before,
and no transaction was mined in vain. The mutants show that the same trials notice an anchorer that is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.ledger.ground import AnvilGround, EmbeddedGround, Ground
from tests.ledger.trial import TAKES_ANYTHING, Act, WrongError, drawn, run
from tests.ledger.victim import Zygote
from tests.ledger.wire import SEND

SAMPLE, ALL = 4, 50
"""Trials on each chain in the gate, and altogether."""
POINTS = 8
"""Points of a step that anchors: around the write that keeps, the sending, and the write that notes."""
KINDS = ("embedded", "anvil")

DAYS: dict[str, list[Act]] = {
    "an answer and nothing behind it": [("grow",), *[("fault", SEND, "taken and dropped")] * 2, ("live",)],
    "a refusal": [("grow",), *[("fault", SEND, "refused")] * 2, ("live",)],
    "an unknown outcome": [("grow",), ("hold",), ("live",), ("live",)],
    # Two other transactions come first and are undone, so that ours becomes possible once more, too late.
    "a late step back": [
        *[("save",), ("other",), ("other",), ("grow", 2), ("fault", SEND, "request late"), ("live",)],
        *[("restore",), ("grow", 2), ("live",), ("other",), ("late",)],
    ],
    "twins": [("grow",), ("twins", 0, 0), ("grow",), ("twins", 4, 5), ("twins", 0, 3)],
}

Tried = Callable[..., Awaitable[Counter[str]]]


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with Zygote.started() as started:
        yield started


@pytest.fixture
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    if request.param == "embedded":
        return EmbeddedGround(tmp_path / "chain")
    return AnvilGround(request.getfixturevalue("anvil_url"))


@pytest.fixture
def tried(ground: Ground, zygote: Zygote, tmp_path: Path, database_path: Path) -> Tried:
    """A script's trial."""
    return partial(run, ground=ground, zygote=zygote, directory=tmp_path, database_path=database_path)


def each(kinds: tuple[str, ...] = KINDS) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("ground", kinds, indirect=True)


@pytest.mark.goal(48)
@each()
async def test_a_kill_at_each_point_ends_in_one_anchor_for_each_checkpoint(
    ground: Ground, tried: Tried
) -> None:
    steps = 4 if "hold" in ground.can else 1  # such a node may answer before it mines
    script: list[Act] = []
    for point in range(1, POINTS + 1):
        script += [("grow",), ("live", point, steps), ("live", 0, steps)]
    counts = await tried([*script, ("grow",), ("live", POINTS + 1, steps)])
    assert (counts["killed"], counts["anchors"]) == (POINTS, POINTS + 1)


@pytest.mark.goal(48)
@each()
@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.long] * (seed >= SAMPLE)) for seed in range(ALL)]
)
async def test_whatever_happened_the_chain_and_the_ledger_agree(
    seed: int, ground: Ground, tried: Tried
) -> None:
    counts = await tried(drawn(seed, ground.can))
    assert counts["anchors"] >= 1


@pytest.mark.goal(48, 79)
@pytest.mark.parametrize(
    ("day", "ground"),
    [
        pytest.param(day, kind, id=f"{day} on {kind}")
        for day, script in DAYS.items()
        for kind in KINDS
        if kind == "anvil" or ("save",) in script
    ],
    indirect=["ground"],
)
async def test_the_anchorer_comes_through(day: str, tried: Tried) -> None:
    counts = await tried(DAYS[day])
    assert counts["anchors"] >= 1


@pytest.mark.goal(48)
@pytest.mark.parametrize(
    ("mutant", "day", "ground", "said"),
    [
        ("sends before it keeps", "a refusal", "embedded", "was not kept before"),
        ("believes answers", "a refusal", "embedded", "calls anchored"),
        ("new nonce for an unknown outcome", "an unknown outcome", "anvil", "mined in vain"),
        ("a contract that takes anything", "a late step back", "anvil", "published 4 between 0 and 2"),
    ],
    indirect=["ground"],
)
async def test_a_mutant_is_caught(mutant: str, day: str, said: str, tried: Tried) -> None:
    contract = mutant.startswith("a contract")
    with pytest.raises(WrongError, match=said):
        await tried(
            DAYS[day], mutant="" if contract else mutant, bytecode=TAKES_ANYTHING if contract else b""
        )
