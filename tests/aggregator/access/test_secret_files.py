"""Secrets that lie in files stand nowhere else: not in settings that are shown, logs, answers or backups."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from aggregator.access.permission import Role
from aggregator.backup import make
from aggregator.notice_settings import NoticeSettings
from aggregator.server import Aggregator
from aggregator.settings import AggregatorSettings
from aggregator.web_settings import WebSettings
from tests.aggregator.access.identity_provider import SECRET, oidc_settings, running_provider
from tests.aggregator.access.people import NOW, WallClock, sign_in
from tests.aggregator.conftest import START, HandClock, node_settings, write_settings
from vtn.operator_settings import LoopbackSettings

WEBHOOK = base64.b64encode(b"canary-of-webhooks-2f0c9a71b5").decode()
MAIL, TOKEN = "canary-of-mail-5d11e2", "canary-of-loopback-77c3-0123456789abcdef"
ASKED = (
    "/settings",
    "/users",
    "/account",
    "/metrics",
    "/api/v1/settings",
    "/api/v1/openapi.json",
    "/nothing",
)


def written(folder: Path, name: str, text: str) -> Path:
    """A file of its owner alone."""
    path = folder / name
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


def with_secrets(state: Path, oidc: dict[str, Any]) -> AggregatorSettings:
    """Settings that name a file for each kind of secret."""
    mail = {"host": "127.0.0.1", "sender": "a@example.org", "user": "a", "security": "none"}
    mail["password_file"] = str(written(state, "mail.password", MAIL))
    notices = {"hosts": ["hooks.example"], "secret_file": str(written(state, "hook", f"whsec_{WEBHOOK}"))}
    loopback = {"port": 0, "token_file": str(written(state, "token", TOKEN))}
    return write_settings(state, [node_settings(1)]).model_copy(
        update={
            "web": WebSettings.model_validate({"port": 0, "insecure_dev": True, "oidc": oidc}),
            "notices": NoticeSettings.model_validate({**notices, "mail": mail}),
            "loopback": LoopbackSettings.model_validate(loopback),
        }
    )


@pytest.mark.goal(32)
async def test_what_lies_in_a_secret_file_stands_nowhere_else(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running_provider(lambda: NOW) as provider:
        settings = with_secrets(state, oidc_settings(provider, state))
        with structlog.testing.capture_logs() as lines:
            told = await _used(settings)
    backup = state / "backup.tar"
    await asyncio.to_thread(make, settings, backup, version="1", now=NOW)
    said = "\n".join([*told, *map(repr, lines), caplog.text, repr(settings), settings.model_dump_json()])
    _not_in(settings, said, [*state.glob("aggregator.sqlite*"), backup])  # noqa: ASYNC240 - nothing runs any more


def _not_in(settings: AggregatorSettings, said: str, files: Sequence[Path]) -> None:
    """No secret stands in what was said, nor in a file."""
    assert settings.log.key_file is not None
    own = [path.read_text().strip()[-24:] for path in (settings.log.key_file, settings.sealing_key)]
    kept = b"".join(path.read_bytes() for path in files)
    for secret in (WEBHOOK, MAIL, TOKEN, SECRET, *own):
        assert len(secret) > 20
        assert secret not in said, secret
        assert secret.encode() not in kept, secret


async def _used(settings: AggregatorSettings) -> list[str]:
    """What an admin and a stranger are shown while it runs."""
    wall, clock = WallClock(), HandClock(START)
    aggregator = Aggregator(settings, clock, clock.sleep, wall)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        try:
            await aggregator.start()
            assert aggregator.web is not None
            web = aggregator.web
            admin = await sign_in(web.desk.access, http, web.address, Role.ADMIN)
            answers = [await admin.get(path) for path in ASKED]
            assert [answer.status for answer in answers[:3]] == [200, 200, 200]
            sent = await admin.post("/login/provider")  # it names the provider, and no secret
            assert sent.status == 200
            return [answer.text for answer in (*answers, sent)]
        finally:
            await aggregator.stop()
