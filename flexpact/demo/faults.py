"""What may go wrong in the middle of a demo, on purpose: a plug is pulled, and put back in."""

from collections.abc import Sequence
from enum import StrEnum


class Fault(StrEnum):
    """Which process is killed -9, and for how long it stays away."""

    KILL_AGGREGATOR = "kill-aggregator"  # in the middle of the event, for five simulated minutes
    KILL_FEID = "kill-feid"  # one called node, as above
    CHAIN_OFF = "chain-off"  # from before the request until after the event


def victim(fault: Fault, called: Sequence[str]) -> str:
    """Return the process that this fault kills; `called` are the nodes with a part in the event."""
    if fault is Fault.KILL_AGGREGATOR:
        return "aggregator"
    return called[0] if fault is Fault.KILL_FEID else "chain"
