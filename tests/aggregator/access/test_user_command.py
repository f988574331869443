"""`flexpact aggregator user` against a running aggregator."""

import asyncio
import json
from typing import Any

from typer.testing import CliRunner, Result

from flexpact.commands.aggregator_user import app
from tests.aggregator.access.conftest import House


async def run(house: House, *arguments: str) -> Result:
    """The command, beside the aggregator's loop."""
    words = ["user", *arguments, "--socket", str(house.settings.socket)]
    return await asyncio.to_thread(CliRunner().invoke, app, words)


async def said(house: House, *arguments: str) -> Any:
    """What the command printed."""
    result = await run(house, *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def test_users_are_made_listed_linked_and_revoked(house: House) -> None:
    made = await said(house, "add", "Ada B.", "--role", "prosumer", "--ven-id", "v1", "--ven-id", "v2")
    assert made["ven_ids"] == ["v1", "v2"]
    linked = await said(house, "link", "Ada B.", "--reset-factor")
    assert linked["link"].startswith(f"{house.address}/link/")
    assert linked["link"] != made["link"]
    assert (await said(house, "revoke", "Ada B."))["suspended_at"] is not None
    assert [user["name"] for user in (await said(house, "list"))["users"]] == ["Ada B."]


async def test_a_refusal_is_one_sentence(house: House) -> None:
    result = await run(house, "revoke", "Nobody")
    assert result.exit_code != 0
    assert "there is no user 'Nobody'" in str(result.exception)
