"""Which processes of a demo live, seen from outside."""

import os
import select
from contextlib import suppress
from pathlib import Path

_LIMIT_S = 30.0


def living(out: Path) -> dict[int, bytes]:
    """Return the command lines that name a demo's directory, by process id."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue  # it ended while we looked
        if os.fsencode(out) in command:
            found[int(path.parent.name)] = command
    return found


def wait_for_end(pid: int) -> None:
    """Return when the process, anybody's child, has ended."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        watch = select.poll()
        watch.register(handle, select.POLLIN)
        ended = watch.poll(_LIMIT_S * 1000)
        os.close(handle)
        assert ended, f"process {pid} lives on {_LIMIT_S:g} s after its parent's end"
