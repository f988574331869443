"""A running VTN with its operator's API on a Unix socket, and the operator's end of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import Event
from tests.vtn import openapi
from tests.vtn.desk import ALICE, BOB, NOW, Desk
from vtn.api import OperatorApi
from vtn.api_route import Office
from vtn.control_socket import ControlSocket, listen
from vtn.errors import NotAdmitted
from vtn.store import Database

FAULT = "a fault of the process"
CONTEXT = "http://programme.test/peak"
START = NOW + timedelta(hours=2)
SIMPLE = {"signal_name": "SIMPLE", "signal_type": "level", "intervals": [{"value": 1}]}
PEAK = {"event_id": "peak", "vens": ["alice"], "start": "2026-03-02T14:00:00Z", "duration": "PT1H"}
POWER = {
    "signal_name": "LOAD_DISPATCH",
    "signal_type": "delta",
    "unit": {"kind": "powerReal", "scale": "k"},
    "intervals": [{"duration": "PT30M", "value": -500}, {"duration": "PT30M", "value": -250}],
}


def peak(**changes: Any) -> dict[str, Any]:
    """The body of an event for Alice; None takes a field away."""
    body = {**PEAK, "signals": [SIMPLE], **changes}
    return {name: value for name, value in body.items() if value is not None}


@dataclass
class Clerk:
    """The operator's end. `forbidden` are the ids of VENs whose agreement allows nothing."""

    desk: Desk
    http: aiohttp.ClientSession
    control: ControlSocket
    forbidden: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        raw: bytes | BytesIO | None = None,
        kind: str = "application/json",
    ) -> tuple[int, Any]:
        """Status and JSON of any answer."""
        sent: dict[str, Any] = {} if body is None else {"json": body}
        if raw is not None:
            sent = {"data": raw, "headers": {"Content-Type": kind}}
        async with self.http.request(method, path, **sent) as answer:
            said = await answer.json(content_type=None)
            told = "application/problem+json" if answer.status >= 400 else "application/json"
            assert answer.content_type == told, (answer.status, answer.content_type)
            schema = openapi.answer_of(method, path, answer.status)
            if schema is not None:
                openapi.check(schema, said)
            return answer.status, said

    async def get(self, path: str) -> Any:
        """The answer to GET."""
        return await self._good("GET", path, None)

    async def post(self, path: str, body: Any = None) -> Any:
        """The answer to POST."""
        return await self._good("POST", path, body)

    async def patch(self, path: str, body: Any) -> Any:
        """The answer to PATCH."""
        return await self._good("PATCH", path, body)

    async def refused(self, status: int, method: str, path: str, body: Any = None) -> Any:
        """The problem that a request is refused with."""
        got, said = await self.ask(method, path, body)
        assert got == status, (got, said)
        assert said["status"] == status
        assert set(said) <= {"type", "title", "status", "detail", "errors", "clause"}
        return said

    async def _good(self, method: str, path: str, body: Any) -> Any:
        status, said = await self.ask(method, path, body)
        assert 200 <= status < 300, (status, said)
        return said


@asynccontextmanager
async def opened(db: Database, folder: Path, **settings: Any) -> AsyncIterator[Clerk]:
    """A VTN with Alice and Bob enrolled, and its operator; `settings` are fields of the Office."""
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(db, http)
        await desk.enrol(ALICE, "alice")
        await desk.enrol(BOB, "bob")
        forbidden: dict[str, str] = {}
        owners: dict[str, str] = {}
        api = OperatorApi(db, office(desk, forbidden, owners, **settings))
        control = await listen(api.app(), folder / "control")
        connector = aiohttp.UnixConnector(str(folder / "control"))
        async with aiohttp.ClientSession("http://vtn", connector=connector) as session:
            yield Clerk(desk, session, control, forbidden, owners)
        await control.close()
        await desk.server.stop()


def office(desk: Desk, forbidden: Mapping[str, str], owners: Mapping[str, str], **settings: Any) -> Office:
    async def admit(_conn: AsyncConnection, _event: Event, ven_id: str, _now: object) -> None:
        if forbidden.get(ven_id) == FAULT:
            raise RuntimeError("a secret at /some/path")
        if ven_id in forbidden:
            raise NotAdmitted("daily_calls", forbidden[ven_id])

    async def owner(_conn: AsyncConnection, event_id: str) -> str | None:
        return owners.get(event_id)

    return Office(
        admit=admit,
        clock=lambda: desk.now,
        contacts=desk.server.last_contacts,
        owner=owner,
        clock_skews=desk.server.clock_skews,
        market_context=CONTEXT,
        **settings,
    )
