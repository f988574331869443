"""The simulator: a process of its own that plays homes, meters and devices, in the time of a given clock.

It answers on a Unix socket, one JSON object a line each way: `{"op": ..., "node": ..., ...}`, answered by
`{"result": ...}` or `{"error": "one sentence"}`. A step is simulated when the clock has passed its end, so a
command that comes before its start, and even within the step that starts then, acts from its start exactly.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from feid.baseload import QUARTER_S, SLOT_S
from feid.devices import Command
from feid.scenario import Scenario, ScenarioError, build
from feid.schedule import ScheduleError
from feid.world import HISTORY_STEP_S, LIVE_STEP_S, Registers, device_rows

log = logging.getLogger(__name__)

MAX_LINE = 1 << 20
"""Longest line accepted, in bytes."""

MAX_SPAN = timedelta(days=62)
"""Longest period that one answer covers."""

MAX_LATE = timedelta(days=3)
"""The live start may be this long ago: so much can be caught up in some seconds."""

Request = Mapping[str, Any]


class SimulatorError(Exception):
    """The simulator cannot start."""


class RefusedError(Exception):
    """A request is refused; the text names the field and its value."""


class Simulator:
    """A world on a clock, and its answers."""

    def __init__(self, scenario: Scenario, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        try:
            self.world, self.live_start = build(scenario, clock())
        except ScenarioError as error:
            raise SimulatorError(str(error)) from error
        late = clock() - self.live_start
        if late > MAX_LATE:
            times = f"the clock says {_text(clock())}, the live day starts at {_text(self.live_start)}"
            raise SimulatorError(f"{times}: give a clock that starts there, or another start")
        self._nodes = {node_id: number for number, node_id in enumerate(scenario.node_ids)}
        self._stepped = asyncio.Event()
        self._peers: set[asyncio.Task[None]] = set()
        self._ops: dict[str, Callable[[Request], Awaitable[object]]] = {
            "devices": self._devices,
            "health": self._health,
            "meter_readings": self._meter_readings,
            "now": self._health,
            "schedule": self._schedule,
            "states": self._states,
            "truth": self._truth,
        }

    async def live_through_history(self) -> None:
        """Simulate the days before the live start, in steps of five minutes."""
        days = 0
        while self.world.run_to(self.live_start, HISTORY_STEP_S):
            if self.world.now - self.world.start >= timedelta(days=days + 7):
                days += 7
                log.info("history: %d days simulated", days)
                await asyncio.sleep(0)
        log.info("history is complete, live from %s", _text(self.live_start))

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Follow the clock for ever, a step of a minute behind it at most."""
        while True:
            # What lies in a socket is read before time moves on, also when the process was held up.
            for _ in range(3):
                await asyncio.sleep(0)
            if self.world.run_to(self._clock(), LIVE_STEP_S):
                stepped, self._stepped = self._stepped, asyncio.Event()
                stepped.set()
                continue
            ahead = self.world.now + timedelta(seconds=LIVE_STEP_S) - self._clock()
            await sleep(max(ahead.total_seconds(), 0.001))

    async def answer(self, line: bytes) -> bytes:
        """The answer to one line, a line."""
        try:
            try:
                request = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise RefusedError(f"not a line of JSON: {error}") from error
            if not isinstance(request, dict):
                raise RefusedError(f"a request is a JSON object, got {_short(request)}")
            op = request.get("op")
            if not isinstance(op, str) or op not in self._ops:
                raise RefusedError(f"op {_short(op)} is unknown; there are {', '.join(self._ops)}")
            reply = {"result": await self._ops[op](request)}
        except (RefusedError, ScheduleError) as error:
            reply = {"error": str(error)}
        return json.dumps(reply, separators=(",", ":")).encode() + b"\n"

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a new connection until it closes or sends a line that is too long."""
        peer = asyncio.create_task(self._serve_peer(reader, writer))
        self._peers.add(peer)
        peer.add_done_callback(self._peers.discard)

    async def hang_up(self) -> None:
        """End all connections."""
        for peer in self._peers:
            peer.cancel()
        await asyncio.gather(*self._peers, return_exceptions=True)

    async def _serve_peer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            try:
                while line := await reader.readline():
                    writer.write(await self.answer(line))
                    await writer.drain()
            except ValueError:  # asyncio's word for a line over the limit
                writer.write(
                    json.dumps({"error": f"a line is longer than {MAX_LINE} bytes"}).encode() + b"\n"
                )
                await writer.drain()
            finally:
                writer.close()

    async def _health(self, _: Request) -> object:
        return {
            "now": _text(self._clock()),
            "simulated_until": _text(self.world.now),
            "history_start": _text(self.world.start),
            "live_start": _text(self.live_start),
            "nodes": list(self._nodes),
            "homes_per_node": self.world.homes_per_node,
        }

    async def _devices(self, request: Request) -> object:
        return [
            {
                "device_id": device.device_id,
                "home_id": device.home_id,
                "kind": device.kind.value,
                "max_power_kw": device.max_power_kw,
                "min_power_kw": device.min_power_kw,
                "capacity_kwh": device.capacity_kwh,
            }
            for device in self.world.node_devices[self._node(request)]
        ]

    async def _meter_readings(self, request: Request) -> object:
        node = self._node(request)
        registers = self._registers(request)
        return {
            "start": _text(registers.start),
            "step_s": QUARTER_S,
            "homes": {
                f"home-{home + 1:02d}": {
                    "energy_wh": registers.energy_wh[:, column].tolist(),
                    "flexible_wh": registers.flexible_wh[:, column].tolist(),
                    "mark": registers.marks[:, column].tolist(),
                }
                for home, column in enumerate(self._columns(node))
            },
        }

    async def _truth(self, request: Request) -> object:
        """Per node and home what was and what would have been without any command."""
        registers = self._registers(request)
        quantities = {
            "actual_wh": registers.energy_wh,
            "counterfactual_wh": registers.unscheduled_wh,
            "counterfactual_flexible_wh": registers.unscheduled_flexible_wh,
        }
        return {
            "start": _text(registers.start),
            "step_s": QUARTER_S,
            "nodes": {
                node_id: {
                    **{
                        name: np.sum(wh[:, self._columns(node)], axis=1).tolist()
                        for name, wh in quantities.items()
                    },
                    "homes": {
                        f"home-{home + 1:02d}": {
                            name: wh[:, column].tolist() for name, wh in quantities.items()
                        }
                        for home, column in enumerate(self._columns(node))
                    },
                }
                for node_id, node in self._nodes.items()
            },
        }

    async def _states(self, request: Request) -> object:
        node, at = self._node(request), _moment(request, "at")
        if at.timestamp() % SLOT_S:
            raise RefusedError(f"at {_text(at)} is not a mark of five minutes")
        if at > self._clock():
            raise RefusedError(f"at {_text(at)} lies ahead of the clock, {_text(self._clock())}")
        while at > self.world.now:
            await self._stepped.wait()
        mark = self.world.mark(at)
        if mark is None:
            raise RefusedError(
                f"at {_text(at)} is not kept: marks go back 24 hours from {_text(self.world.now)}"
            )
        rows = device_rows(self.world.node_devices[node], node * self.world.homes_per_node)
        return [
            {
                "device_id": device_id,
                "power_kw": float(mark.power_kw[place]),
                "soc_percent": _number(mark.soc_percent[place]),
                "temperature_c": _number(mark.temperature_c[place]),
                "plugged_in": bool(mark.plugged_in[place[1]]) if device_id.endswith("ev-charger") else None,
                "available_kw": float(mark.available_kw[place]),
                "held_until": _until(int(mark.held_until_s[place])),
            }
            for device_id, place in rows.items()
        ]

    async def _schedule(self, request: Request) -> object:
        node = self._node(request)
        entries = request.get("commands")
        if not isinstance(entries, list):
            raise RefusedError(f"commands must be a list, got {_short(entries)}")
        held = self.world.schedule(node, [_command(entry) for entry in entries])
        return [
            {
                "device_id": command.device_id,
                "start": _text(command.start),
                "end": _text(command.end),
                "power_kw": command.power_kw,
            }
            for command in held
        ]

    def _node(self, request: Request) -> int:
        node_id = request.get("node")
        if not isinstance(node_id, str) or node_id not in self._nodes:
            raise RefusedError(f"node {_short(node_id)} is unknown; there are {', '.join(self._nodes)}")
        return self._nodes[node_id]

    def _columns(self, node: int) -> range:
        return range(node * self.world.homes_per_node, (node + 1) * self.world.homes_per_node)

    def _registers(self, request: Request) -> Registers:
        start, end = _moment(request, "start"), _moment(request, "end")
        if end < start:
            raise RefusedError(f"end {_text(end)} is before start {_text(start)}")
        if end - start > MAX_SPAN:
            raise RefusedError(f"{_text(start)} to {_text(end)} is longer than {MAX_SPAN.days} days")
        return self.world.registers(start, end)


async def serve(
    scenario: Scenario,
    clock: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[None]],
    stop: asyncio.Event,
) -> None:
    """Simulate until `stop`; the socket appears when the history is complete. SimulatorError if it cannot."""
    _check_free(scenario.socket)
    simulator = Simulator(scenario, clock)
    await simulator.live_through_history()
    try:
        server = await asyncio.start_unix_server(simulator.accept, scenario.socket, limit=MAX_LINE)
        scenario.socket.chmod(0o600)
    except OSError as error:
        raise SimulatorError(f"cannot listen on {scenario.socket}: {error}") from error
    running = asyncio.create_task(simulator.run(sleep))
    stopping = asyncio.create_task(stop.wait())
    try:
        log.info("listening on %s", scenario.socket)
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
    finally:
        running.cancel()
        stopping.cancel()
        server.close()
        await simulator.hang_up()
        scenario.socket.unlink(missing_ok=True)


def _check_free(path: Path) -> None:
    """Refuse a path where a simulator lives, or something else; asyncio replaces the socket of a dead one."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SimulatorError(f"cannot listen on {path}: {error}") from error
    if not stat.S_ISSOCK(mode):
        raise SimulatorError(f"cannot listen on {path}: there is something else, not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise SimulatorError(f"cannot listen on {path}: a simulator answers there already")


def _moment(request: Request, name: str) -> datetime:
    value = request.get(name)
    try:
        if not isinstance(value, str):
            raise TypeError
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo is not None else _naive(name, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise RefusedError(f"{name} must be a date and time, got {_short(value)}") from error


def _naive(name: str, value: str) -> datetime:
    raise RefusedError(f"{name} must carry a UTC offset, got {_short(value)}")


def _command(entry: object) -> Command:
    if not isinstance(entry, dict):
        raise RefusedError(f"a command is a JSON object, got {_short(entry)}")
    device_id, power_kw = entry.get("device_id"), entry.get("power_kw")
    if not isinstance(device_id, str):
        raise RefusedError(f"device_id must be text, got {_short(device_id)}")
    if not isinstance(power_kw, int | float) or isinstance(power_kw, bool):
        raise RefusedError(f"{_short(device_id)}: power_kw must be a number, got {_short(power_kw)}")
    try:
        return Command(device_id, _moment(entry, "start"), _moment(entry, "end"), float(power_kw))
    except (ValueError, OverflowError) as error:
        raise RefusedError(str(error)) from error


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _until(epoch_s: int) -> str | None:
    return _text(datetime.fromtimestamp(epoch_s, UTC)) if epoch_s else None
