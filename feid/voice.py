"""What the people and programs of a site say to their box: on a Unix socket, one line of JSON in, one out.

    {"op": "events"}                                      what is asked of the site, and its answers
    {"op": "opt", "event_id": ID, "opt": "optOut"}        takes part in an event after all, or no more
    {"op": "schedule", "opt": "optOut", "start": TIME, "hours": 4}     when it does not take part at all
    {"op": "schedules"}                                   the schedules that hold, with their ids
    {"op": "withdraw", "opt_id": ID}                      takes a schedule back
    {"op": "leave"}                                       ends the registration
    {"op": "status"}                                      how the box stands with its VTN

The answer is {"result": ...} or {"error": sentence}. Whoever may open the socket may say so, and that is its
owner alone. What is said holds when the answer comes; the VTN is told when it can be reached (`ven.voice`).
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from feid import outcome
from feid.errors import SettingsError
from openadr import ActivePeriod, CreateOpt, Duration
from openadr.enums import OptReason, OptType
from ven.errors import StateError
from ven.event import HeldEvent
from ven.voice import Voice

MAX_LINE = 65_536
PROBE_S = 2.0
LONGEST = timedelta(days=366)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""The latest start of a schedule, so that its end is a date too."""
Request = Mapping[str, Any]


class RefusedError(Exception):
    """What is asked cannot be done; the text says why."""


class Desk:
    """Answers lines; `hear` gives it the voice as soon as the VEN runs."""

    def __init__(self, clock: Callable[[], datetime], audited: Path | None = None) -> None:
        """`clock` gives aware UTC; `audited` is where the last audit has left its result."""
        self._clock = clock
        self._audited = audited
        self._voice: Voice | None = None
        self._ops: dict[str, Callable[[Voice, Request], object]] = {
            "events": self._events,
            "opt": self._opt,
            "schedule": self._schedule,
            "schedules": self._schedules,
            "withdraw": self._withdraw,
            "leave": self._leave,
            "status": self._status,
        }

    def hear(self, voice: Voice) -> None:
        """From now on it speaks with this voice."""
        self._voice = voice

    def answer(self, line: bytes) -> bytes:
        """The answer to one line, a line."""
        try:
            reply: dict[str, object] = {"result": self._done(_request(line))}
        except (RefusedError, ValueError, StateError) as error:
            reply = {"error": str(error)}
        return json.dumps(reply).encode() + b"\n"

    def _done(self, request: Request) -> object:
        op = request.get("op")
        if not isinstance(op, str) or op not in self._ops:
            raise RefusedError(f"op {op!r} is unknown; there are {', '.join(self._ops)}")
        if self._voice is None:
            raise RefusedError("the VEN does not run yet: say it again")
        return self._ops[op](self._voice, request)

    def _events(self, voice: Voice, _: Request) -> object:
        return [_event(held, self._clock()) for held in voice.session.saved.events.values()]

    def _opt(self, voice: Voice, request: Request) -> object:
        event_id = _text(request, "event_id")
        held = voice.session.saved.events.get(event_id)
        if held is None:
            raise RefusedError(f"event {event_id} is not known here")
        if held.code != "200" or held.event.is_cancelled:
            raise RefusedError(f"event {event_id} is cancelled, or was refused: {held.description}")
        if held.end is not None and held.end <= self._clock():
            raise RefusedError(f"event {event_id} is over")
        voice.change(event_id, _opt(request))
        return _event(voice.session.saved.events[event_id], self._clock())

    def _schedule(self, voice: Voice, request: Request) -> object:
        hours = request.get("hours")
        if isinstance(hours, bool) or not isinstance(hours, int | float) or not hours > 0:
            raise RefusedError(f"hours must be a number above 0, got {hours!r}")
        if hours > LONGEST / timedelta(hours=1):
            raise RefusedError(f"hours must be a year at most, got {str(hours)[:20]}")
        start = _moment(request, "start") if request.get("start") is not None else self._clock()
        start = start.replace(microsecond=0)
        if start > LATEST:
            raise RefusedError(f"start must be in the year {LATEST.year} at the latest, got {start}")
        programme = None if request.get("programme") is None else _text(request, "programme")
        span = timedelta(seconds=round(hours * 3600))
        if span < timedelta(seconds=1) or start + span <= self._clock():
            raise RefusedError(f"{start.isoformat()} and {hours:g} h: that is over")
        period = ActivePeriod(dtstart=start, duration=Duration.of(span))
        reason = OptReason.SCHEDULE if request.get("reason") is None else _text(request, "reason")
        if reason not in list(OptReason) and not reason.startswith("x-"):
            raise RefusedError(f"reason must be of {', '.join(OptReason)} or begin with x-, got {reason!r}")
        return {"opt_id": voice.declare(_opt(request), [period], reason=reason, market_context=programme)}

    def _schedules(self, voice: Voice, _: Request) -> object:
        return [_said(each) for each in voice.session.saved.opts if each.event_id is None]

    def _withdraw(self, voice: Voice, request: Request) -> object:
        opt_id = _text(request, "opt_id")
        voice.withdraw(opt_id)
        return {"opt_id": opt_id}

    def _leave(self, voice: Voice, _: Request) -> object:
        voice.leave()
        return self._status(voice, {})

    def _status(self, voice: Voice, _: Request) -> object:
        session, known = voice.session, voice.session.saved.registration
        return {
            "state": str(session.state),
            "ven_id": known.ven_id if known else None,
            "vtn_id": known.vtn_id if known else None,
            "leaving": session.saved.leaving,
            "answers_waiting": len(session.saved.answers),
            "audit": outcome.read(self._audited) if self._audited else None,
        }


