"""How long requests took: counts in fixed steps, cheap enough for every poll."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

STEPS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Latency:
    """Requests of one kind. `counts` has one number for each step, and one for what took longer."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(STEPS_S) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """One more request."""
        self.counts[bisect_left(STEPS_S, seconds)] += 1
        self.seconds += seconds


class Latencies:
    """Requests by their kind, such as the service that was asked."""

    def __init__(self) -> None:
        self.kinds: defaultdict[tuple[str, ...], Latency] = defaultdict(Latency)

    def add(self, kind: tuple[str, ...], seconds: float) -> None:
        """One more request."""
        self.kinds[kind].add(seconds)
