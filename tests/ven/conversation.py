"""A session of tests, and how a test talks with it: one answer after the other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import count

from openadr import EiResponse, Message
from tests.ven.messages import distribute, metadata_taken, ok, registered
from tests.ven.site import NOW, Site
from ven.saved import Saved
from ven.session import Session
from ven.settings import VenSettings
from ven.states import State

SETTINGS = VenSettings(
    vtn_url="http://127.0.0.1:1",
    insecure_dev=True,
    ven_name="alice",
    state_path="unused",  # type: ignore[arg-type] - a session opens no file
    poll_jitter=0.1,
)


def make_session(
    saved: Saved | None = None,
    site: Site | None = None,
    settings: VenSettings = SETTINGS,
    draw: Callable[[], float] = lambda: 0.5,
) -> Session:
    ids = (f"id-{number}" for number in count())
    return Session(settings, site or Site(), saved or Saved(), new_id=lambda: next(ids), draw=draw)


def talk(session: Session, *answers: Message, now: datetime = NOW) -> list[Message]:
    """Gives one answer after the other; the requests that they answered."""
    asked = []
    for answer in answers:
        asked.append(session.due(now)[0])
        session.receive(answer, now)
    return asked


def ready(*requests: object, site: Site | None = None, settings: VenSettings = SETTINGS) -> Session:
    """A session that has registered and asked for its events; `requests` came with the metadata's answer."""
    session = make_session(site=site, settings=settings)
    talk(session, registered(ven_id=None), registered(), metadata_taken(*requests))  # type: ignore[arg-type] - report requests
    if requests:
        talk(session, ok())
    talk(session, distribute())
    assert session.state is State.READY
    return session


def names(messages: list[Message]) -> list[str]:
    return [type(message).__name__ for message in messages]


def response_of(message: Message) -> EiResponse:
    response = getattr(message, "response", None)
    assert isinstance(response, EiResponse)
    return response
