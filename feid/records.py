"""Asks the aggregator for the records and receipts of this box, over the VEN's own mutual TLS."""

import json
from collections.abc import Callable
from datetime import datetime

from feid.errors import RecordsError
from feid.evidence import Pair
from ven.errors import ExchangeError
from ven.settings import VenSettings
from ven.transport import Transport

PATH = "/flexpact/records"


async def ask(settings: VenSettings, clock: Callable[[], datetime]) -> list[Pair]:
    """All that are anchored; RecordsError where the aggregator does not give them."""
    pairs: list[Pair] = []
    after = -1
    try:
        async with Transport(settings, clock) as transport:
            while page := await transport.read(f"{PATH}?after={after}"):
                for line in page.splitlines():
                    index, pair = _leaf(line)
                    if index <= after:
                        raise RecordsError(f"the aggregator gives leaf {index} after leaf {after}")
                    after = index
                    pairs += [pair] if pair is not None else []
    except ExchangeError as error:
        raise RecordsError(f"the aggregator gives no records: {error}") from error
    return pairs


def _leaf(line: bytes) -> tuple[int, Pair | None]:
    """A leaf's index, and its files unless they were erased."""
    try:
        leaf = json.loads(line)
        index = int(leaf["index"])
        if "record" not in leaf:
            return index, None
        return index, (f"leaf {index}", str(leaf["record"]).encode(), str(leaf["receipt"]).encode())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordsError(f"the aggregator gives no record: {line[:60]!r}") from error
