"""The demo's processes: started, watched, killed and stopped, and how much memory they took.

Each child has a log file and a session of its own, so a Ctrl-C reaches the demo alone, which then stops them
in order. A demo that is killed itself takes them along, see `flexpact.demo.child`.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flexpact.demo.errors import ChildDiedError, DemoError

_STOP_S = 10.0  # what a child gets to end after SIGTERM, in real seconds
_KB_PER_MB = 1024.0


@dataclass(slots=True)
class Child:
    """One process: how it was started, where its log lies, the most memory it ever had resident."""

    name: str
    module: str
    arguments: Sequence[str]
    log: Path
    process: asyncio.subprocess.Process
    peak_rss_mb: float = 0.0
    expected_to_end: bool = field(default=False)


class Fleet:
    """All children of one demo, by name. Use as an async context manager: leaving it stops them all."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: dict[str, Child] = {}

    async def __aenter__(self) -> "Fleet":
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, name: str, *arguments: str, module: str = "flexpact") -> None:
        """Start `flexpact ARGUMENTS` (or another module) as the child `name`, its output in the logs."""
        log = self._logs / f"{name}.log"
        process = await _spawn(module, arguments, log)
        peak = self._children[name].peak_rss_mb if name in self._children else 0.0
        self._children[name] = Child(name, module, arguments, log, process, peak)

    async def run(self, name: str, *arguments: str) -> str:
        """Run `flexpact ARGUMENTS` to its end, return its last line; `ChildDiedError` if it fails."""
        log = self._logs / f"{name}.log"
        process = await _spawn("flexpact", arguments, log)
        if await process.wait() != 0:
            raise ChildDiedError(f"{name} failed: {last_words(log)}")
        return last_words(log)

    async def kill(self, name: str) -> None:
        """Kill the child -9 and wait until it is gone; a pulled plug."""
        child = self._children[name]
        child.expected_to_end = True
        self.measure()
        child.process.kill()
        await child.process.wait()

    async def restart(self, name: str) -> None:
        """Start the child again, as it was started before."""
        child = self._children[name]
        await self.start(name, *child.arguments, module=child.module)

    async def wait(self, name: str) -> None:
        """Return when the child has ended."""
        await self._children[name].process.wait()

    def pid(self, name: str) -> int:
        """Return the child's process id."""
        return self._children[name].process.pid

    def check(self) -> None:
        """Raise `ChildDiedError` if a child ended that nobody asked to end."""
        for child in self._children.values():
            code = child.process.returncode
            if code is not None and not child.expected_to_end:
                raise ChildDiedError(f"{child.name} ended with {_ending(code)}: {last_words(child.log)}")

    def measure(self) -> None:
        """Note each living child's peak of resident memory."""
        for child in self._children.values():
            if child.process.returncode is None:
                child.peak_rss_mb = max(child.peak_rss_mb, peak_rss_mb(child.process.pid))

    def peak_rss_mb(self, prefix: str) -> float:
        """Return the largest peak among the children whose name starts with `prefix`, in MB; 0 for none."""
        peaks = [c.peak_rss_mb for c in self._children.values() if c.name.startswith(prefix)]
        return max(peaks, default=0.0)

    async def stop(self, *names: str) -> None:
        """End these children, or all, the last started first; one that does not follow SIGTERM is killed."""
        self.measure()
        children = [c for c in reversed(self._children.values()) if not names or c.name in names]
        for child in children:
            child.expected_to_end = True
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(signal.SIGTERM)
        for child in children:
            try:
                await asyncio.wait_for(child.process.wait(), _STOP_S)
            except TimeoutError:
                child.process.kill()
                await child.process.wait()


async def _spawn(module: str, arguments: Sequence[str], log: Path) -> asyncio.subprocess.Process:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with log.open("ab") as out:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "flexpact.demo.child",
            str(os.getpid()),
            module,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env=environment,
        )


def free_port() -> int:
    """Return a port of loopback that nobody listens on now; children need theirs again after a restart."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def last_words(log: Path) -> str:
    """Return the last line that a log holds, without decoration, for a sentence."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it left no log"
    spoken = [line.strip(" │╭╰─╮╯") for line in lines]
    return next((line for line in reversed(spoken) if line), "it said nothing")[:500]


def peak_rss_mb(pid: int) -> float:
    """Return the most memory that the process had resident so far, in MB; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    peak = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return int(peak.split()[1]) / _KB_PER_MB if peak else 0.0


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def make_directory(path: Path) -> None:
    """Make the demo's directory; `DemoError` when it cannot be written or holds something already."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise DemoError(f"{path} is not empty; give a directory that is new or empty")
        probe = path / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DemoError(f"{path} cannot be written: {error.strerror}") from None
