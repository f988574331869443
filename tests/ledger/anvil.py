"""anvil, a chain node for tests, from npm: on loopback, with an empty chain, gone at the end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from ledger.contracts import build

LISTENING = "Listening on "


@contextlib.contextmanager
def anvil(home: Path, *options: str) -> Iterator[str]:
    """The URL of a fresh chain under Cancun rules; each transaction is a block, and gas costs something."""
    program = build.foundry("anvil", build.default_cache())
    command = [str(program), "--port", "0", "--hardfork", "cancun", "--accounts", "1", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "HOME": str(home), "NO_COLOR": "1"},
    )
    assert process.stdout is not None
    # It writes a line for each call; the pipe must not fill.
    drain = threading.Thread(target=deque, args=(process.stdout, 0))
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith(LISTENING):
                break
        else:
            raise AssertionError(f"anvil did not start: {''.join(said)}")
        drain.start()
        yield "http://" + line.removeprefix(LISTENING).strip()
    finally:
        process.kill()
        process.wait()
        if drain.is_alive():
            drain.join()
        process.stdout.close()
