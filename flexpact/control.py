"""The operator's end of a control socket: one request, one answer, refusals as one sentence."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import typer

TIMEOUT_S = 60  # real seconds


def ask(command: str, socket: Path, method: str, path: str, body: Any = None) -> Any:
    """What the process behind the socket answers; SystemExit with its own words when it refuses."""
    try:
        status, answer = asyncio.run(_exchange(socket, method, path, body))
    except OSError as error:
        raise SystemExit(f"flexpact {command}: nobody answers on {socket}: {error}") from None
    if status >= 400:
        raise SystemExit(f"flexpact {command}: {harmless('; '.join(_sentences(answer)))}")
    return answer


def show(answer: Any) -> None:
    """Print an answer as JSON."""
    text = json.dumps(answer, indent=2, ensure_ascii=False)
    typer.echo("\n".join(map(harmless, text.split("\n"))))


def harmless(text: str) -> str:
    """A peer's text, everything escaped as in JSON that could move the cursor or start a line."""
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)


def _sentences(answer: Any) -> list[str]:
    """A refusal in words: its detail, and each field that it names beside."""
    if not isinstance(answer, dict):
        return [str(answer)]
    detail = str(answer.get("detail") or answer.get("error") or answer)
    fields = [
        f"{each['field']} {each.get('value', '')}: {each['detail']}".replace(" :", ":")
        for each in answer.get("errors", ())
        if str(each["detail"]) not in detail
    ]
    return [detail, *fields]


async def _exchange(socket: Path, method: str, path: str, body: Any) -> tuple[int, Any]:
    import aiohttp  # noqa: PLC0415  # the command line starts without the parts it does not run

    connector = aiohttp.UnixConnector(str(socket))
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession("http://control", connector=connector, timeout=timeout) as http,
            http.request(method, path, json=body) as answer,
        ):
            return answer.status, await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise OSError(str(error) or type(error).__name__) from error
    except json.JSONDecodeError as error:
        raise OSError(f"what it said is no JSON: {error}") from error
