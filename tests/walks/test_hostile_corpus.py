"""Each attack on the parser against a server of its own, which has met nothing before (GOALS 1)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import aiohttp
import pytest

from openadr import CreatePartyRegistration, Poll
from tests.vtn.desk import ALICE, STRANGER
from tests.vtn.test_robust import ATTACKS
from tests.walks.vtn_driver import Vtn, enrolled

POLL_CPU_S = 1.0  # a poll takes a hundredth; an attack that still works takes the processor for much longer
SAMPLE = ("billion laughs", "external entity")
OTHERS = sorted(ATTACKS.keys() - set(SAMPLE))


@pytest.fixture(scope="module")
def registered(database_template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The database of a VTN where a VEN has registered, and the VEN's id."""
    path = Path(shutil.copy(database_template, tmp_path_factory.mktemp("registered") / "vtn.db"))
    return path, asyncio.run(_register(path))


async def _register(path: Path) -> str:
    ven_id = await enrolled(path)
    async with aiohttp.ClientSession() as http:
        vtn = await Vtn.start(path, http)
        create = CreatePartyRegistration(request_id="c", ven_name="alice", http_pull_model=True)
        await vtn.say("EiRegisterParty", create)
        await vtn.end()
    return ven_id


REFUSED_AND_WELL = ([406, 406], True, None, 0)


async def outcome(
    body: bytes, service: str, registered: tuple[Path, str], directory: Path
) -> tuple[list[int], bool, int | None, int | None]:
    """How a fresh server answers the body from a VEN and from a stranger, whether it serves the next poll at
    once, whether it has ended, and how it ends.
    """
    database, ven_id = registered
    async with aiohttp.ClientSession() as http:
        vtn = await Vtn.start(Path(shutil.copy(database, directory / "vtn.db")), http)
        statuses = [(await vtn.post(service, body, who))[0] for who in (ALICE, STRANGER)]
        before = vtn.cpu_s()
        await vtn.say("OadrPoll", Poll(ven_id=ven_id))
        at_once = vtn.cpu_s() - before < POLL_CPU_S
        return statuses, at_once, vtn.process.returncode, await vtn.end()


@pytest.mark.goal(1)
@pytest.mark.parametrize("name", SAMPLE)
async def test_goal_01_fresh_server_outlives_the_attack(
    name: str, registered: tuple[Path, str], tmp_path: Path
) -> None:
    found = await outcome(ATTACKS[name], "EiRegisterParty", registered, tmp_path)
    assert found == REFUSED_AND_WELL


@pytest.mark.goal(1)
@pytest.mark.long
@pytest.mark.parametrize("service", ["EiRegisterParty", "EiReport", "OadrPoll"])
@pytest.mark.parametrize("name", OTHERS)
async def test_goal_01_fresh_server_outlives_every_attack(
    name: str, service: str, registered: tuple[Path, str], tmp_path: Path
) -> None:
    assert await outcome(ATTACKS[name], service, registered, tmp_path) == REFUSED_AND_WELL


@pytest.mark.goal(1)
@pytest.mark.long
@pytest.mark.parametrize("service", ["EiReport", "OadrPoll"])
@pytest.mark.parametrize("name", SAMPLE)
async def test_goal_01_fresh_server_outlives_the_attack_at_other_services(
    name: str, service: str, registered: tuple[Path, str], tmp_path: Path
) -> None:
    assert await outcome(ATTACKS[name], service, registered, tmp_path) == REFUSED_AND_WELL