def _request(line: bytes) -> Request:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"not a line of JSON: {error}") from error
    if not isinstance(request, dict):
        raise RefusedError(f"a request is a JSON object, got {type(request).__name__}")
    return request


def _text(request: Request, name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedError(f"{name} must be a text, got {value!r}")
    return value


def _opt(request: Request) -> OptType:
    value = request.get("opt")
    if value not in list(OptType):
        raise RefusedError(f"opt must be optIn or optOut, got {value!r}")
    return OptType(value)


def _moment(request: Request, name: str) -> datetime:
    value = _text(request, name)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise RefusedError(f"{name} must say its offset from UTC, got {value!r}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RefusedError(f"{name} must be a date and time, got {value!r}") from error


def _event(held: HeldEvent, now: datetime) -> dict[str, object]:
    end = held.end
    return {
        "event_id": held.event.event_id,
        "start": held.start.isoformat(),
        "end": None if end is None else end.isoformat(),
        "programme": held.event.descriptor.market_context,
        "opt": str(held.opt_type),
        "code": held.code,
        "cancelled": held.event.is_cancelled or held.vanished,
        "over": end is not None and end <= now,
    }


def _said(each: CreateOpt) -> dict[str, object]:
    return {
        "opt_id": each.opt_id,
        "opt": str(each.opt_type),
        "programme": each.market_context,
        "periods": [
            {"start": part.dtstart.isoformat(), "end": part.end.isoformat() if part.end else None}
            for part in each.availability
        ],
    }


async def listen(path: Path, desk: Desk) -> None:
    """Answers on a socket of its owner's alone until it is cancelled; SettingsError where it cannot."""
    peers: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = asyncio.create_task(_serve(desk, reader, writer))
        peers.add(peer)
        peer.add_done_callback(peers.discard)

    server = await asyncio.start_unix_server(accept, sock=bound(path), limit=MAX_LINE)
    try:
        # not `serve_forever`: cancelled, that of Python 3.12 waits for the last peer to go
        await asyncio.Event().wait()
    finally:
        server.close()
        for peer in peers:
            peer.cancel()
        await asyncio.gather(*peers, return_exceptions=True)
        _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _serve(desk: Desk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(ConnectionError, ValueError):  # gone, or a line that is too long
            while line := await reader.readline():
                writer.write(desk.answer(line))
                await writer.drain()
    finally:
        writer.close()


def bound(path: Path) -> socket.socket:
    """A socket at a path where nothing is, or nobody answers; SettingsError where it cannot be."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # the owner's alone from its first instant on
    try:
        _make_way(path)
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen on {path}: {error.strerror or error}") from error
    except SettingsError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _make_way(path: Path) -> None:
    """Removes a socket that a killed box has left."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise SettingsError(f"cannot listen on {path}: another box answers there, stop it first")
