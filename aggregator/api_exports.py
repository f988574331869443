"""Operations that answer files, as the pages make them: statements, readings, all data of a prosumer."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from aggregator.access.permission import Permission
from aggregator.dashboard import readings
from aggregator.dashboard.ask_entry import MOST_NAMES, names
from aggregator.dashboard.home import ZIP, data_of
from aggregator.dashboard.operation import Errand, FileAnswer, Operation
from aggregator.dashboard.statement_files import KINDS, made
from aggregator.export import CONTENT_TYPES, Format
from aggregator.profile import Period
from aggregator.reading_series import Selection
from aggregator.statement_list import Choice
from vtn.api_route import Answer, Instant, Query, Route
from vtn.problem import Problem


class StatementFileQuery(Query, Choice):
    """Which statements are in the file."""

    model_config = ConfigDict(extra="forbid")


class SignedStatements(Answer):
    """The JSON file: the log's key has signed the document."""

    document: dict[str, Any] = Field(description="`format`, `log`, `made_at`, `choice` and `statements`.")
    signature: str = Field(description="Line of a signed note, over the format and the canonical document.")


class ReadingFileQuery(Query):
    """Which values are in the file."""

    start: Instant = Field(description="From when on.")
    end: Instant = Field(description="Until when: 400 days later at the most.")
    nodes: str = Field(
        default="", description="Names of VENs with commas between, 100 at the most; left out: all."
    )
    points: str = Field(
        default="", description="Data points with commas between, 100 at the most; left out: all."
    )
    report: str = Field(
        default="",
        max_length=128,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Name of the report; every one where it is left out.",
    )


async def _statements(errand: Errand) -> Answer:
    kind = errand.path["kind"]
    if kind not in KINDS:
        raise Problem.field("kind", kind[:40], f"statements are exported as {', '.join(KINDS)}")
    query: StatementFileQuery = errand.query
    file = await made(errand.visit, query, kind)
    if file is None:
        most = KINDS[kind][1]
        text = f"a file of this kind holds at most {most} statements: choose a month or an event"
        raise Problem.field("kind", kind, text)
    return file


async def _readings(errand: Errand) -> Answer:
    typed = errand.path["format"]
    if typed not in CONTENT_TYPES:
        raise Problem.field("format", typed[:40], f"readings are exported as {', '.join(Format)}")
    return readings.file_of(errand.desk, await _selection(errand), Format(typed))


async def _home(errand: Errand) -> Answer:
    return await data_of(errand.visit)


async def _selection(errand: Errand) -> Selection:
    query: ReadingFileQuery = errand.query
    if query.end <= query.start:
        raise Problem.field("end", query.end.isoformat(), "it must lie after start")
    if query.end - query.start > readings.LONGEST:
        text = f"at most {readings.LONGEST.days} days fit into a file"
        raise Problem.field("end", query.end.isoformat(), text)
    nodes, points = _names("nodes", query.nodes), _names("points", query.points)
    async with errand.desk.db.read() as conn:
        found = await readings.nodes_named(conn, nodes)
    if unknown := sorted(set(nodes) - set(found.values())):
        raise Problem.field("nodes", unknown[0], "there is no such VEN")
    period = Period(query.start, query.end)
    return Selection(ven_ids=list(found), r_ids=points, report_name=query.report, period=period)


def _names(field: str, typed: str) -> tuple[str, ...]:
    try:
        return names(typed) or ()
    except ValueError:
        text = f"at most {MOST_NAMES} names of characters that can be seen, with commas between"
        raise Problem.field(field, typed[:80], text) from None


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/statements/export/{kind}",
            name="exportStatements",
            summary="Statements as a file: CSV, XLSX, PDF, or JSON that the log's key has signed.",
            handle=_statements,
            answer=SignedStatements,
            query=StatementFileQuery,
            parameters={"kind": f"`{'`, `'.join(KINDS)}`."},
            files=tuple(media_type for media_type, _, _ in KINDS.values()),
        ),
        permission=Permission.SETTLEMENT_READ,
        errand=True,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/readings/export/{format}",
            name="exportReadings",
            summary="What VENs have reported as a file: CSV or Parquet, sent while it is made.",
            handle=_readings,
            answer=FileAnswer,
            query=ReadingFileQuery,
            parameters={"format": f"`{'`, `'.join(Format)}`."},
            files=tuple(CONTENT_TYPES.values()),
        ),
        permission=Permission.FLEET_READ,
        errand=True,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/home/data.zip",
            name="exportHome",
            summary="All that is kept of a prosumer and of the home, for nobody else.",
            handle=_home,
            answer=FileAnswer,
            refusals=(429,),
            files=(ZIP,),
        ),
        permission=Permission.HOME_OWN,
        errand=True,
    ),
)
