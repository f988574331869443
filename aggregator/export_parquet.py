"""Readings as a Parquet file, written group by group: what is written is sent and forgotten."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Sequence

import pyarrow as pa
from pyarrow import parquet

from aggregator.export_row import COLUMNS, cells
from aggregator.reading_series import Reader, Row

_TIME = pa.timestamp("us", tz="UTC")
_NUMBERS = frozenset({"duration_s", "value", "mean_power_kw"})
SCHEMA = pa.schema(
    [
        (name, _TIME if name.endswith("_utc") else pa.float64() if name in _NUMBERS else pa.string())
        for name in COLUMNS
    ]
)
ROWS_A_GROUP = 40_000


class _Outbox(io.RawIOBase):
    """A file that only grows and forgets what was taken out of it."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """How much was written so far."""
        return self._length

    def write(self, data: object) -> int:
        """Keep it until it is taken."""
        piece = bytes(memoryview(data))  # type: ignore[arg-type]  # whatever has a buffer
        self._pieces.append(piece)
        self._length += len(piece)
        return len(piece)

    def taken(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


async def parquet_pieces(reader: Reader) -> AsyncIterator[bytes]:
    """The file in pieces: some for each group of rows, and its foot."""
    outbox = _Outbox()
    waiting: list[Row] = []
    with parquet.ParquetWriter(outbox, SCHEMA, compression="zstd") as writer:
        async for rows in reader.pieces():
            waiting += rows
            if len(waiting) >= ROWS_A_GROUP:
                await asyncio.to_thread(writer.write_table, _table(waiting))
                waiting = []
                yield outbox.taken()
        if waiting:
            await asyncio.to_thread(writer.write_table, _table(waiting))
    yield outbox.taken()


def _table(rows: Sequence[Row]) -> pa.Table:
    columns = zip(*map(cells, rows), strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
