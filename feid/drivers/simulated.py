"""Driver for simulated homes: asks `feid.simulate` over its Unix socket, one JSON object a line each way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from feid.devices import (
    Command,
    Device,
    DeviceKind,
    DeviceState,
    DriverError,
    DriverUnreachableError,
    MeterReading,
    Quality,
)

MAX_LINE = 256 << 20
"""Longest answer read, in bytes: the registers of a large neighbourhood for two months."""

_TIMEOUT_S = 60.0  # real seconds; the simulator answers at once, or at the end of a step
_QUALITIES = (Quality.GOOD, Quality.MISSING, Quality.IMPLAUSIBLE, Quality.IMPLAUSIBLE)


class Connection:
    """Questions to a simulator, one after the other; it is connected again after a failure."""

    def __init__(self, socket_path: Path, timeout_s: float = _TIMEOUT_S) -> None:
        self._path = socket_path
        self._timeout_s = timeout_s
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._lock = asyncio.Lock()

    async def ask(self, op: str, **fields: object) -> Any:
        """The result of an operation; DriverError with the simulator's own words if it refuses."""
        line = json.dumps({"op": op, **fields}).encode() + b"\n"
        async with self._lock:
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await self._exchange(line)
            except (OSError, ValueError, TimeoutError, asyncio.CancelledError) as error:
                self._drop()
                if isinstance(error, asyncio.CancelledError):
                    raise
                reason = str(error) or f"no answer within {self._timeout_s:g} s"
                raise DriverUnreachableError(f"simulator at {self._path}: {reason}") from error
        if "error" in answer:
            raise DriverError(f"simulator: {answer['error']}")
        return answer["result"]

    async def _exchange(self, line: bytes) -> dict[str, Any]:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(self._path, limit=MAX_LINE)
        reader, writer = self._streams
        writer.write(line)
        await writer.drain()
        reply = await reader.readline()
        if not reply.endswith(b"\n"):
            raise ConnectionError("it closed the connection")
        answer: dict[str, Any] = json.loads(reply)
        return answer

    def _drop(self) -> None:
        """A connection with an answer outstanding is of no use any more."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def close(self) -> None:
        """Close the connection; the next question would open it again."""
        if self._streams is not None:
            writer = self._streams[1]
            self._drop()
            try:
                await writer.wait_closed()
            except OSError:
                return


class SimulatedDriver:
    """Meters and devices of one node of a simulator."""

    def __init__(self, socket_path: Path, node_id: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._connection = Connection(socket_path, timeout_s)
        self._node_id = node_id

    async def devices(self) -> list[Device]:
        """All flexible devices of the node, by device id."""
        result = await self._connection.ask("devices", node=self._node_id)
        devices = [Device(**{**entry, "kind": DeviceKind(entry["kind"])}) for entry in result]
        return sorted(devices, key=lambda device: device.device_id)

    async def meter_readings(self, start: datetime, end: datetime) -> list[MeterReading]:
        """The readings whose start lies in [start, end), by time and home, incomplete ones left out."""
        result = await self._connection.ask(
            "meter_readings", node=self._node_id, start=start.isoformat(), end=end.isoformat()
        )
        first, step = datetime.fromisoformat(result["start"]), timedelta(seconds=result["step_s"])
        readings = [
            MeterReading(home_id, first + number * step, step, energy_wh, flexible_wh, _QUALITIES[mark])
            for home_id, home in result["homes"].items()
            for number, (energy_wh, flexible_wh, mark) in enumerate(
                zip(home["energy_wh"], home["flexible_wh"], home["mark"], strict=True)
            )
        ]
        return sorted(readings, key=lambda reading: (reading.start, reading.home_id))

    async def states(self, at: datetime) -> list[DeviceState]:
        """All devices as they were at `at`, a mark of five minutes within the last 24 hours."""
        result = await self._connection.ask("states", node=self._node_id, at=at.isoformat())
        return [
            DeviceState(**{**entry, "at": at.astimezone(UTC), "held_until": _moment(entry["held_until"])})
            for entry in sorted(result, key=lambda entry: str(entry["device_id"]))
        ]

    async def schedule(self, commands: Sequence[Command]) -> list[Command]:
        """Replace the node's schedule from the earliest start on, or from now; gives what is now held."""
        entries = [
            {
                "device_id": command.device_id,
                "start": command.start.isoformat(),
                "end": command.end.isoformat(),
                "power_kw": command.power_kw,
            }
            for command in commands
        ]
        result = await self._connection.ask("schedule", node=self._node_id, commands=entries)
        return [
            Command(
                entry["device_id"],
                datetime.fromisoformat(entry["start"]),
                datetime.fromisoformat(entry["end"]),
                entry["power_kw"],
            )
            for entry in result
        ]

    async def close(self) -> None:
        """Free the connection; what is scheduled stays until it expires."""
        await self._connection.close()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
