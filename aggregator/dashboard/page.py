"""What a page of the dashboard is: its place, whom it is for, and its handler.

A page's handler gets a `Visit` and gives an answer; a fragment is a page that fills a part of another.
What is not in a list of `Page` values is not served, and each names the permission that it asks for.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import hdrs, web
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.access import Access
from aggregator.access.action import ACTION, Outcome
from aggregator.access.permission import Permission
from aggregator.access.principal import Principal
from aggregator.curve import CurveMaker
from aggregator.overview import Overview
from aggregator.portfolio import Portfolio
from ledger.log import Log
from vtn.api_route import Office
from vtn.store import Database

if TYPE_CHECKING:
    from aggregator.alarm_watch import AlarmWatch
    from aggregator.chain_book import ChainBook
    from aggregator.operator_choice import Display
    from aggregator.settings import AggregatorSettings
    from aggregator.task_keeper import TaskKeeper
    from vtn.server import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What pages know of the running aggregator. `book` is None without agreements on a chain; `seal` seals,
    signs and anchors all there is within some seconds, and says whether the chain has all of it.
    """

    db: Database
    access: Access
    settings: AggregatorSettings
    portfolio: Portfolio
    overview: Overview
    maker: CurveMaker
    log: Log
    clock: Callable[[], datetime]
    office: Office
    chain_state: Callable[[], dict[str, Any]]
    seal: Callable[[float], Awaitable[bool]]
    vtn: Server
    tasks: TaskKeeper
    book: ChainBook | None = None
    watch: AlarmWatch | None = None
    display: Display | None = None


class Renderer(Protocol):
    """Makes HTML of a template and values; `aggregator.dashboard.rendering` is the one there is."""

    def __call__(self, visit: Visit, template: str, values: Mapping[str, Any]) -> str:
        """The HTML."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of a browser. `now` is the aggregator's clock at its beginning; `began_s` this machine's,
    in unix seconds: the live connection of the page tells what has changed since.
    """

    request: web.Request
    principal: Principal
    desk: Desk
    now: datetime
    render: Renderer
    began_s: float = field(default_factory=time.time)

    def page(self, template: str, status: int = 200, **values: Any) -> web.Response:
        """The template as a page, or as a fragment where the template extends nothing."""
        return web.Response(
            text=self.render(self, template, values),
            status=status,
            content_type="text/html",
            charset="utf-8",
        )

    @asynccontextmanager
    async def write(self, *objects: str) -> AsyncIterator[AsyncConnection]:
        """A unit of work of the database with the line of the trail in it: both are kept or neither.

        `objects` are ids of what it is about (`event=E1`), beside those in the address. What was tried and
        did not get this far is in the trail too, with what the answer said.
        """
        action = self.request.get(ACTION)
        self.about(*objects)
        async with self.desk.db.write() as conn:
            yield conn
            if action is not None:
                await action.record(conn, Outcome.DONE, self.now)
        if action is not None:
            action.recorded = True

    def about(self, *objects: str) -> None:
        """Name more objects in the line of the trail: what was made has no id before."""
        action = self.request.get(ACTION)
        if action is not None:
            action.objects.extend(objects)

    @property
    def by_script(self) -> bool:
        """Whether htmx asks, for a part of a page that is already there."""
        return self.request.headers.get("HX-Request") == "true"

    def seen_next(self, path: str) -> web.Response:
        """Go to another page after something was done: a redirect that reloads do not repeat."""
        if self.by_script:
            return web.Response(status=204, headers={"HX-Redirect": path})
        return web.Response(status=303, headers={hdrs.LOCATION: path})


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page or fragment. Everything but GET carries the CSRF token and is in the audit trail; `fresh`
    asks for a second factor that was given in the last minutes.
    """

    method: str
    path: str
    name: str
    permission: Permission
    handle: Callable[[Visit], Awaitable[web.StreamResponse]]
    fresh: bool = False

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.method != hdrs.METH_GET
