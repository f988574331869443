"""Where the memory of the box begins, and a clock that is slow: no alarm by the minutes between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feid.audit import Fault, compare
from tests.feid.test_audit import (
    BODIES,
    DEEDS,
    MEMORY,
    MINUTE,
    PRESENT,
    RECORDS,
    found,
    opt,
    report,
    sent,
    signal,
    source,
)
from tests.ven.site import NOW
from ven.deed import Deed


@pytest.mark.parametrize("begun", [(), DEEDS[:1]], ids=["restored just now", "upgraded"])
def test_of_the_minutes_around_the_beginning_of_the_memory_nothing_is_forged(begun: tuple[Deed, ...]) -> None:
    """Done before the box remembered such things, or before its state file was damaged."""
    memory, just_now = replace(MEMORY, deeds=begun), replace(PRESENT, now=NOW)
    early = [replace(each, at=NOW - 19 * MINUTE) for each in (report(2), opt("optOut"))]
    ahead = replace(report(3), at=NOW + 19 * MINUTE)
    tally = compare(memory, [signal(), *early, ahead], just_now)
    assert (tally.unjudged, found(tally)) == (3 + (not begun), [])


@pytest.mark.parametrize(("slow_min", "faults"), [(0, []), (10, []), (19, []), (20, [Fault.MISSING])])
def test_what_a_slow_clock_has_just_seen_done_is_pending(slow_min: int, faults: list[Fault]) -> None:
    """The log holds what came up to this minute, and not yet the report that followed."""
    deeds = (*MEMORY.deeds, sent(2, at=NOW + (31 - slow_min) * MINUTE))
    sealed = [*RECORDS, replace(report(3, source=source(BODIES[3])), at=NOW + 31 * MINUTE)]
    tally = compare(
        replace(MEMORY, deeds=deeds), sealed, replace(PRESENT, now=NOW + (31 - slow_min) * MINUTE)
    )
    assert (tally.pending, found(tally)) == (int(not faults), faults)
