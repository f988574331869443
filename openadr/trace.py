"""A recorded conversation: a directory of exchanges in order, and what the checker says of it.

Exchange NNNN lies in `NNNN-request.xml` and `NNNN-response.xml`, bodies as they went over the wire; an empty
or missing response file is an empty body. Other files are ignored.
"""

import errno
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from openadr.checker import Outcome, Verdict, check_bytes
from openadr.codec import decode
from openadr.conversation import Conversation
from openadr.errors import ProtocolError
from openadr.finding import Finding
from openadr.parser import DEFAULT_LIMITS
from openadr.remark import Party, Remark
from openadr.wire import Message

_REQUEST, _RESPONSE = "-request.xml", "-response.xml"
_NO_RULE = "GEN-01"
"""What is neither well-formed nor valid under the schema has broken this one."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of a VEN with the VTN's reply, as bytes; an empty reply is `b""`."""

    name: str
    request: bytes
    response: bytes = b""


def read_trace(directory: Path) -> Iterator[Exchange]:
    """The exchanges of a directory in the order of their names; OSError if a file cannot be read."""
    for path in sorted(directory.glob(f"*{_REQUEST}")):
        name = path.name.removesuffix(_REQUEST)
        answer = path.with_name(name + _RESPONSE)
        yield Exchange(name, read_file(path), read_file(answer) if answer.exists() else b"")


def read_file(path: Path, *, regular: bool = True) -> bytes:
    """What a file holds, no more than a message may. `regular`: OSError where it is a pipe, which may wait
    for ever, or a device.
    """
    if regular and not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    with path.open("rb") as file:
        return file.read(DEFAULT_LIMITS.max_report_bytes + 1)


def judge(exchanges: Iterable[Exchange]) -> Iterator[tuple[Exchange, Remark]]:
    """Everything that is to be said of a conversation, exchange by exchange: each message by itself, then
    what it means after the messages before.
    """
    conversation = Conversation()
    for exchange in exchanges:
        for remark in judge_exchange(conversation, exchange):
            yield exchange, remark


def judge_exchange(conversation: Conversation, exchange: Exchange) -> list[Remark]:
    """The remarks on the next exchange of a conversation."""
    remarks = []
    for party, raw in ((Party.VEN, exchange.request), (Party.VTN, exchange.response)):
        if raw:
            remarks += [Remark(party, finding) for finding in _alone(check_bytes(raw))]
    return remarks + conversation.hear(_message(exchange.request), _message(exchange.response))


def _alone(verdict: Verdict) -> list[Finding]:
    if verdict.findings or verdict.outcome is Outcome.OK:
        return list(verdict.findings)
    return [Finding(verdict.rule or _NO_RULE, verdict.text)]


def _message(raw: bytes) -> Message | None:
    try:
        return decode(raw) if raw else None
    except ProtocolError:
        return None
