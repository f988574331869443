"""What somebody types to ask nodes for a report; checked field by field, and what it means as a wish."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.wording import Wording
from aggregator.report_asking import Wish
from openadr import ActivePeriod, Duration

FIELDS = (
    "report",
    "nodes",
    "points",
    "granularity",
    "every",
    "start_day",
    "start_time",
    "end_day",
    "end_time",
)
LONGEST_NAME = 128
MOST_NAMES = 100
MOST_MINUTES = 44_640  # 31 days
FARTHEST = timedelta(days=366)
_HIDDEN = frozenset({"Cc", "Cf", "Zl", "Zp"})  # control characters, and those that turn text around


def shown(text: str) -> bool:
    """Whether all of a name can be seen, and it is no longer than a name may be."""
    return 0 < len(text) <= LONGEST_NAME and not any(unicodedata.category(one) in _HIDDEN for one in text)


def _name(typed: object) -> str:
    text = str(typed).strip()
    if not text:
        raise ValueError(_("Which report is wanted?"))
    if not shown(text):
        raise ValueError(_("A name has characters that cannot be seen, or too many."))
    return text


def names(typed: object) -> tuple[str, ...] | None:
    """Names, one in each line or with commas between; None where nothing was typed."""
    found = [each.strip() for line in str(typed or "").splitlines() for each in line.split(",")]
    named = tuple(dict.fromkeys(each for each in found if each))
    if len(named) > MOST_NAMES:
        raise ValueError(_("At most 100 names are taken here."))
    if not all(map(shown, named)):
        raise ValueError(_("A name has characters that cannot be seen, or too many."))
    return named or None


def _minutes(typed: object) -> int:
    text = str(typed or "").strip() or "0"
    if not (text.isascii() and text.isdigit()):
        raise ValueError(_("This is no number of minutes: write it as 15."))
    if len(text) > 6 or int(text) > MOST_MINUTES:
        raise ValueError(_("At most 44,640 minutes are possible: 31 days."))
    return int(text)


class _Typed(BaseModel):
    """The fields that stand for themselves."""

    model_config = ConfigDict(frozen=True)

    report: Annotated[str, BeforeValidator(_name)]
    nodes: Annotated[tuple[str, ...] | None, BeforeValidator(names)] = None
    points: Annotated[tuple[str, ...] | None, BeforeValidator(names)] = None
    granularity: Annotated[int, BeforeValidator(_minutes)] = 0
    every: Annotated[int, BeforeValidator(_minutes)] = 0


def read(typed: Mapping[str, str], words: Wording) -> tuple[Wish | None, dict[str, str]]:
    """The wish, or a sentence for each field that cannot be taken."""
    problems: dict[str, str] = {}
    fields: _Typed | None = None
    try:
        fields = _Typed.model_validate({name: typed[name] for name in _Typed.model_fields})
    except ValidationError as error:
        for each in error.errors():
            problems[str(each["loc"][0])] = each["msg"].removeprefix("Value error, ")
    period = _period(typed, words, problems)
    if fields is None or problems:
        return None, problems
    if fields.report.startswith("HISTORY_") and period is None:
        return None, {"start": _("A history needs a beginning and an end.")}
    if fields.report.startswith("HISTORY_") and fields.every:
        return None, {"every": _("A history comes once: 0.")}
    if fields.every and fields.granularity > fields.every:
        return None, {"granularity": _("Values cannot be further apart than the reports that carry them.")}
    wish = Wish(
        report_name=fields.report,
        ven_names=fields.nodes,
        r_ids=fields.points,
        granularity=Duration(fields.granularity * 60),
        report_back=Duration(fields.every * 60),
        period=period,
    )
    return wish, {}


def _period(typed: Mapping[str, str], words: Wording, problems: dict[str, str]) -> ActivePeriod | None:
    start, end = (_instant(typed, name, words, problems) for name in ("start", "end"))
    if problems.keys() & {"start", "end"} or (start is None and end is None):
        return None
    if start is None:
        problems["start"] = _("From when on? An end needs a beginning.")
        return None
    if abs(start - words.now) > FARTHEST:
        problems["start"] = _("That day is too far away.")
    elif end is not None and end <= start:
        problems["end"] = _("The end must be after the beginning.")
    elif end is not None and end - start > FARTHEST:
        problems["end"] = _("That day is too far away.")
    else:
        length = Duration.of(end - start) if end is not None else Duration(0)
        return ActivePeriod(dtstart=start, duration=length)
    return None


def _instant(
    typed: Mapping[str, str], name: str, words: Wording, problems: dict[str, str]
) -> datetime | None:
    day, clock = typed[f"{name}_day"].strip(), typed[f"{name}_time"].strip()
    if not day and not clock:
        return None
    try:
        return words.instant(day[:40], clock[:40])
    except ValueError as error:
        problems[name] = str(error)
        return None
