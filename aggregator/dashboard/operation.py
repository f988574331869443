"""What an operation of the JSON API is: a route with its models, and whom it is for.

The operations of the VTN are served here too; their handlers get the same `Call`. Handlers of our own get a
`DeskCall`, which knows who asks. What is not in the list of `aggregator.api_operations` is not served.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from aiohttp import hdrs, web
from pydantic import ConfigDict, SkipValidation
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.action import ACTION
from aggregator.access.permission import Permission
from aggregator.access.principal import Principal
from aggregator.api_repeat import Once
from aggregator.dashboard.page import Desk, Visit
from vtn.api_route import Answer, Call, Route


class FileAnswer(Answer):
    """A file to be kept, whole or in `pieces` as they are made; what is in it may be no one else's to see."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    media_type: str
    name: str
    content: bytes = b""
    pieces: Annotated[AsyncIterator[bytes] | None, SkipValidation] = None

    async def send(self, request: web.Request) -> web.StreamResponse:
        """The answer to a browser or a program; nothing on the way keeps it."""
        headers = {
            hdrs.CONTENT_TYPE: self.media_type,
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="{self.name}"',
            hdrs.CACHE_CONTROL: "no-store",
        }
        if self.pieces is None:
            return web.Response(body=self.content, headers=headers)
        answer = web.StreamResponse(headers=headers)
        await answer.prepare(request)
        async for piece in self.pieces:
            await answer.write(piece)
            await asyncio.sleep(0)  # nodes are answered between two pieces
        await answer.write_eof()
        return answer


@dataclass(frozen=True, slots=True)
class DeskCall(Call):
    """One request of somebody known. What is written to `conn` is durable before the answer, or undone."""

    visit: Visit

    @property
    def desk(self) -> Desk:
        """What is known of the running aggregator."""
        return self.visit.desk

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return self.visit.principal


@dataclass(frozen=True, slots=True)
class Errand:
    """One request to a handler that opens its units of work itself (`Operation.errand`): what waits for a
    chain must not keep the writer waiting.
    """

    visit: Visit
    path: Mapping[str, str]
    body: Any
    query: Any
    once: Once | None

    @property
    def desk(self) -> Desk:
        """What is known of the running aggregator."""
        return self.visit.desk

    @property
    def now(self) -> datetime:
        """The aggregator's time when it was asked."""
        return self.visit.now

    @asynccontextmanager
    async def order(self) -> AsyncIterator[AsyncConnection]:
        """The unit of work that decides: its line of the trail, and that its key is used up, are kept with
        it. What comes of the order is in the order.
        """
        action = self.visit.request.get(ACTION)
        if action is not None:
            action.reason = action.reason or "ordered"
        async with self.visit.write() as conn:
            yield conn
            if self.once is not None:
                await self.once.keep_order(conn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation. `fresh` asks for a second factor of the last minutes, which tokens never have; `reads`
    says of one that is no GET that it only looks, `secret` that its answer is kept for no repeat.
    """

    route: Route
    permission: Permission
    fresh: bool = False
    errand: bool = False
    reads: bool = False
    secret: bool = False

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.route.writes and not self.reads
