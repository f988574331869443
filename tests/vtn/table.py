"""Workers that sign and check, over mutual TLS and one database, and two VENs that speak to them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import aiohttp

from flexpact.pki import Identity
from flexpact.pki import identity as pki_identity
from openadr import (
    CreatedPartyRegistration,
    CreatePartyRegistration,
    EiResponse,
    Message,
    Poll,
    RegisteredReport,
    RegisterReport,
    decode,
    encode,
)
from openadr.certificate import KeyKind
from openadr.signature import Signer
from openadr.verification import verify
from tests.vtn.desk import NOW, request_all
from vtn import event, registration
from vtn.exchange import ROUTES
from vtn.hooks import Review, pass_all
from vtn.server import BASE, Server
from vtn.settings import VtnSettings
from vtn.store import Database


@dataclass
class Party:
    """A VEN with its certificate: what it sends is signed unless it says otherwise."""

    identity: Identity
    ven_id: str = ""

    @cached_property
    def signer(self) -> Signer:
        return Signer((self.identity.cert.read_bytes(), "cert"), (self.identity.key.read_bytes(), "key"))

    @cached_property
    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.identity.ca)
        context.load_cert_chain(self.identity.cert, self.identity.key)
        return context

    @property
    def fingerprint(self) -> str:
        return self.signer.fingerprint


class Table:
    """Workers over one database, and two VENs that speak to them."""

    def __init__(
        self, directory: Path, path: Path, http: aiohttp.ClientSession, *, rsa: bool = False
    ) -> None:
        self.now = NOW
        self.http = http
        self.alice, self.bob = (Party(pki_identity(directory, name, KeyKind.EC)) for name in ("alice", "bob"))
        mine = {kind: pki_identity(directory, "vtn", kind) for kind in (KeyKind.EC, KeyKind.RSA)}
        self.settings = VtnSettings(
            port=0,
            cert=mine[KeyKind.EC].cert,
            key=mine[KeyKind.EC].key,
            rsa_cert=mine[KeyKind.RSA].cert if rsa else None,
            rsa_key=mine[KeyKind.RSA].key if rsa else None,
            ca=mine[KeyKind.EC].ca,
            busy_timeout_s=0.2,
        )
        self.fingerprints = {kind: each.fingerprint for kind, each in mine.items()}
        self._path = path
        self._workers: list[tuple[Server, Database]] = []

    async def worker(self, review: Review = pass_all) -> Server:
        """One more worker on the same database."""
        db = await Database.open(self._path, busy_timeout_s=0.2)
        server = Server(self.settings, db, lambda: self.now, request_all, review)
        await server.start()
        self._workers.append((server, db))
        return server

    async def close(self) -> None:
        while self._workers:
            server, db = self._workers.pop()
            await server.stop()
            await db.close()

    @property
    def server(self) -> Server:
        return self._workers[0][0]

    @property
    def db(self) -> Database:
        return self._workers[0][1]

    async def post(
        self, who: Party, service: str, raw: bytes, server: Server | None = None
    ) -> tuple[int, bytes]:
        url = f"https://127.0.0.1:{(server or self.server).port}{BASE}{service}"
        headers = {"Content-Type": "application/xml"}
        async with self.http.post(url, data=raw, headers=headers, ssl=who.context) as response:
            return response.status, await response.read()

    async def say(self, who: Party, message: Message, *, signed: bool = True) -> Message:
        """The reply, which is signed by the VTN's P-256 certificate if the message was."""
        service = sorted(ROUTES[type(message)].services)[0]
        raw = encode(message)
        status, body = await self.post(who, service, who.signer.sign(raw, self.now) if signed else raw)
        assert status == 200, (status, body)
        if not signed:
            assert b"Signature>" not in body
            return decode(body)
        return decode(verify(body, {self.fingerprints[KeyKind.EC]}, self.now).body)

    async def enrol(self, who: Party, name: str) -> None:
        async with self.db.write() as conn:
            who.ven_id = await registration.enrol(conn, name, who.fingerprint, self.now)

    async def register(self, who: Party, name: str = "alice") -> None:
        """A VEN that signs, and for which nothing waits."""
        await self.enrol(who, name)
        reply = await self.say(who, announcement())
        assert isinstance(reply, CreatedPartyRegistration)
        assert reply.response.is_success, reply
        own = await self.say(who, Poll(who.ven_id))
        assert isinstance(own, RegisterReport)
        await self.say(who, RegisteredReport(response=EiResponse.ok(own.request_id), ven_id=who.ven_id))

    async def ven(self, who: Party) -> registration.Ven:
        async with self.db.read() as conn:
            return await registration.find(conn, who.ven_id)

    async def opts(self, event_id: str) -> list[str | None]:
        async with self.db.read() as conn:
            return [state.opt for state in await event.event_states(conn, event_id)]


def announcement(**changes: object) -> CreatePartyRegistration:
    values: dict[str, object] = {"request_id": "r", "http_pull_model": True, "xml_signature": True}
    return CreatePartyRegistration(**(values | changes))  # type: ignore[arg-type] - fields by name
