"""What admins set in the dashboard, as documents of the database: whom to tell of alarms, how the dashboard
looks, how long things are kept, how much may be asked at once. Addresses of servers, secrets and networks
stand in the TOML alone.

Rules: a document is replaced as a whole, and only by somebody who has seen the one before (its version).
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, TypeVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import name as names
from aggregator.access.errors import FieldError
from aggregator.alarm import Severity
from aggregator.alarm_schema import setting_table
from aggregator.errors import RequestRefusedError
from aggregator.limit_settings import Kilowatts
from vtn.store import Database

MOST_TARGETS = 10
ZONES = tuple(sorted(available_timezones()))
LONGEST_URL = 500
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


class StaleVersionError(RequestRefusedError):
    """Somebody else has changed it since; look at what stands there now."""

    http_status = 409


def _seen(text: str) -> str:
    """The text, whose letters can all be seen."""
    try:
        return names.checked("it", text, 64)
    except FieldError as error:
        raise ValueError(error.text) from None


def _url(text: str) -> str:
    if len(text) > LONGEST_URL or any(unicodedata.category(letter)[0] in "CZ" for letter in text):
        raise ValueError("an address has at most 500 letters, without spaces or invisible ones")
    try:
        parts = urlsplit(text)
        fits = parts.scheme in {"https", "http"} and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc or parts.fragment:
        raise ValueError(f"{text[:80]!r} is no address such as https://hooks.example/flexpact")
    return text


def _mail(text: str) -> str:
    if not _MAIL.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no mail address")
    return text


def _zone(text: str) -> str:
    if text and text not in ZONES:
        raise ValueError("there is no such time zone")
    return text


Url = Annotated[str, AfterValidator(_url)]
Mail = Annotated[str, AfterValidator(_mail)]
Mails = Annotated[tuple[Mail, ...], Field(max_length=MOST_TARGETS)]


class Document(BaseModel):
    """One part of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoticeChoice(Document):
    """Who is told of what."""

    webhooks: Annotated[tuple[Url, ...], Field(max_length=MOST_TARGETS)] = ()
    mail_to: Mails = ()
    least: Annotated[int, Field(ge=1, le=3)] = Severity.WARNING
    """Severity from which on alarms are told: 1 to 3."""
    events: bool = False
    """Whether events that are sent and cancelled are told too."""
    escalate_after_min: Annotated[int, Field(ge=0, le=1440)] = 15
    """Minutes until an alarm that nobody has acknowledged is told again; 0: never."""
    escalate_to: Mails = ()


class DisplayChoice(Document):
    """How the dashboard looks to whoever has not chosen otherwise."""

    brand: Annotated[str, Field(max_length=64), AfterValidator(_seen)] = "flexpact"
    time_zone: Annotated[str, AfterValidator(_zone)] = ""
    """IANA name; empty: the programme's."""


class RetentionChoice(Document):
    """How long what nobody needs any more is kept."""

    alarm_days: Annotated[int, Field(ge=7, le=3650)] = 365
    notice_days: Annotated[int, Field(ge=1, le=3650)] = 30


class LimitChoice(Document):
    """Stricter limits than those of the settings file; what is None is as the file says."""

    approval_above_kw: Kilowatts | None = None
    approval_above_share: Annotated[Decimal, Field(ge=0, le=1)] | None = None
    approval_expires_s: Annotated[int, Field(ge=60, le=7 * 86_400)] | None = None
    max_concurrent_kw: Kilowatts | None = None
    max_ramp_kw_per_min: Kilowatts | None = None
    max_events_per_day: Annotated[int, Field(ge=1, le=10_000)] | None = None


D = TypeVar("D", bound=Document)
NAMES: dict[type[Document], str] = {
    NoticeChoice: "notices",
    DisplayChoice: "display",
    RetentionChoice: "retention",
    LimitChoice: "limits",
}


@dataclass(slots=True)
class Display:
    """How the dashboard looks now: read at the start, and set by whoever changes it."""

    now: DisplayChoice

    @classmethod
    async def load(cls, db: Database) -> Display:
        """As the database has it."""
        async with db.read() as conn:
            return cls((await read(conn, DisplayChoice))[0])


async def read(conn: AsyncConnection, kind: type[D]) -> tuple[D, int]:
    """A document and its version, 0 where none was written; the default of each field that this program
    cannot read: of limits, `unreadable` names them, and a default limits nothing.
    """
    t = setting_table.c
    query = select(t.content, t.version).where(t.name == NAMES[kind])
    row = (await conn.execute(query)).first()
    return (kind(), 0) if row is None else (_parsed(kind, row.content)[0], row.version)


async def unreadable(conn: AsyncConnection, kind: type[Document]) -> list[str]:
    """The fields of what was written that this program cannot read: damaged, or of another version of it."""
    query = select(setting_table.c.content).where(setting_table.c.name == NAMES[kind])
    content = (await conn.execute(query)).scalar_one_or_none()
    return [] if content is None else _parsed(kind, content)[1]


def _parsed(kind: type[D], content: str) -> tuple[D, list[str]]:
    """What can be read, field by field, and the names of what cannot."""
    try:
        return kind.model_validate_json(content), []
    except ValidationError as error:
        faulty = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
    if not faulty:  # no document at all
        return kind(), sorted(kind.model_fields)
    rest = {name: value for name, value in json.loads(content).items() if name not in faulty}
    return kind.model_validate_json(json.dumps(rest)), sorted(faulty)


async def write(conn: AsyncConnection, new: Document, version: int, user_id: str, now: datetime) -> int:
    """Replace a document of this version; the new version. StaleVersionError names what has changed since."""
    _, current = await read(conn, type(new))
    if version != current:
        raise StaleVersionError(
            f"somebody else has changed this: it is at version {current}, and you have seen {version}"
        )
    values = {
        "content": new.model_dump_json(),
        "version": current + 1,
        "changed_at": now,
        "changed_by": user_id,
    }
    t, name = setting_table, NAMES[type(new)]
    if current:
        await conn.execute(update(t).where(t.c.name == name).values(values))
    else:
        await conn.execute(insert(t).values(name=name, **values))
    return current + 1


async def last_change(conn: AsyncConnection, kind: type[Document]) -> tuple[datetime, str] | None:
    """When a document was replaced last, and by whom (a user's id); None where it never was."""
    t = setting_table.c
    row = (await conn.execute(select(t.changed_at, t.changed_by).where(t.name == NAMES[kind]))).first()
    return None if row is None else (row.changed_at, row.changed_by)


def changed_fields(before: Document, after: Document) -> list[str]:
    """The names of the fields that differ, for the trail."""
    old, new = before.model_dump(), after.model_dump()
    return [name for name in new if new[name] != old[name]]
