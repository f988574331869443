"""What a row of a file of readings holds, whatever the format."""

from __future__ import annotations

from datetime import datetime

from aggregator.reading_series import Row

COLUMNS = (
    "start_utc",
    "duration_s",
    "node",
    "node_id",
    "report",
    "data_point",
    "value",
    "value_unit",
    "mean_power_kw",
    "quality",
    "reported_at_utc",
)


def cells(row: Row) -> tuple[datetime, float, str, str, str, str, float, str, float | None, str, datetime]:
    """A row in the order of the columns."""
    kw = row.unit.kw(row.value, row.duration_s)
    return (
        row.start,
        row.duration_s,
        row.ven_name,
        row.ven_id,
        row.report_name,
        row.r_id,
        row.value,
        row.unit.name,
        None if kw is None else round(kw, 6),
        row.quality,
        row.created_at,
    )
