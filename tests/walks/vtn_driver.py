"""A VTN in a process of its own, started, spoken to and killed by a test."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from openadr import DistributeEvent, Event, Message, Poll, decode, encode
from tests.vtn.desk import ALICE, NOW
from vtn import registration
from vtn.server import BASE, DEV_FINGERPRINT
from vtn.store import Database

PATIENCE_S = 120
ROOT = Path(__file__).parents[2]


def client() -> aiohttp.ClientSession:
    """A session whose connections do not outlive a server that is killed between two messages."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


@dataclass
class Vtn:
    """A VTN process, and a VEN's way to speak to it."""

    process: Process
    port: int
    http: aiohttp.ClientSession

    @classmethod
    async def start(cls, database: Path, http: aiohttp.ClientSession, port: int = 0) -> Vtn:
        arguments = [sys.executable, "-m", "tests.walks.vtn_process", str(database), str(port)]
        process = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT, stdin=PIPE, stdout=PIPE)
        vtn = cls(process, port, http)
        vtn.port = int(await vtn.line("listening"))
        return vtn

    async def line(self, word: str) -> str:
        """The rest of the next line that begins with `word`."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            async for line in self.process.stdout:
                if line.startswith(word.encode() + b" "):
                    return line.decode().split()[1]
        raise AssertionError(f"the VTN ended without saying {word!r}")

    async def publish(self, event_id: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(event_id.encode() + b"\n")
        assert await self.line("published") == event_id

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def end(self) -> int:
        """Let it stop by itself; gives its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.process.wait()

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def post(self, service: str, body: bytes, who: str = ALICE) -> tuple[int, bytes]:
        """Status and body of the answer to raw bytes."""
        url = f"http://127.0.0.1:{self.port}{BASE}{service}"
        headers = {"Content-Type": "application/xml", DEV_FINGERPRINT: who}
        async with self.http.post(url, data=body, headers=headers) as response:
            return response.status, await response.read()

    async def say(self, service: str, message: Message) -> Message:
        status, body = await self.post(service, encode(message))
        assert status == 200
        return decode(body)

    async def offered(self, ven_id: str) -> list[Event]:
        message = await self.say("OadrPoll", Poll(ven_id=ven_id))
        return list(message.events) if isinstance(message, DistributeEvent) else []


async def enrolled(path: Path) -> str:
    database = await Database.open(path)
    async with database.write() as conn:
        ven_id = await registration.enrol(conn, "alice", ALICE, NOW)
    await database.close()
    return ven_id
