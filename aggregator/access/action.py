"""The trail: who tried what, with which objects, and what came of it, as facts of the journal.

Rules: each action of somebody who is known is one fact, in the transaction of the change where there is one;
facts become leaves of the log, so an action cannot be taken out later. People are named by their random id.
Of what was sent the fact holds a hash only, and passwords, codes and tokens are not even in that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.principal import Principal
from aggregator.access.secret import new_id
from vtn import journal
from vtn.schema import journal_table

KIND = "action"
BY_SOCKET = "operator"  # whoever may open the control socket
HIDDEN = frozenset(
    {"csrf", "password", "password_again", "new_password", "code", "recovery_code", "token", "secret", "link"}
)


class Outcome(StrEnum):
    """What came of an action."""

    DONE = "done"
    REFUSED = "refused"  # not permitted, or no form of ours
    FAILED = "failed"  # permitted, and not possible as asked


@dataclass(slots=True, kw_only=True)
class Action:
    """One request that would change something. `record` writes it once; later calls write nothing.

    `reason` is why, in the words of who did it; it stands in the line unless there is more to say.
    """

    what: str
    principal: Principal
    objects: list[str] = field(default_factory=list)
    form_sha256: str = ""
    reason: str = ""
    who: str | None = None
    action_id: str = field(default_factory=lambda: new_id("a"))
    recorded: bool = False

    @property
    def is_due(self) -> bool:
        """Whether it is still to be written; of nobody who is known there is no line, for anybody could
        fill the log with them.
        """
        return not self.recorded and (self.who or self.principal.user_id) is not None

    async def record(self, conn: AsyncConnection, outcome: Outcome, now: datetime, detail: str = "") -> None:
        """Write the fact, if it is due."""
        if not self.is_due:
            return
        body = {
            "who": self.who or self.principal.user_id,
            "role": str(self.principal.role or ""),
            "by": self.principal.token_id or self.principal.session_id or "",
            "what": self.what,
            "objects": list(dict.fromkeys(self.objects)),
            "outcome": str(outcome),
            "detail": detail or self.reason,
            "form_sha256": self.form_sha256,
        }
        await journal.record(conn, KIND, "", self.action_id, body=body, now=now)


ACTION = web.RequestKey("action", Action)


def form_hash(action_id: str, fields: Iterable[tuple[str, Any]]) -> str:
    """The hash of what was sent, without what is secret; the action's id keeps equal forms apart."""
    shown = sorted((name, str(value)) for name, value in fields if name not in HIDDEN)
    if not shown:
        return ""
    text = json.dumps([action_id, shown], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def named_objects(path: Mapping[str, str]) -> list[str]:
    """The objects that an address names."""
    return [f"{name}={value[:128]}" for name, value in path.items() if name not in HIDDEN]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the trail."""

    seq: int
    at: datetime
    who: str
    role: str
    by: str
    what: str
    objects: tuple[str, ...]
    outcome: str
    detail: str
    form_sha256: str


async def trail(
    conn: AsyncConnection,
    *,
    who: str | None = None,
    what: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> Sequence[Entry]:
    """The newest actions first, of one person or one kind where these are given, with numbers below
    `before`.
    """
    t = journal_table
    query = select(t.c.seq, t.c.at, t.c.body).where(t.c.kind == KIND)
    if before is not None:
        query = query.where(t.c.seq < before)
    if who is not None:
        query = query.where(t.c.body["who"].as_string() == who)
    if what is not None:
        query = query.where(t.c.body["what"].as_string() == what)
    rows = await conn.execute(query.order_by(t.c.seq.desc()).limit(limit))
    return [_entry(seq, at, body) for seq, at, body in rows]


def _entry(seq: int, at: datetime, body: Mapping[str, Any]) -> Entry:
    return Entry(
        seq=seq,
        at=at,
        who=body["who"],
        role=body["role"],
        by=body["by"],
        what=body["what"],
        objects=tuple(body["objects"]),
        outcome=body["outcome"],
        detail=body["detail"],
        form_sha256=body["form_sha256"],
    )
