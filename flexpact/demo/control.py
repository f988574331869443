"""The demo's way to speak with the aggregator: its control socket, as an operator's tools use it."""

from pathlib import Path
from typing import Any

import aiohttp

from flexpact.demo.errors import DemoError

_TIMEOUT = aiohttp.ClientTimeout(total=90)


class Control:
    """A client of the aggregator's control socket. Use as an async context manager."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Control":
        connector = aiohttp.UnixConnector(str(self._socket), force_close=True)
        self._http = aiohttp.ClientSession("http://aggregator", connector=connector, timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def get(self, path: str, **query: str) -> Any:
        """Return the JSON that `path` answers; `DemoError` when it answers with anything but success."""
        return await self._ask("GET", path, params=query)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the JSON that `path` answers to `body`; `DemoError` when it refuses."""
        return await self._ask("POST", path, json=body)

    async def alive(self) -> bool:
        """Whether somebody answers on the socket now."""
        try:
            await self.get("/health")
        except (TimeoutError, aiohttp.ClientError, OSError, DemoError):
            return False
        return True

    async def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        if self._http is None:
            raise RuntimeError("the control client is used outside its `async with`")
        async with self._http.request(method, path, **arguments) as answer:
            body = await answer.json(content_type=None)
            if answer.status >= 400:
                raise DemoError(f"the aggregator refuses {method} {path}: {answer.status} {body}")
            return body
