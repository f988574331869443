"""Asks the aggregator for the records and receipts of this box, over the VEN's own mutual TLS."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from feid.errors import RecordsError
from feid.evidence import Pair
from feid.progress import Progress, Proofs, steps_between
from ledger.errors import VerificationError
from ledger.receipt import Receipt
from ven.errors import ExchangeError, WrongStatusError
from ven.settings import VenSettings
from ven.transport import Transport

PATH = "/flexpact/records"
GROWTH_PATH = "/flexpact/consistency"
CANNOT = 400
"""The answer where the log has not so many leaves: nothing shows then that it is the one of before."""


async def ask(
    settings: VenSettings, clock: Callable[[], datetime], progress: Progress | None = None
) -> tuple[list[Pair], Proofs]:
    """All that are anchored, behind what `progress` says, and then with proofs that the log only grew since;
    RecordsError where the aggregator does not give them.
    """
    try:
        async with Transport(settings, clock) as transport:
            pairs = await _pairs(transport, -1 if progress is None else progress.after)
            return pairs, await _proofs(transport, pairs, progress)
    except ExchangeError as error:
        raise RecordsError(f"the aggregator gives no records: {error}") from error


async def _pairs(transport: Transport, after: int) -> list[Pair]:
    pairs: list[Pair] = []
    while page := await transport.read(f"{PATH}?after={after}"):
        for line in page.splitlines():
            index, pair = _leaf(line)
            if index <= after:
                raise RecordsError(f"the aggregator gives leaf {index} after leaf {after}")
            after = index
            pairs += [pair] if pair is not None else []
    return pairs


async def _proofs(transport: Transport, pairs: Sequence[Pair], progress: Progress | None) -> Proofs:
    """What shows that the log only grew, from the checkpoint that was trusted to those of the receipts."""
    if progress is None:
        return {}
    sizes = {progress.head.size}
    for _, _, receipt in pairs:
        with suppress(VerificationError):  # which is found when it is verified
            sizes.add(Receipt.from_file(receipt).checkpoint.size)
    proofs = {}
    for old, new in steps_between(sizes):
        try:
            proofs[old, new] = await transport.read(f"{GROWTH_PATH}?old={old}&new={new}")
        except WrongStatusError as error:
            if error.status != CANNOT:
                raise RecordsError(
                    f"the aggregator gives no proof that its log only grew ({error}); --all begins anew"
                ) from error
    return proofs


def _leaf(line: bytes) -> tuple[int, Pair | None]:
    """A leaf's index, and its files unless they were erased."""
    try:
        leaf = json.loads(line)
        index = int(leaf["index"])
        if "record" not in leaf:
            return index, None
        return index, (f"leaf {index}", str(leaf["record"]).encode(), str(leaf["receipt"]).encode())
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise RecordsError(f"the aggregator gives no record: {line[:60]!r}") from error
