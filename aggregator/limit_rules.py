"""The limits that bind: what admins have set, where that is stricter than the settings file.

The file belongs to the machine and is the upper bound: nobody in the dashboard gets beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import operator_choice
from aggregator.clearance import Rules
from aggregator.limit_settings import LimitSettings
from aggregator.operator_choice import LimitChoice
from aggregator.profile import Calendar

NAMES = tuple(LimitSettings.model_fields)
Limits = Mapping[str, Decimal | int | None]


async def in_force(conn: AsyncConnection, file: LimitSettings, calendar: Calendar) -> Rules:
    """What binds events by what the database has."""
    choice, _version = await operator_choice.read(conn, LimitChoice)
    return Rules(stricter(file, choice), calendar)


def stricter(file: LimitSettings, choice: LimitChoice) -> LimitSettings:
    """Of each limit the smaller one of those that are set."""
    own, of_file = choice.model_dump(), file.model_dump()
    both = {name: [value for value in (of_file[name], own[name]) if value is not None] for name in NAMES}
    return LimitSettings(**{name: min(values) for name, values in both.items() if values})


def beyond(file: LimitSettings, choice: LimitChoice) -> dict[str, Decimal | int]:
    """What the file allows, for each field that asks for more."""
    own, of_file = choice.model_dump(), file.model_dump()
    return {
        name: of_file[name]
        for name in NAMES
        if own[name] is not None and of_file[name] is not None and own[name] > of_file[name]
    }


def loosened(before: LimitSettings, after: LimitSettings) -> list[str]:
    """The limits that let more through than before."""
    old, new = before.model_dump(), after.model_dump()
    return [name for name in NAMES if old[name] is not None and (new[name] is None or new[name] > old[name])]
