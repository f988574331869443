"""Where the demo shows itself: a live screen in a terminal, or one line for each phase."""

import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.live import Live

from flexpact.demo.screen import render
from flexpact.demo.snapshot import Snapshot


class View(Protocol):
    """What the day tells about itself while it goes on."""

    live: bool  # whether snapshots are wanted

    def __enter__(self) -> "View": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def phase(self, text: str) -> None:
        """Say what begins now."""

    def show(self, snapshot: Snapshot) -> None:
        """Show how things stand."""


class PlainView:
    """One line for each phase, with the real seconds since the start; snapshots are not shown."""

    live = False

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    def __enter__(self) -> "PlainView":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def phase(self, text: str) -> None:
        """Print the line."""
        self._console.print(
            f"{time.monotonic() - self._began:5.0f} s  {text}", highlight=False, soft_wrap=True
        )

    def show(self, snapshot: Snapshot) -> None:
        """Show nothing."""


class LiveView:
    """The whole screen, drawn again in place a few times a second, in whatever size the terminal has now."""

    live = True

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False, transient=True)
        self._drawn = False

    def __enter__(self) -> "LiveView":
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._live.stop()

    def phase(self, text: str) -> None:
        """Print the line until there is something to draw; afterwards the screen itself says it."""
        if not self._drawn:
            self._console.print(text, highlight=False)

    def show(self, snapshot: Snapshot) -> None:
        """Draw the snapshot."""
        if not self._drawn:
            self._live.start()
            self._drawn = True
        self._live.update(render(snapshot, self._console.width), refresh=True)
