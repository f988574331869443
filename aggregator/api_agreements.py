"""The control API's part for agreements on the chain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import AwareDatetime, Field

from aggregator.errors import RequestRefusedError
from vtn.api_route import Body
from vtn.store import Database

if TYPE_CHECKING:
    from aggregator.chain_book import ChainBook, Offer

NOT_CONFIGURED = "no agreements on a chain are configured: add [agreements]"
ACCOUNT = "^0x[0-9a-fA-F]{40}$"
LONGEST_S = 366 * 86_400
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 1, 1, tzinfo=UTC)
"""The contract counts seconds since 1970; a year is left for zones, notices and windows after the end."""


class OfferBody(Body):
    """The body of POST /agreements."""

    ven_name: str = Field(min_length=1, max_length=128, description="the node's name")
    account: str = Field(pattern=ACCOUNT, description="the node's account on the chain")
    arbiter: str = Field(pattern=ACCOUNT, description="the account that decides disputes, a DSO's")
    starts_at: AwareDatetime = Field(ge=EARLIEST, lt=LATEST)
    expires_at: AwareDatetime = Field(ge=EARLIEST, lt=LATEST)
    payment_term_s: int = Field(default=30 * 86_400, ge=1, le=LONGEST_S, description="until a payment is due")
    dispute_window_s: int = Field(
        default=14 * 86_400, ge=0, le=LONGEST_S, description="until a settlement is final"
    )

    def offer(self) -> Offer:
        """The same as a value."""
        from aggregator.chain_book import Offer  # noqa: PLC0415 - web3 is loaded only where there is a chain

        return Offer(
            self.ven_name,
            bytes.fromhex(self.account[2:]),
            bytes.fromhex(self.arbiter[2:]),
            self.starts_at,
            self.expires_at,
            self.payment_term_s,
            self.dispute_window_s,
        )


class SuspendBody(Body):
    """The body of POST /agreements/{id}/suspend."""

    reason: int = Field(default=0, ge=0, lt=2**16, description="a code that the parties understand")


class DisputeBody(Body):
    """The body of POST /agreements/{id}/dispute."""

    event_id: str = Field(min_length=1, max_length=256)
    reason: str = Field(min_length=1, max_length=4096, description="its salted SHA-256 goes to the chain")


class AgreementApi:
    """The handlers; without agreements on a chain every one of them refuses."""

    def __init__(self, db: Database, book: ChainBook | None) -> None:
        self._db = db
        self._kept = book

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/agreements", self.agreements)
        app.router.add_post("/agreements", self.propose)
        app.router.add_post("/agreements/look", self.look)
        app.router.add_get("/agreements/{id}", self.agreement)
        app.router.add_post("/agreements/{id}/suspend", self.suspend)
        app.router.add_post("/agreements/{id}/lift", self.lift)
        app.router.add_post("/agreements/{id}/close", self.end)
        app.router.add_post("/agreements/{id}/dispute", self.dispute)

    @property
    def _book(self) -> ChainBook:
        if self._kept is None:
            raise RequestRefusedError(NOT_CONFIGURED)
        return self._kept

    async def agreements(self, request: web.Request) -> web.StreamResponse:
        """All agreements as the chain showed them last."""
        book = self._book
        return web.json_response({**book.state(), "agreements": await book.agreements(self._db)})

    async def agreement(self, request: web.Request) -> web.StreamResponse:
        """One agreement with its events."""
        return await self._one(request)

    async def propose(self, request: web.Request) -> web.StreamResponse:
        """Offer a node an agreement with the limits and prices that are configured."""
        body = OfferBody.model_validate_json(await request.read())
        return web.json_response(await self._book.propose(self._db, body.offer()), status=201)

    async def look(self, request: web.Request) -> web.StreamResponse:
        """Look at the chain now."""
        book = self._book
        await book.look(self._db)
        return web.json_response({**book.state(), "agreements": await book.agreements(self._db)})

    async def suspend(self, request: web.Request) -> web.StreamResponse:
        """Stop calls from now on."""
        raw = await request.read()
        body = SuspendBody.model_validate_json(raw) if raw else SuspendBody()
        await self._book.order(self._db, request.match_info["id"], "suspend", str(body.reason))
        return await self._one(request)

    async def lift(self, request: web.Request) -> web.StreamResponse:
        """Allow calls again."""
        await self._book.order(self._db, request.match_info["id"], "lift", "")
        return await self._one(request)

    async def end(self, request: web.Request) -> web.StreamResponse:
        """End an agreement after its notice period."""
        await self._book.order(self._db, request.match_info["id"], "close", "")
        return await self._one(request)

    async def dispute(self, request: web.Request) -> web.StreamResponse:
        """Contest a settlement; the answer holds the reason with its salt among the agreement's disputes."""
        body = DisputeBody.model_validate_json(await request.read())
        await self._book.dispute(self._db, request.match_info["id"], body.event_id, body.reason)
        return await self._one(request)

    async def _one(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._book.agreement(self._db, request.match_info["id"]))
