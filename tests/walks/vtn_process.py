"""A VTN in a process of its own, to be killed: it publishes what its standard input asks for.

    python -m tests.walks.vtn_process DATABASE PORT

Prints `listening PORT` and, once an event is durable, `published EVENT_ID`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from tests.vtn.desk import NOW, anything_goes, make_event, request_all
from vtn import event, registration
from vtn.server import Server
from vtn.settings import VtnSettings
from vtn.store import Database


async def main(path: Path, port: int) -> None:
    """Serve, and publish each event id that comes in to the first VEN."""
    db = await Database.open(path)
    server = Server(VtnSettings(port=port, insecure_dev=True), db, lambda: NOW, request_all)
    await server.start()
    print(  # noqa: T201 - the test reads it
        f"listening {server.port}", flush=True
    )
    loop = asyncio.get_running_loop()
    while event_id := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        async with db.write() as conn:
            ven = (await registration.vens(conn))[0]
            await event.publish(conn, make_event(event_id), ven.ven_id, NOW, anything_goes)
        print(  # noqa: T201 - the test reads it
            f"published {event_id}", flush=True
        )
    await server.stop()
    await db.close()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
