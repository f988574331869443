"""`flexpact ledger agreement` with a party's own key, against the real contracts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flexpact.cli import build
from tests.ledger.parties import DAY_S, Programme, made_template


@pytest.fixture
async def programme(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, database_template: Path
) -> AsyncIterator[Programme]:
    template = await asyncio.to_thread(
        asyncio.run, made_template(tmp_path_factory.mktemp("programme"), database_template)
    )
    async with template.opened(tmp_path) as made:
        made.clock.advance(DAY_S)
        made.agreement_id = template.agreement_id
        yield made


async def run(*words: str) -> tuple[int, str]:
    """Exit code and all that the command said; in a thread, because it has an event loop of its own."""
    arguments = ["ledger", "agreement", *words]
    done = await asyncio.to_thread(CliRunner().invoke, build(arguments), arguments)
    return done.exit_code, done.output


async def test_a_party_sees_the_money_and_takes_it_and_is_told_what_is_wrong(programme: Programme) -> None:
    agreement_id = programme.agreement_id.hex()
    await programme.statement(programme.agreement_id)
    await programme.step()
    where = ("--rpc", programme.server.url, "--contract", f"0x{programme.deployed.agreement.hex()}")
    shown = await run(
        "show", agreement_id, *where, "--clock", f"{programme.clock():%Y-%m-%dT%H:%M:%SZ}@heldx1"
    )
    told: dict[str, Any] = json.loads(shown[1])
    (event,) = told["events"]
    assert (told["state"], told["clauses"]["capacity_kw"], event["status"]) == ("active", 60.0, "open")
    assert (event["requested_wh"], event["delivered_wh"], event["incentive_minor"]) == (80_000, 70_001, 2100)
    assert event["signal_hash"] == "01" * 32
    key = ("--key-file", str(programme.folder / "node.key"))
    nothing = await run("withdraw", agreement_id, *where, *key)
    assert nothing[0] == 1
    assert nothing[1].startswith("flexpact ledger: the contract refuses: NothingToWithdraw(")
    programme.clock.advance(3601)
    await programme.step()
    assert await run("withdraw", agreement_id, *where, *key) == (0, "withdraw: done\n")
    assert await programme.balance("node") == 2100

    # what is missing or unknown is said in a sentence
    code, said = await run("show", "ab" * 32, *where)
    assert (code, "knows no agreement abab" in said) == (1, True)
    code, said = await run("show", "abc", *where)
    assert (code, said.startswith("flexpact ledger: id: not")) == (1, True)
    code, said = await run("suspend", "ab" * 32)
    assert (code, "give --socket, or --rpc, --contract and --key-file" in said) == (2, True)
