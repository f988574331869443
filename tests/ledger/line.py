"""The wire between anchorer and chain, for tests that cut it."""

from __future__ import annotations

import json

import aiohttp
from aiohttp import web


class Line:
    """The wire between anchorer and chain, which the test can cut for single methods or tamper with."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.lost_requests: set[str] = set()
        self.lost_answers: set[str] = set()
        self.changed_answers: dict[str, object] = {}
        self.sent: list[str] = []
        self.url = ""

    async def forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        call = json.loads(body)
        method = call["method"]
        if method in self.lost_requests:
            raise web.HTTPBadGateway
        if method == "eth_sendRawTransaction":
            self.sent.append(call["params"][0])
        headers = {"Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.target, data=body, headers=headers) as response,
        ):
            answer = await response.read()
        if method in self.lost_answers:
            raise web.HTTPBadGateway
        if method in self.changed_answers:
            changed = {"jsonrpc": "2.0", "id": call["id"], "result": self.changed_answers[method]}
            answer = json.dumps(changed).encode()
        return web.Response(body=answer, content_type="application/json")
