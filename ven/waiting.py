"""What a VEN has to say and the VTN has not answered yet: answers, requests of the conversation, own words.

Rules:
- what stands first may be under way and is never changed; the rest goes out in order;
- answers and own words outlive a restart, requests of the conversation are made anew;
- own words (opts, wishes about the VTN's reports) are held back until the VTN has listed its events (REG-11);
  said before, or not heard before the registration was lost, they go out under the next one's venID;
- an answer that says again what the VTN has heard, to a message that changed nothing, does not outlive a
  restart: a VTN that repeats its list or its requests at each poll asks again, and a card wears out;
- a newer word takes the place of an older one about the same that nobody can have heard, and no more than
  `LIMIT` wait: a site may go on talking for weeks while the VTN is away.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from openadr import (
    CanceledReport,
    CancelOpt,
    CancelReport,
    CreatedEvent,
    CreatedReport,
    CreateOpt,
    CreateReport,
    Message,
    ProtocolError,
    RegisteredReport,
)
from openadr.codec import decode, encode
from openadr.errors import EncodeError
from openadr.parser import OWN
from ven import opt
from ven.states import ANSWERS

LIMIT = 100
"""Own words that wait for the VTN."""
ROUNDS = 3
"""How often an own word that the VTN breaks at is put off."""
TOLD_KEPT = 1000
"""Words that the VTN has heard: of that many events at most."""
_REPEATED = (CreatedEvent, CreatedReport, RegisteredReport, CanceledReport)
_OWN = (CreateOpt, CancelOpt, CreateReport, CancelReport)
_OF_OPTS = (CreateOpt, CancelOpt)


class Waiting:
    """The messages to send, first in first out."""

    def __init__(self, kept: Iterable[Message], *, heard: bool) -> None:
        """Goes on with what was `kept`; `heard`: own words may go out at once."""
        messages = tuple(kept)
        self._queue = deque(each for each in messages if heard or not isinstance(each, _OWN))
        self._put_off: dict[Message, int] = {}
        self._told: dict[str, object] = {}  # what the VTN has heard last, by event or kind of message
        self._passing: list[Message] = []  # answers that do not outlive a restart
        self._held: list[Message] = [] if heard else [each for each in messages if isinstance(each, _OWN)]

    def __bool__(self) -> bool:
        """Whether anything is to be sent now."""
        return bool(self._queue)

    def __contains__(self, message: Message) -> bool:
        """Whether it is to be sent now."""
        return message in self._queue

    @property
    def now(self) -> list[Message]:
        """What is to be sent now, in order."""
        return list(self._queue)

    @property
    def first(self) -> Message:
        """What is sent next, or is under way; IndexError while there is nothing."""
        return self._queue[0]

    @property
    def kept(self) -> tuple[Message, ...]:
        """What must outlive a restart."""
        lasting = (each for each in self._queue if isinstance(each, (*ANSWERS, *_OWN)))
        return (*(each for each in lasting if each not in self._passing), *self._held)

    def add(self, messages: Iterable[Message], *, news: bool = True) -> bool:
        """Adds answers and requests of the conversation; `news`: they follow from something new.

        Gives whether any of them is more than the VTN has heard.
        """
        added = tuple(messages)
        passing = [each for each in added if not news and self._is_told(each)]
        self._passing += passing
        self._queue.extend(added)
        return len(passing) < len(added)

    def _is_told(self, message: Message) -> bool:
        """Whether just this is what the VTN has heard last."""
        words = _words(message)
        return bool(words) and all(self._told.get(key) == said for key, said in words.items())

    def put_first(self, message: Message) -> None:
        """Sends it before everything else; only while nothing is under way."""
        self._queue.appendleft(message)

    def answered(self) -> Message:
        """Takes away what stood first."""
        first = self._queue.popleft()
        if first in self._passing:
            self._passing.remove(first)
            return first
        for key, said in _words(first).items():
            self._told.pop(key, None)
            self._told[key] = said
        while len(self._told) > TOLD_KEPT:
            del self._told[next(iter(self._told))]
        return first

    def put_off(self) -> bool:
        """Lets the own words wait until the VTN has answered something else; False where what stands first is
        none, or was put off too often.
        """
        first = self.first
        rounds = self._put_off.get(first, 0)
        if rounds >= ROUNDS or not isinstance(first, _OWN):
            self._put_off.pop(first, None)
            return False
        words = [each for each in self._queue if isinstance(each, _OWN)]
        self._put_off = {each: count for each, count in self._put_off.items() if each in words}
        self._put_off[first] = rounds + 1
        self._held[:0] = words  # in their order
        self._queue = deque(each for each in self._queue if each not in words)
        return True

    def say(self, message: Message, *, heard: bool) -> None:
        """Adds a word of the site's own, which waits unless `heard`.

        ValueError where too many wait, or where no message can say it; then nothing has changed.
        """
        _check_carried(message)
        waiting = [*self.now[1:], *self._held]
        outdated = [each for each in waiting if _replaces(message, each)]
        own = sum(isinstance(each, _OWN) for each in waiting) - len(outdated)
        if isinstance(message, _OWN) and own >= LIMIT:
            raise ValueError(f"{own} words of the site wait for the VTN, no more than {LIMIT} may")
        for each in outdated:
            (self._held if each in self._held else self._queue).remove(each)
            if each in self._passing:
                self._passing.remove(each)
        (self._queue if heard or not isinstance(message, _OWN) else self._held).append(message)

    def lost(self) -> None:
        """The VTN does not know us: what was said of opts is kept for the next registration."""
        self._held = [each for each in (*self._queue, *self._held) if isinstance(each, _OF_OPTS)]
        self._forget()

    def ended(self) -> None:
        """The registration was ended: what waited was said to a VTN that is none any more (REG-19)."""
        self._held.clear()
        self._forget()

    def _forget(self) -> None:
        self._queue.clear()
        self._passing.clear()
        self._told.clear()

    def heard(self, ven_id: str) -> None:
        """Lets the words go that were held back, under this venID."""
        self._queue.extend(opt.readdressed(each, ven_id) for each in self._held)
        self._held.clear()


def _check_carried(message: Message) -> None:
    """ValueError where a word could be neither sent nor read again after a restart."""
    try:
        decode(encode(message), OWN)
    except (EncodeError, ProtocolError) as error:
        raise ValueError(f"no message can say this: {error}") from error


def _words(message: Message) -> dict[str, object]:
    """What an answer that may be repeated says, by event or kind, without the id of what it answers."""
    if not isinstance(message, _REPEATED):
        return {}
    if isinstance(message, CreatedEvent) and message.event_responses:
        return {each.event_id: replace(each, request_id="") for each in message.event_responses}
    response = replace(message.response, request_id="")
    return {f"/{type(message).__name__}": replace(message, response=response)}


def _replaces(newer: Message, older: Message) -> bool:
    """Whether the older word means nothing any more once the newer is said."""
    match newer, older:
        case CreatedEvent(), CreatedEvent():
            return _events_of(newer) == _events_of(older)
        case CreateOpt(), CreateOpt():
            return opt.supersedes(newer, older)
        case CancelOpt(), CreateOpt():
            return newer.opt_id == older.opt_id
        case _:
            return False


def _events_of(message: CreatedEvent) -> list[tuple[str, int]]:
    return [(each.event_id, each.modification_number) for each in message.event_responses]
