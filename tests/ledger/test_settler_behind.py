"""A node that answers of different blocks at a time, as where one is made between two questions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ledger import agreement_store as store
from ledger.agreement_contract import AgreementContract
from ledger.settler import SettlerStatus
from ledger.setup import Deployed
from tests.ledger.anvil_programme import AnvilProgramme
from tests.ledger.parties import DAY_S


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, anvil_url: str) -> tuple[Path, Deployed]:
    return asyncio.run(AnvilProgramme.make(tmp_path_factory.mktemp("programme"), anvil_url))


@pytest.fixture
async def programme(
    deployed: tuple[Path, Deployed], database_path: Path, anvil_url: str
) -> AsyncIterator[AnvilProgramme]:
    async with AnvilProgramme.opened(deployed, database_path, anvil_url) as made:
        yield made


def forgetful_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the next question of that name be answered as if before the contract had anything."""
    real = getattr(AgreementContract, name)

    async def nothing(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(AgreementContract, name, real)

    monkeypatch.setattr(AgreementContract, name, nothing)


async def complaints(programme: AnvilProgramme) -> list[str]:
    async with programme.database.read() as conn:
        return await store.complaints(conn)


@pytest.mark.goal(48)
async def test_a_booking_that_the_node_shows_late_is_no_complaint_and_seen_at_the_next_step(
    programme: AnvilProgramme, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreement_id = await programme.agree()
    await programme.wait(DAY_S)
    await programme.statement(agreement_id)
    assert (await programme.mined_step()).status is SettlerStatus.IDLE
    async with programme.database.read() as conn:
        (account,) = await store.accounts(conn)
        seen_in = await store.newest_seen_in(conn)
    assert account.settled is not None and seen_in is not None
    sent = await programme.sent()
    async with programme.database.write() as conn:
        await store.reopen(conn, seen_in[0], programme.clock())
    forgetful_once(monkeypatch, "settled")
    state = await programme.step()
    assert state.status is SettlerStatus.WAITING
    assert "AlreadyBooked" in state.text
    assert await complaints(programme) == []
    assert (await programme.step()).status is SettlerStatus.IDLE
    assert await programme.sent() == sent


@pytest.mark.goal(48)
async def test_an_agreement_that_the_node_shows_late_is_seen_at_the_next_step(
    programme: AnvilProgramme, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreement_id = await programme.propose()
    await programme.mined_step()
    sent, settler = await programme.sent(), programme.settler()
    forgetful_once(monkeypatch, "standing")
    state = await programme.step(settler)
    assert state.status is SettlerStatus.WAITING
    assert "AlreadyProposed" in state.text
    assert await complaints(programme) == []
    assert (await programme.step(settler)).status is SettlerStatus.IDLE
    async with programme.database.read() as conn:
        held = await store.find(conn, agreement_id)
    assert held is not None and held.standing is not None
    assert await programme.sent() == sent


async def test_what_stood_against_a_proposal_is_forgotten_once_it_is_made(programme: AnvilProgramme) -> None:
    agreement_id = await programme.propose()
    async with programme.database.write() as conn:
        await store.tell_agreement(conn, agreement_id, "UnknownParty")
    assert (await programme.mined_step()).status is SettlerStatus.IDLE
    assert await complaints(programme) == []
