"""How many files the process may have open: each connection is one, and the system's usual 1,024 are few."""

from __future__ import annotations

import resource

import structlog

log = structlog.get_logger(__name__)

RESERVE = 256  # for all that is no connection of a VEN: database, logs, the operator, the chain


def room_for(connections: int) -> int:
    """Raise the limit of open files to what so many connections need; how many of them there is room for.

    The system's hard limit bounds it: where that is too low, the log says so in one sentence.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + RESERVE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if allowed > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            soft = allowed
        except (OSError, ValueError) as error:
            log.warning("the limit of open files could not be raised", error=str(error))
    room = max(1, min(connections, soft - RESERVE))
    if room < connections:
        log.warning(
            f"the system allows {soft} open files, which is room for {room} connections at once:"
            f" for max_connections = {connections} raise its hard limit to {needed}"
        )
    return room
