"""A VTN without a socket: messages go to `vtn.exchange` as bytes, on a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from openadr import (
    CreatedEvent,
    CreatePartyRegistration,
    DistributeEvent,
    EiResponse,
    Event,
    EventResponse,
    Message,
    Poll,
    ProtocolError,
    RequestEvent,
    Response,
    decode,
    encode,
)
from openadr.enums import OptType
from tests.vtn.desk import ALICE, NOW, anything_goes, request_all
from ven.transport import service_of
from vtn import event, outbox, registration
from vtn.exchange import Peer, Terms, exchange, refusal
from vtn.store import Database
from vtn.written import written


@dataclass
class Counter:
    """One registered VEN, for which nothing waits, before its VTN."""

    db: Database
    ven_id: str = ""
    now: datetime = NOW

    @classmethod
    async def open(cls, db: Database) -> Counter:
        counter = cls(db)
        async with db.write() as conn:
            counter.ven_id = await registration.enrol(conn, "alice", ALICE, NOW)
        await counter.ask(CreatePartyRegistration(request_id="r", ven_name="alice", http_pull_model=True))
        async with db.write() as conn:
            await outbox.withdraw(conn, counter.ven_id, outbox.REGISTER_REPORT)
        return counter

    async def ask(self, message: Message, who: str = ALICE) -> Message:
        terms = Terms(vtn_id="FLEXPACT", poll_period_s=60, request_reports=request_all)
        peer = Peer(who, None)
        try:
            async with self.db.write() as conn:
                peer = Peer(who, await registration.ven_of(conn, who, self.now))
                asked = decode(encode(message))
                reply = await exchange(asked, service_of(asked), peer, conn, self.now, terms=terms)
        except ProtocolError as error:
            reply = refusal(message, error, peer, terms)
        return decode(written(reply))

    async def poll(self) -> list[Event] | None:
        """The events that a poll is told of; None: nothing waits."""
        reply = await self.ask(Poll(ven_id=self.ven_id))
        if isinstance(reply, Response):
            return None
        assert isinstance(reply, DistributeEvent), reply
        return list(reply.events)

    async def request(self, reply_limit: int | None = None) -> DistributeEvent:
        reply = await self.ask(RequestEvent(request_id="q7", ven_id=self.ven_id, reply_limit=reply_limit))
        assert isinstance(reply, DistributeEvent)
        return reply

    async def listed(self, reply_limit: int | None = None) -> list[str]:
        return [item.event_id for item in (await self.request(reply_limit)).events]

    async def answer(self, *told: Event, opt: OptType = OptType.OPT_IN, code: str = "200") -> str:
        """The code of the reply to one CreatedEvent for these events."""
        responses = tuple(
            EventResponse(
                code=code,
                request_id="d1",
                event_id=each.event_id,
                modification_number=each.modification_number,
                opt_type=opt,
            )
            for each in told
        )
        reply = await self.ask(
            CreatedEvent(response=EiResponse.ok(), event_responses=responses, ven_id=self.ven_id)
        )
        assert isinstance(reply, Response)
        return reply.response.code

    async def publish(self, made: Event) -> None:
        async with self.db.write() as conn:
            await event.publish(conn, made, self.ven_id, self.now, anything_goes)

    async def modify(self, made: Event) -> None:
        async with self.db.write() as conn:
            await event.modify(conn, made, self.ven_id, self.now, anything_goes)

    async def cancel(self, event_id: str = "e1", reason: str | None = None) -> None:
        async with self.db.write() as conn:
            await event.cancel(conn, event_id, self.ven_id, self.now, reason)

    async def state(self, event_id: str = "e1") -> event.EventState:
        async with self.db.read() as conn:
            (found,) = await event.event_states(conn, event_id)
        return found

    async def overlaps(self, made: Event) -> list[str]:
        async with self.db.read() as conn:
            return [each.event_id for each in await event.overlaps(conn, made, self.ven_id, self.now)]
