"""The contract `DRAgreement` as it is asked: what it holds after a block, and the data of calls to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any

from eth_abi.abi import encode

from ledger.agreement import (
    Booking,
    Outcome,
    Revision,
    Settled,
    Standing,
    Status,
    Suspender,
    Terms,
)
from ledger.contract_node import ContractNode, RevertedCallError
from ledger.errors import ChainError
from ledger.interface import interface
from ledger.state import keccak256

NAME = "DRAgreement"
BOOKING = "(bytes32,bytes32,bytes32,uint48,uint48,uint32,uint48,int48,uint8)"
CHANGE = ("uint16", "uint8", "int48", "bytes32")


@dataclass(frozen=True, slots=True)
class Booked:
    """An event of an agreement by the contract's own word: its key and the hashes of what it rests on."""

    event_key: bytes
    signal_hash: bytes
    response_hash: bytes
    measurement_hash: bytes


class AgreementContract:
    """The contract at an address, through a node."""

    def __init__(self, node: ContractNode, address: bytes) -> None:
        self.node = node
        self.address = address

    async def standing(self, agreement_id: bytes, block: int | None = None) -> Standing | None:
        """An agreement as it stands; None if the contract does not know it."""
        held = await self._ask("agreementOf", agreement_id, block=block, none_if="UnknownAgreement")
        if held is None:
            return None
        (terms, accepted_at, closes_at, debt, withdrawable), (stands,) = (
            held[0],
            await self._known("standingOf", agreement_id, block=block),
        )
        _, suspender, parties_active, earliest_due_at = stands
        with _readable("standingOf"):
            return Standing(
                _terms(terms),
                accepted_at,
                closes_at,
                debt,
                withdrawable,
                Suspender(suspender),
                parties_active,
                earliest_due_at,
            )

    async def settled(
        self, agreement_id: bytes, event_key: bytes, block: int | None = None
    ) -> Settled | None:
        """An event's money; None if it is not booked."""
        held = await self._ask("settlementOf", agreement_id, event_key, block=block, none_if="NotBooked")
        if held is None:
            return None
        (*facts, _, revision, outcome, status, waived), *money_and_times = held
        with _readable("settlementOf"):
            values: list[Any] = [*facts, revision, Outcome(outcome), Status(status), *money_and_times, waived]
        return Settled(*values)

    async def terms_hash(self, agreement_id: bytes) -> bytes:
        """What the node accepts."""
        return bytes((await self._known("termsHashOf", agreement_id))[0])

    async def booked(self, agreement_id: bytes, newest: int) -> list[Booked]:
        """The events of an agreement as they were booked, with the hashes of the newest revision."""
        known = interface(NAME)
        found: dict[bytes, dict[str, Any]] = {}
        for name in ("Booked", "Revised"):
            for entry in await self.node.events(self.address, known.topic(name), 0, newest):
                if entry.topics[1] == agreement_id:
                    found.setdefault(entry.topics[2], {}).update(known.data(name, entry.data))
        return [
            Booked(key, told["signalHash"], told["responseHash"], told["measurementHash"])
            for key, told in found.items()
        ]

    async def proposed(self, newest: int) -> list[bytes]:
        """The ids of all agreements in the order of their proposals."""
        entries = await self.node.events(self.address, interface(NAME).topic("Proposed"), 0, newest)
        return [entry.topics[1] for entry in entries]

    async def token_balance(self, account: bytes) -> int:
        """What an account has of the token in which incentives are paid, in minor units."""
        (token,) = await self._known("token")
        data = interface("EnergyToken").encode("balanceOf", account)
        answer = await self.node.ask_contract(bytes.fromhex(token[2:]), data)
        return int(interface("EnergyToken").decode("balanceOf", answer)[0])

    async def _known(self, function: str, *arguments: Any, block: int | None = None) -> tuple[Any, ...]:
        answer = await self.node.ask_contract(
            self.address, interface(NAME).encode(function, *arguments), block
        )
        return interface(NAME).decode(function, answer)

    async def _ask(
        self, function: str, *arguments: Any, block: int | None, none_if: str
    ) -> tuple[Any, ...] | None:
        try:
            return await self._known(function, *arguments, block=block)
        except RevertedCallError as error:
            if interface(NAME).refusal(error.data)[0] == none_if:
                return None
            raise


@contextmanager
def _readable(function: str) -> Iterator[None]:
    """ChainError where an answer has a number that names nothing, as another contract's can."""
    try:
        yield
    except ValueError as error:
        raise ChainError(f"the answer of {NAME}.{function} cannot be read: {error}") from error


def propose_call(agreement_id: bytes, terms: Terms) -> bytes:
    """The call data of a proposal."""
    return call("propose", agreement_id, astuple(terms))


def book_call(agreement_id: bytes, event_key: bytes, booking: Booking) -> bytes:
    """The call data of a booking."""
    return call("book", agreement_id, event_key, astuple(booking))


def revise_call(agreement_id: bytes, event_key: bytes, revision: Revision) -> bytes:
    """The call data of a revision."""
    return call("revise", agreement_id, event_key, *_change(revision))


def call(function: str, *arguments: Any) -> bytes:
    """The call data of any other function of the contract."""
    return interface(NAME).encode(function, *arguments)


def booking_hash(booking: Booking) -> bytes:
    """What the contract keeps of a booking."""
    return keccak256(encode([BOOKING], [astuple(booking)]))


def change_hash(revision: Revision) -> bytes:
    """What the contract keeps of the last revision."""
    return keccak256(encode(CHANGE, _change(revision)))


def refusal(data: bytes) -> tuple[str, str]:
    """The name of the clause that stood against a call, and the same in words with both values; errors of
    the token and the registry are known too.
    """
    told = ("", "")
    for name in (NAME, "EnergyToken", "ParticipantRegistry"):
        told = interface(name).refusal(data)
        if told[0]:
            return told
    return told


def _change(revision: Revision) -> Sequence[Any]:
    return (revision.number, revision.outcome, revision.delivered_wh, revision.measurement_hash)


def _terms(fields: Sequence[Any]) -> Terms:
    plain: list[Any] = [bytes.fromhex(field[2:]) if isinstance(field, str) else field for field in fields]
    return Terms(*plain)
