"""How many connections there may be: of one address, in all, and by the system's limit of open files."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from flexpact.pki import identity
from openadr import Poll, QueryRegistration, encode
from openadr.certificate import KeyKind
from tests.vtn.desk import Desk
from tests.vtn.peers import connect, hangs_up
from tests.vtn.secure import NOW, RUNNERS, Connection, Run, context_of, serving, vtn_settings
from vtn import entrance
from vtn.entrance import Entrance
from vtn.errors import StartupError
from vtn.open_files import RESERVE, room_for
from vtn.server import Server
from vtn.store import Database

QUERY = encode(QueryRegistration(request_id="q"))
SILENT = 900


@pytest.mark.goal(19)
@pytest.mark.parametrize("run", RUNNERS)
def test_goals_19_handshakes_that_do_not_begin_have_a_share_and_others_are_served(
    run: Run, made: Path, database_path: Path, files: int
) -> None:
    peers, share = min(SILENT, (files - 300) // 2), 100
    settings = vtn_settings(made, KeyKind.EC, max_connections_per_address=share, header_timeout_s=300)

    async def scene() -> None:
        alice = context_of(made, identity(made, "alice", KeyKind.EC))
        async with serving(settings, database_path, lambda: NOW) as server:
            with ExitStack() as stack:
                held = [stack.enter_context(connect(server.port)) for _ in range(peers)]
                assert all([await hangs_up(peer) for peer in held[share:]])
                one = await Connection.open(server, alice, "127.0.0.2")
                assert (await one.post("EiRegisterParty", QUERY))[0] == 200
                await one.close()
            async with asyncio.timeout(30):  # until it is seen that they have gone
                while not (again := await taken(server, alice)):
                    pass
            assert again

    run(scene())


async def taken(server: Server, context: ssl.SSLContext) -> bool:
    """Whether a client at the address of the silent ones is answered."""
    try:
        one = await Connection.open(server, context)
    except OSError:
        return False
    status, _ = await one.post("EiRegisterParty", QUERY)
    await one.close()
    return status == 200


@pytest.mark.goal(19)
@pytest.mark.parametrize("run", RUNNERS)
def test_goals_19_a_handshake_that_does_not_begin_ends(run: Run, made: Path, database_path: Path) -> None:
    async def scene() -> None:
        settings = vtn_settings(made, KeyKind.EC, header_timeout_s=0.2)
        async with serving(settings, database_path, lambda: NOW) as server:
            with connect(server.port) as peer:
                assert await hangs_up(peer)

    run(scene())


@pytest.mark.parametrize("run", RUNNERS)
def test_a_server_stops_during_a_handshake(run: Run, made: Path, database_path: Path) -> None:
    async def scene() -> None:
        settings = vtn_settings(made, KeyKind.EC, header_timeout_s=300)
        with ExitStack() as stack:
            async with asyncio.timeout(30), serving(settings, database_path, lambda: NOW) as server:
                peer = stack.enter_context(connect(server.port))
                await asyncio.sleep(0)
            assert await hangs_up(peer)

    run(scene())


async def test_there_are_so_many_connections_in_all(database: Database) -> None:
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http, max_connections=2, header_timeout_s=300)
        poll = encode(Poll(ven_id=await desk.settle_in()))  # over a connection that is kept
        with connect(desk.server.port), connect(desk.server.port) as second:
            assert await hangs_up(second)
            assert (await desk.post("OadrPoll", poll))[0] == 200
        await desk.server.stop()


@pytest.mark.parametrize("run", RUNNERS)
def test_a_listener_without_a_file_left_rests_and_goes_on(
    run: Run, files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        came: asyncio.Queue[socket.socket] = asyncio.Queue()
        door = Entrance(lambda peer, _address: came.put_nowait(peer))
        await door.open("127.0.0.1", 0)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with socket.socket() as peer, capture_logs() as logs:
            resource.setrlimit(resource.RLIMIT_NOFILE, (peer.fileno() + 1, hard))
            peer.connect(("127.0.0.1", door.port))
            for _ in range(20):
                await asyncio.sleep(0)
            assert came.empty()
            assert [line["error"] for line in logs] == ["Too many open files"]
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
            async with asyncio.timeout(30):
                (await came.get()).close()
        door.close()

    monkeypatch.setattr(entrance, "REST_S", 0.3)
    run(scene())


async def test_an_address_of_a_family_that_the_system_lacks_hinders_the_others_of_a_host_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lacking = (socket.AF_APPLETALK, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))  # as ::1 without IPv6
    usual = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))
    door = Entrance(lambda _peer, _address: None)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: [lacking, usual])
        await door.open("both", 0)
    with connect(door.port):
        door.close()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [lacking])
    with pytest.raises(StartupError, match=r"^cannot listen on none port 0: Address family not supported"):
        await door.open("none", 0)


async def test_a_host_that_is_nobodys_is_one_sentence() -> None:
    with pytest.raises(StartupError, match=r"^cannot listen on nobody\.invalid port 0: [^\n]+$"):
        await Entrance(lambda _peer, _address: None).open("nobody.invalid", 0)
    with pytest.raises(StartupError, match=r"^cannot listen on 192\.0\.2\.1 port 0: Cannot assign "):
        await Entrance(lambda _peer, _address: None).open("192.0.2.1", 0)


def test_the_limit_of_open_files_is_raised_to_what_connections_need(files: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    with capture_logs() as logs:
        assert room_for(100) == 100
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (512, hard)
        assert room_for(files - RESERVE) == files - RESERVE
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (files, hard)
    assert logs == []


ASK = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 400))
from vtn.open_files import room_for
print(room_for(1000), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_a_hard_limit_that_is_too_low_is_one_sentence() -> None:
    asked = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=60, check=True
    )
    *told, answer = asked.stdout.splitlines()
    assert answer == "144 400 400"
    (line,) = told
    assert (
        "the system allows 400 open files, which is room for 144 connections at once:"
        " for max_connections = 1000 raise its hard limit to 1256"
    ) in line


async def test_a_server_raises_the_limit_when_it_starts(database: Database, files: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http, max_connections=600)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 600 + RESERVE <= files
        await desk.server.stop()
