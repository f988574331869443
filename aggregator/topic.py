"""What a page can be told has changed: the topics of the dashboard's live connection."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Topic(StrEnum):
    """What parts of pages wait for, as `live:TOPIC`."""

    PORTFOLIO = "portfolio"
    NODES = "nodes"
    EVENTS = "events"
    REPORTS = "reports"
    STATEMENTS = "statements"
    LEDGER = "ledger"
    ALARMS = "alarms"


@dataclass(frozen=True, slots=True)
class Changed:
    """The notice to `vtn.store.after_commit` for what stands in no journal; `ven_id` None: for
    whoever may see the fleet."""

    topic: Topic
    ven_id: str | None = None
