"""Messages that are bytes already, because the same ones are kept or come again."""

from __future__ import annotations

from dataclasses import dataclass

from openadr import Message, encode


@dataclass(frozen=True, slots=True)
class Written(Message):
    """A message in bytes."""

    body: bytes


def written(message: Message) -> bytes:
    """The bytes of any message."""
    return message.body if isinstance(message, Written) else encode(message)
