"""A VTN with TLS for tests: its certificates, odd certificates of clients, and one connection at a time.

`NOW` is that of the fixtures `made` and `pki`: no certificate of theirs begins later.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flexpact.pki import Identity, authority, identity, issue, make_authority
from flexpact.revocation import start_list
from openadr import Message, decode, encode
from openadr.certificate import KeyKind
from vtn.server import BASE, Server
from vtn.settings import VtnSettings
from vtn.store import Database

BOTH = (KeyKind.EC, KeyKind.RSA)
NOW = datetime.now(UTC)
RUNNERS = [pytest.param(asyncio.run, id="asyncio"), pytest.param(uvloop.run, id="uvloop")]
Run = Callable[[Coroutine[Any, Any, None]], None]
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def make_pki(directory: Path, now: datetime) -> None:
    """Both authorities, a server with both certificates, and VENs of both kinds."""
    make_authority(directory, now, BOTH)
    start_list(directory, now)
    for kind in BOTH:
        issue(directory, "vtn", now, server=True, kind=kind)
    for name in ("alice", "bob"):
        issue(directory, name, now, server=False)
    issue(directory, "carol", now, server=False, kind=KeyKind.RSA)


def vtn_settings(directory: Path, *kinds: KeyKind, **more: object) -> VtnSettings:
    """Settings of a VTN with certificates of these kinds, of both where none is named."""
    pairs = [identity(directory, "vtn", kind) for kind in kinds or BOTH]
    values: dict[str, object] = {"port": 0, "ca": directory / "ca.pem"}
    values |= {"cert": pairs[0].cert, "key": pairs[0].key}
    if len(pairs) > 1:
        values |= {"rsa_cert": pairs[1].cert, "rsa_key": pairs[1].key}
    return VtnSettings.model_validate(values | more)


@asynccontextmanager
async def serving(settings: VtnSettings, path: Path, clock: Callable[[], datetime]) -> AsyncIterator[Server]:
    """A VTN on a port of the system's choice, with a database of its own at `path`."""
    database = await Database.open(path)
    server = Server(settings, database, clock, lambda _ven, _reports, _now: [])
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        await database.close()


def odd_certificate(
    directory: Path,
    name: str,
    now: datetime,
    key: Key,
    *,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
    from_to: tuple[timedelta, timedelta] = (timedelta(days=-1), timedelta(days=30)),
    self_signed: bool = False,
) -> Identity:
    """A certificate that `flexpact pki` would not make."""
    issuer = authority(directory, KeyKind.EC, None)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if self_signed else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + from_to[0])
        .not_valid_after(now + from_to[1])
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )
    signed = builder.sign(key if self_signed else issuer.key, hashes.SHA256())
    made = identity(directory, name, KeyKind.EC)
    made.cert.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    made.key.touch(mode=0o600)
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return made


def context_of(directory: Path, who: Identity) -> ssl.SSLContext:
    """TLS of a client that trusts the directory's authorities."""
    context = ssl.create_default_context(cafile=directory / "ca.pem")
    context.load_cert_chain(who.cert, who.key)
    return context


@dataclass
class Connection:
    """One TLS connection to a VTN, kept open."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, server: Server, context: ssl.SSLContext, mine: str = "127.0.0.1") -> Connection:
        opened = asyncio.open_connection("127.0.0.1", server.port, ssl=context, local_addr=(mine, 0))
        return cls(*await opened)

    @property
    def shown(self) -> bytes:
        """The server's certificate."""
        return bytes(self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True))

    async def post(self, service: str, body: bytes) -> tuple[int, bytes]:
        """Status and body; (0, nothing) where the connection was closed instead."""
        head = f"POST {BASE}{service} HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\n"
        self.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await self.writer.drain()
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return 0, b""
        length = next(line for line in head.lower().splitlines() if line.startswith("content-length"))
        return int(head.split()[1]), await self.reader.readexactly(int(length.split(":")[1]))

    async def say(self, service: str, message: Message) -> Message:
        """The OpenADR reply to a message."""
        status, body = await self.post(service, encode(message))
        assert status == 200
        return decode(body)

    async def ended(self) -> bool:
        """Whether the server has closed the connection."""
        return await self.reader.read(1) == b""

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            return
