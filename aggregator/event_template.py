"""Events as operators make them again and again, by name: when on a day, how much, of whom.

A template is a form that is filled already, no order: what comes of it is previewed and sent as any event.
Times are those of a wall clock in the zone of whoever wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import name as names
from aggregator.errors import RequestRefusedError, UnknownObjectError
from aggregator.operator_choice import StaleVersionError
from aggregator.schema import template_table

MOST = 200
LONGEST_NAME = 64


class TemplateNameError(RequestRefusedError):
    """Another template has this name."""

    http_status = 409


@dataclass(frozen=True, slots=True)
class Content:
    """What a template fills in; `nodes` are W by name, an end at or before the start is on the next day."""

    start: time
    end: time
    zone: str
    power_w: int | None
    nodes: Mapping[str, int] | None
    test_event: bool = False

    def text(self) -> str:
        """Canonical text."""
        content = {
            "start": f"{self.start:%H:%M}",
            "end": f"{self.end:%H:%M}",
            "zone": self.zone,
            "power_w": self.power_w,
            "nodes": None if self.nodes is None else dict(self.nodes),
            "test_event": self.test_event,
        }
        return json.dumps(content, sort_keys=True, ensure_ascii=False)

    @classmethod
    def read(cls, text: str) -> Content:
        """The content behind `text`."""
        kept = json.loads(text)
        start, end = time.fromisoformat(kept["start"]), time.fromisoformat(kept["end"])
        return cls(start, end, kept["zone"], kept["power_w"], kept["nodes"], kept["test_event"])


@dataclass(frozen=True, slots=True)
class Template:
    """One template; `changed_by` is a user's id."""

    template_id: str
    name: str
    content: Content
    version: int
    changed_at: datetime
    changed_by: str


async def templates(conn: AsyncConnection) -> Sequence[Template]:
    """All of them by name."""
    rows = await conn.execute(select(template_table).order_by(template_table.c.name_key))
    return [_template(row) for row in rows]


async def find(conn: AsyncConnection, template_id: str) -> Template:
    """One; UnknownObjectError."""
    t = template_table
    row = (await conn.execute(select(t).where(t.c.template_id == template_id))).first()
    if row is None:
        raise UnknownObjectError(f"there is no template {template_id[:128]!r}")
    return _template(row)


async def add(conn: AsyncConnection, new: Template) -> Template:
    """Keep a new template; the same id again is the same template. TemplateNameError, RequestRefusedError."""
    t = template_table
    if (await conn.execute(select(t.c.version).where(t.c.template_id == new.template_id))).first():
        return await find(conn, new.template_id)
    if int((await conn.execute(select(func.count()).select_from(t))).scalar_one()) >= MOST:
        raise RequestRefusedError(f"there are {MOST} templates: delete one that nobody needs")
    await _check_name(conn, new)
    await conn.execute(insert(t).values(template_id=new.template_id, **_values(new)))
    return new


async def change(conn: AsyncConnection, new: Template, seen: int) -> Template:
    """Replace a template of which the version `seen` was looked at; as it stands then. StaleVersionError."""
    before = await _as_seen(conn, new.template_id, seen)
    await _check_name(conn, new)
    changed = Template(
        new.template_id, new.name, new.content, before.version + 1, new.changed_at, new.changed_by
    )
    t = template_table
    await conn.execute(update(t).where(t.c.template_id == new.template_id).values(**_values(changed)))
    return changed


async def remove(conn: AsyncConnection, template_id: str, seen: int) -> Template:
    """Delete a template of which the version `seen` was looked at; what it was. StaleVersionError."""
    before = await _as_seen(conn, template_id, seen)
    await conn.execute(delete(template_table).where(template_table.c.template_id == template_id))
    return before


async def _as_seen(conn: AsyncConnection, template_id: str, seen: int) -> Template:
    current = await find(conn, template_id)
    if current.version != seen:
        raise StaleVersionError(
            f"somebody else has changed it: it is at version {current.version}, and you have seen {seen}"
        )
    return current


async def _check_name(conn: AsyncConnection, new: Template) -> None:
    t = template_table.c
    taken = select(t.template_id).where(t.name_key == names.compared(new.name))
    if (await conn.execute(taken.where(t.template_id != new.template_id))).first():
        raise TemplateNameError(f"name: another template is called {new.name!r}")


def _values(template: Template) -> dict[str, Any]:
    return {
        "name": template.name,
        "name_key": names.compared(template.name),
        "content": template.content.text(),
        "version": template.version,
        "changed_at": template.changed_at,
        "changed_by": template.changed_by,
    }


def _template(row: Any) -> Template:
    return Template(
        row.template_id, row.name, Content.read(row.content), row.version, row.changed_at, row.changed_by
    )
