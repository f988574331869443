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

POLL_CPU_S = 0.2
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


async def survives(body: bytes, service: str, registered: tuple[Path, str], directory: Path) -> None:
    """A fresh server refuses the body from a VEN and from a stranger, and serves the next poll at once."""
    database, ven_id = registered
    async with aiohttp.ClientSession() as http:
        vtn = await Vtn.start(Path(shutil.copy(database, directory / "vtn.db")), http)
        for who in (ALICE, STRANGER):
            assert (await vtn.post(service, body, who))[0] == 406
        before = vtn.cpu_s()
        await vtn.say("OadrPoll", Poll(ven_id=ven_id))
        assert vtn.cpu_s() - before < POLL_CPU_S
        assert vtn.process.returncode is None
        assert await vtn.end() == 0


@pytest.mark.goal(1)
@pytest.mark.parametrize("name", SAMPLE)
async def test_goal_01_fresh_server_outlives_the_attack(
    name: str, registered: tuple[Path, str], tmp_path: Path
) -> None:
    await survives(ATTACKS[name], "EiRegisterParty", registered, tmp_path)


@pytest.mark.goal(1)
@pytest.mark.long
@pytest.mark.parametrize("service", ["EiRegisterParty", "EiReport", "OadrPoll"])
@pytest.mark.parametrize("name", OTHERS)
async def test_goal_01_fresh_server_outlives_every_attack(
    name: str, service: str, registered: tuple[Path, str], tmp_path: Path
) -> None:
    await survives(ATTACKS[name], service, registered, tmp_path)


@pytest.mark.goal(1)
@pytest.mark.long
@pytest.mark.parametrize("service", ["EiReport", "OadrPoll"])
@pytest.mark.parametrize("name", SAMPLE)
async def test_goal_01_fresh_server_outlives_the_attack_at_other_services(
    name: str, service: str, registered: tuple[Path, str], tmp_path: Path
) -> None:
    await survives(ATTACKS[name], service, registered, tmp_path)
