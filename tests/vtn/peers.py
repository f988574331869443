"""Peers of a listener that hold a connection."""

from __future__ import annotations

import asyncio
import socket


def connect(port: int, said_first: bytes = b"") -> socket.socket:
    """A connection on which so much was said."""
    peer = socket.create_connection(("127.0.0.1", port))
    peer.sendall(said_first)
    peer.setblocking(False)
    return peer


async def hangs_up(peer: socket.socket) -> bool:
    """Wait for the next byte: whether there is none any more."""
    async with asyncio.timeout(30):
        try:
            return await asyncio.get_running_loop().sock_recv(peer, 1) == b""
        except ConnectionResetError:
            return True
