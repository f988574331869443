"""TLS sessions that clients take up again: none from before the authorities or the revocations changed."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from flexpact.pki import identity, load, make_authority
from flexpact.revocation import revoke
from openadr import QueryRegistration, encode
from openadr.certificate import KeyKind
from tests.vtn.secure import NOW, RUNNERS, Run, context_of, serving, vtn_settings
from vtn.server import BASE, Server
from vtn.settings import TlsProfile

QUERY = encode(QueryRegistration(request_id="q"))


@dataclass(frozen=True)
class Asked:
    """How a connection went: its session, whether that was an old one, and how the answer began."""

    session: ssl.SSLSession | None
    reused: bool | None
    status: bytes


def ask(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> Asked:
    """One request over a connection of its own; no status where there was no answer."""
    with (
        socket.create_connection(("127.0.0.1", port), 30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as tls,
    ):
        head = f"POST {BASE}EiRegisterParty HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\n"
        reused = tls.session_reused
        try:
            tls.sendall(f"{head}Content-Length: {len(QUERY)}\r\n\r\n".encode() + QUERY)
            status = tls.recv(12)
            return Asked(tls.session, reused, status)  # TLS 1.3 sends it behind the handshake
        except (ssl.SSLError, ConnectionError):
            return Asked(None, reused, b"")


async def again(server: Server, context: ssl.SSLContext, session: ssl.SSLSession | None) -> Asked:
    """The same beside the event loop; a handshake that fails is no answer either."""
    try:
        return await asyncio.to_thread(ask, server.port, context, session)
    except (ssl.SSLError, ConnectionError):
        return Asked(None, None, b"")


def exchange_the_authority(pki: Path) -> None:
    """VENs must come from another one now."""
    (pki / "other").mkdir()
    shutil.copy(make_authority(pki / "other", NOW).ca, pki / "clients.pem")


def revoke_bob(pki: Path) -> None:
    """Put the client on the list."""
    revoke(pki, load(pki / "bob.pem")[0], NOW)


@pytest.mark.criterion("SEC-09", "SEC-17")
@pytest.mark.parametrize("profile", TlsProfile)
@pytest.mark.parametrize("change", [exchange_the_authority, revoke_bob])
@pytest.mark.parametrize("run", RUNNERS)
def test_a_session_from_before_the_files_changed_is_not_taken_up_again(
    run: Run, change: Callable[[Path], None], profile: TlsProfile, pki: Path, database_path: Path
) -> None:
    async def scene() -> None:
        crl = pki / "crl.pem" if change is revoke_bob else None
        settings = vtn_settings(pki, ca=pki / "clients.pem", crl=crl, tls_profile=profile)
        async with serving(settings, database_path, lambda: NOW) as server:
            bob = context_of(pki, identity(pki, "bob", KeyKind.EC))
            first = await again(server, bob, None)
            second = await again(server, bob, first.session)
            assert (second.reused, second.status) == (True, b"HTTP/1.1 200")
            change(pki)
            server.reload()
            assert (await again(server, bob, second.session)).status == b""
            assert (await again(server, bob, None)).status == b""

    run(scene())


async def test_a_client_that_is_still_good_gets_a_new_session(pki: Path, database_path: Path) -> None:
    async with serving(vtn_settings(pki), database_path, lambda: NOW) as server:
        alice = context_of(pki, identity(pki, "alice", KeyKind.EC))
        first = await again(server, alice, None)
        server.reload()
        second = await again(server, alice, first.session)
        assert (second.reused, second.status) == (False, b"HTTP/1.1 200")
        third = await again(server, alice, second.session)
        assert (third.reused, third.status) == (True, b"HTTP/1.1 200")
