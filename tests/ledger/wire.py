"""The wire between anchorer and chain, which loses, delays and lies as it is told."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from ledger.state import keccak256

SEND = "eth_sendRawTransaction"
FAULTS = (
    "request lost",
    "answer lost",
    "request late",
    "refused",
    "taken and refused",
    "taken and dropped",
    "hangs",
    "hangs after",
)
WORDS = ("already known", "nonce too low", "replacement transaction underpriced", "0x", "internal error")


class Wire:
    """Forwards JSON-RPC to `target`; `faults` says what befalls the next calls of a method, in turn."""

    def __init__(self, target: str, database: Path) -> None:
        self.target = target
        self.faults: dict[str, list[str]] = {}
        self.late: list[bytes] = []
        self.sent: list[bytes] = []
        self.unknown: list[bytes] = []
        """What was sent and is in no table of the sender."""
        self.url = ""
        self._database = database
        self._over = asyncio.Event()
        self._session = aiohttp.ClientSession()

    @classmethod
    @asynccontextmanager
    async def laid(cls, target: str, database: Path) -> AsyncIterator[Wire]:
        wire = cls(target, database)
        app = web.Application()
        app.router.add_post("/", wire._forward)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        wire.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield wire
        finally:
            wire._over.set()
            await runner.cleanup()
            await wire._session.close()

    async def ask(self, method: str, *params: object) -> Any:
        """What the chain itself answers."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        answer = json.loads(await self._pass(body))
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def deliver_late(self) -> int:
        """Hand over what was held back; how many that were."""
        held, self.late = self.late, []
        for body in held:
            await self._pass(body)
        return len(held)

    async def _forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        call = json.loads(body)
        if call["method"] == SEND:
            self._note(bytes.fromhex(call["params"][0][2:]))
        fault = (self.faults.get(call["method"]) or [""]).pop(0)
        if fault == "request late":
            self.late.append(body)
        if fault in ("hangs", "request lost", "request late"):
            answer = b""
        elif fault in ("refused", "taken and dropped"):
            answer = self._lie(call, fault)
        else:
            answer = await self._pass(body)
        if fault == "taken and refused":
            answer = self._lie(call, fault)
        if fault.startswith("hangs"):
            await self._over.wait()
        if not answer or fault == "answer lost":
            raise web.HTTPBadGateway
        return web.Response(body=answer, content_type="application/json")

    def _note(self, raw: bytes) -> None:
        self.sent.append(raw)
        with closing(sqlite3.connect(self._database)) as conn:
            tables = ("ledger_anchor", "ledger_agreement_call")
            queries = [f"SELECT 1 FROM {table} WHERE raw_transaction = ?" for table in tables]
            if not any(conn.execute(query, (raw,)).fetchone() for query in queries):
                self.unknown.append(raw)

    def _lie(self, call: dict[str, Any], fault: str) -> bytes:
        """An answer that does not say what became of the call."""
        outcome: dict[str, object]
        if call["method"] != SEND:
            outcome = {"result": "0x"}
        elif fault == "taken and dropped":
            raw = bytes.fromhex(call["params"][0][2:])
            outcome = {"result": "0x" + keccak256(raw).hex()}
        else:
            outcome = {"error": {"code": -32000, "message": WORDS[len(self.sent) % len(WORDS)]}}
        return json.dumps({"jsonrpc": "2.0", "id": call["id"], **outcome}).encode()

    async def _pass(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self.target, data=body, headers=headers) as response:
            return await response.read()
