"""The demo's way to ask the simulator for the truth: what the homes took, and would have taken otherwise."""

import asyncio
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from flexpact.demo.errors import DemoError

_LINE_BYTES = 1 << 24
_ANSWER_S = 60.0


async def ask(socket: Path, op: str, **arguments: str) -> Any:
    """Return the simulator's answer to `op`; `DemoError` when it refuses or is not there."""
    line = json.dumps({"op": op, **arguments}).encode() + b"\n"
    try:
        reader, writer = await asyncio.open_unix_connection(socket, limit=_LINE_BYTES)
        try:
            writer.write(line)
            answer = json.loads(await asyncio.wait_for(reader.readline(), _ANSWER_S))
        finally:
            writer.close()
    except (OSError, ValueError, TimeoutError) as error:
        raise DemoError(f"the simulator does not answer {op}: {error}") from None
    if "error" in answer:
        raise DemoError(f"the simulator refuses {op}: {answer['error']}")
    return answer["result"]


async def listens(socket: Path) -> bool:
    """Whether the simulator takes questions; its socket has a name a moment before it does."""
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    writer.close()
    return True


async def true_reduction_kwh(socket: Path, nodes: Iterable[str], start: datetime, end: datetime) -> float:
    """Return counterfactual minus actual energy of these nodes over a period, in kWh."""
    truth = await ask(socket, "truth", start=start.isoformat(), end=end.isoformat())
    reduced_wh = 0
    for node in nodes:
        energy = truth["nodes"][node]
        reduced_wh += sum(energy["counterfactual_wh"]) - sum(energy["actual_wh"])
    return reduced_wh / 1000.0
