"""The aggregator as a process: killed at the worst moment, badly configured, asked from a terminal."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import aiohttp
import pytest

from tests.aggregator.box import Box
from tests.aggregator.conftest import END, EVENING, ORIGIN, START, Prepared, node_settings

PROGRAM = (sys.executable, "-m", "flexpact", "aggregator")
AFTERNOON = START + timedelta(hours=14, minutes=7)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def client() -> aiohttp.ClientSession:
    """A session whose connections do not outlive a server that is killed between two messages."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


def drain(said: IO[bytes]) -> None:
    """Read to the end."""
    with said:
        deque(said, 0)


class Process:
    """`flexpact aggregator serve` in a folder, on a clock that stands still until the file says otherwise."""

    def __init__(self, folder: Path, boxes: list[Box]) -> None:
        self.folder, self.boxes, self.port = folder, {box.name: box for box in boxes}, free_port()
        self.socket = folder / "control"
        self.clock = folder / "clock"
        self.set_clock("2026-01-20T14:07:00Z")
        self.child: subprocess.Popen[bytes] | None = None
        nodes = [node_settings(n) for n in (1, 2, 3)]
        self.config = folder / "aggregator.toml"
        self.config.write_text(toml({
            "state": ".", "socket": "control", "vtn": {"port": self.port, "insecure_dev": True},
            "log": {"origin": ORIGIN, "key_file": "log.key"}, "programme": {"history_days": 14},
        }) + "".join("[[nodes]]\n" + toml(node, "nodes.") for node in nodes))  # fmt: skip

    def set_clock(self, text: str) -> None:
        """Hold the clock at that time."""
        draft = self.clock.with_suffix(".new")
        draft.write_text(f"{text}@heldx1")
        draft.replace(self.clock)

    def start(self, http: aiohttp.ClientSession) -> None:
        """Start and wait until it says that it runs."""
        command = [*PROGRAM, "serve", "--config", str(self.config), "--clock", f"@{self.clock}"]
        self.child = subprocess.Popen(command, stderr=subprocess.PIPE)
        said = self.child.stderr
        assert said is not None
        assert any(b"aggregator runs" in line for line in said), "the process ended"
        threading.Thread(target=drain, args=(said,)).start()  # the pipe must not fill
        for box in self.boxes.values():
            box.connect(http, self.port)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer on the control socket."""
        connector = aiohttp.UnixConnector(str(self.socket), force_close=True)
        async with (
            aiohttp.ClientSession("http://control", connector=connector) as control,
            control.request(method, path, json=body) as answer,
        ):
            return await answer.json()

    def kill(self) -> None:
        """Kill -9."""
        assert self.child is not None
        self.child.kill()
        self.child.wait()


def toml(content: dict[str, Any], prefix: str = "") -> str:
    """Plain values first, then tables."""
    plain = [
        f"{name} = {json.dumps(value)}" for name, value in content.items() if not isinstance(value, dict)
    ]
    tables = [
        f"[{prefix}{name}]\n{toml(value)}" for name, value in content.items() if isinstance(value, dict)
    ]
    return "\n".join([*plain, *tables]) + "\n"


@pytest.fixture
async def process(prepared: Prepared, tmp_path: Path) -> AsyncIterator[Process]:
    """A process on prepared data; killed at the end whatever happens."""
    made = Process(tmp_path, prepared.copy(tmp_path))
    yield made
    if made.child is not None and made.child.poll() is None:
        made.kill()


async def test_what_was_acknowledged_survives_kill_9_and_is_settled_once(process: Process) -> None:
    async with client() as http:
        process.start(http)
        body = {**EVENING, "power_kw": 5, "idempotency_key": "once"}
        answer = await process.ask("POST", "/requests", body)
        process.kill()
        process.set_clock("2026-01-20T14:08:00Z")
        process.start(http)
        assert await process.ask("POST", "/requests", body) == answer
        for name in ("node-1", "node-2"):
            assert answer["event_id"] in {
                e.event_id for e in (await process.boxes[name].poll_for_event()).events
            }
        process.kill()
        process.set_clock("2026-01-20T19:00:00Z")
        process.start(http)
        for box in process.boxes.values():
            await box.report("telemetry", START, END, END)
        process.kill()  # perhaps before, perhaps after the statements
        process.start(http)
        await process.ask("POST", "/seal")
        statements = (await process.ask("GET", "/statements"))["statements"]
        assert sorted((s["ven_name"], s["revision"], s["amount_minor"]) for s in statements) == [
            ("node-1", 1, 124),
            ("node-2", 1, 192),
        ]
        leaves = (await process.ask("GET", "/summary"))["leaves"]
        process.kill()
        process.start(http)
        assert (await process.ask("POST", "/seal"))["leaves"] == leaves


async def test_the_terminal_asks_the_same_questions(process: Process) -> None:
    async with client() as http:
        process.start(http)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*PROGRAM, words[0], "--socket", str(process.socket), *words[1:]]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    times = ("--start", EVENING["start"], "--end", EVENING["end"])
    preview = json.loads(run("request", *times, "--power-kw", "5", "--preview").stdout)
    assert preview["expected_kw"] == 5.0
    assert "request_id" not in preview
    assert json.loads(run("request", *times, "--power-kw", "5", "--key", "k").stdout)["request_id"]
    assert len(json.loads(run("status").stdout)["nodes"]) == 3
    assert json.loads(run("statements").stdout) == {"statements": []}
    assert 'origin = "test.example/log"' in run("trust").stdout
    sent = json.loads(run("request", *times, "--power-kw", "5", "--key", "k").stdout)
    assert json.loads(run("cancel", sent["event_id"]).stdout)["request_id"] == sent["request_id"]
    assert run("cancel", "event-none").stderr == "flexpact aggregator: there is no request event-none\n"
    unanchored = run("receipt", "0", "--out", str(process.folder / "out"))
    assert (unanchored.returncode, unanchored.stdout) == (1, "")
    assert "leaf 0" in unanchored.stderr
    assert json.loads(run("statements", "--event", "a b").stdout) == {"statements": []}
    refused = run("request", *times, "--power-kw", "-1")
    assert (refused.returncode, refused.stderr) == (
        1,
        "flexpact aggregator: power_kw: Input should be greater than 0 (given '-1')\n",
    )
    assert process.child is not None
    process.child.send_signal(signal.SIGTERM)
    assert process.child.wait() == 0
    assert not process.socket.exists()
    nobody = run("status")
    assert nobody.returncode == 1
    assert "nobody answers on" in nobody.stderr


def serve(config: Path) -> str:
    """What the process says when it cannot start; one line."""
    done = subprocess.run(
        [*PROGRAM, "serve", "--config", str(config)], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_what_stands_in_the_way_is_one_clear_sentence(process: Process) -> None:
    text = process.config.read_text()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", process.port))
        taken.listen()
        assert f"cannot listen on 127.0.0.1 port {process.port}" in serve(process.config)
    process.config.write_text(
        text.replace('"state": "."', "").replace('key_file = "log.key"', 'key_file = "no.key"')
    )
    assert "no.key cannot be read: No such file or directory" in serve(process.config)
    process.config.write_text(text.replace("history_days = 14", "history_days = 1000"))
    assert "programme.history_days: Input should be less than or equal to 90" in serve(process.config)


def test_a_database_that_cannot_be_opened_is_one_clear_sentence(process: Process) -> None:
    process.folder.joinpath("aggregator.sqlite").unlink()
    process.folder.joinpath("aggregator.sqlite").mkdir()
    assert "aggregator.sqlite cannot be used: unable to open database file" in serve(process.config)


def test_a_folder_that_cannot_be_made_is_one_clear_sentence(process: Process) -> None:
    text = process.config.read_text()
    process.config.write_text(text.replace('state = "."', 'state = "log.key/state"'))
    assert "log.key/state: Not a directory" in serve(process.config)
