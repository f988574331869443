"""The examples of docs/api.md, run one after the other against a running platform."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pyotp
import pytest

from aggregator.access import api_token, second_factor
from aggregator.access import user as users
from aggregator.access.access import wall_clock
from aggregator.access.permission import Role
from aggregator.web import Web
from aggregator.web_settings import WebSettings
from tests.aggregator.conftest import START, Prepared, node_settings, running, write_settings

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
EXAMPLE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.M | re.S)


@pytest.fixture
async def web(prepared: Prepared, tmp_path: Path) -> AsyncIterator[Web]:
    """Three nodes with history and offers, after lunch, with the API."""
    boxes = prepared.copy(tmp_path)
    settings = write_settings(tmp_path, [node_settings(n) for n in (1, 2, 3)])
    settings = settings.model_copy(update={"web": WebSettings(port=0, insecure_dev=True)})
    async with running(settings, boxes) as platform:
        await platform.clock.move(START + timedelta(hours=14, minutes=7))
        assert platform.aggregator is not None and platform.aggregator.web is not None
        yield platform.aggregator.web


async def token_of(web: Web) -> str:
    """A token of an operator."""
    access, now = web.desk.access, wall_clock()
    async with access.db.write() as conn:
        user = await users.add(conn, "Ada", Role.OPERATOR, now)
        kept = second_factor.sealed(access.sealing, user.user_id, pyotp.random_base32())
        await users.change(conn, user.user_id, totp_secret=kept)
        known = await users.find(conn, user.user_id)
        assert known is not None
        scopes, day = sorted(api_token.grantable(known)), now + timedelta(days=1)
        return await api_token.make(conn, known, "docs", scopes=scopes, expires_at=day, now=now)


async def test_the_examples_of_the_page_work(web: Web, tmp_path: Path) -> None:
    examples = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(examples) >= 8
    environment = {**os.environ, "FLEXPACT": web.address, "TOKEN": await token_of(web)}
    for kind, text in examples:
        command = ["bash", "-euo", "pipefail", "-c", text] if kind == "sh" else [sys.executable, "-c", text]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=tmp_path,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, f"{text}\n{said.decode(errors='replace')}"
