"""A connection of one VEN to a server that is measured."""

import socket
import ssl
from pathlib import Path

from benchmarks.servers import Running, identity_of
from vtn.server import BASE


class Line:
    """A kept connection of one VEN."""

    def __init__(self, directory: Path, server: Running, number: int) -> None:
        plain = socket.create_connection(("127.0.0.1", server.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = client_context(directory, number).wrap_socket(plain, server_hostname="127.0.0.1")
        self._rest = b""

    def post(self, service: str, body: bytes) -> bytes:
        """The body of the answer, whose status must be 200."""
        self._socket.sendall(request_bytes(service, body))
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(262_144) or b"\r\n\r\nclosed"
        head, _, found = answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        while len(found) < length:
            found += self._socket.recv(262_144)
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(f"{service} answered {answer!r}")
        return found

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def client_context(directory: Path, number: int) -> ssl.SSLContext:
    """TLS with the certificate of a VEN."""
    mine = identity_of(directory, number)
    context = ssl.create_default_context(cafile=mine.ca)
    context.load_cert_chain(mine.cert, mine.key)
    return context


def request_bytes(service: str, body: bytes) -> bytes:
    """A whole HTTP request."""
    head = (
        f"POST {BASE}{service} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
