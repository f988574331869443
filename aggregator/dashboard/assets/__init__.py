"""Third-party files of the dashboard: named by `package-lock.json` with their hashes, fetched when it is
installed, never committed, and nothing of it is needed at run time but the files themselves.

`python -m aggregator.dashboard.assets` puts them into `static/vendor`, with their licences; `--tests` keeps
what the tests alone use beside them, outside of what is served.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from ledger.contracts.build import BuildError, environment, turn

HERE = Path(__file__).parent
VENDOR = HERE.parent / "static" / "vendor"
SERVED = {
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "htmx.LICENSE": "htmx.org/LICENSE",
    "pico.min.css": "@picocss/pico/css/pico.min.css",
    "pico.LICENSE": "@picocss/pico/LICENSE.md",
    "uplot.min.css": "uplot/dist/uPlot.min.css",
    "uplot.min.js": "uplot/dist/uPlot.iife.min.js",
    "uplot.LICENSE": "uplot/LICENSE",
}
"""Where each served file lies in its package."""
COMMAND = "python -m aggregator.dashboard.assets"
INSTALL_LIMIT_S = 300
_MARK = "lock.sha256"


class AssetsError(Exception):
    """The dashboard's third-party files could not be fetched."""


def complete() -> bool:
    """Whether every served file is there, as the lock file names it."""
    mark = VENDOR / _MARK
    if not mark.is_file() or mark.read_text(encoding="ascii") != _lock():
        return False
    return all((VENDOR / name).is_file() for name in SERVED)


def fetch(cache: Path) -> None:
    """Put the served files in their place; AssetsError says what stands in the way.

    npm compares each package with the hash in the lock file.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with turn(cache):
        _install(cache)
        if complete():
            return
        VENDOR.mkdir(parents=True, exist_ok=True)
        for name, place in SERVED.items():
            shutil.copyfile(cache / "node_modules" / place, VENDOR / name)
        (VENDOR / _MARK).write_text(_lock(), encoding="ascii")  # last: now all of it is there


def axe(cache: Path) -> Path:
    """The accessibility checker of the tests, fetched if it is not there."""
    cache.mkdir(parents=True, exist_ok=True)
    with turn(cache):
        _install(cache, tests=True)
    return cache / "node_modules" / "axe-core" / "axe.min.js"


def default_cache() -> Path:
    """Where npm's packages are kept between runs: one place for each lock file."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "flexpact" / f"dashboard-{_lock()[:12]}"


def _install(cache: Path, *, tests: bool = False) -> None:
    mark = cache / ("tests" if tests else "served")
    if mark.is_file() or (cache / "tests").is_file():
        return
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, cache / name)
    try:
        surroundings = environment(cache)
    except BuildError as error:
        raise AssetsError(str(error)) from None
    npm = shutil.which("npm", path=surroundings["PATH"]) or "npm"
    command = [npm, "ci", "--ignore-scripts", *(() if tests else ("--omit=dev",))]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, nothing of it comes from outside
            command,
            cwd=cache,
            capture_output=True,
            text=True,
            timeout=INSTALL_LIMIT_S,
            check=False,
            env=surroundings,
        )
    except subprocess.TimeoutExpired:
        raise AssetsError(f"npm did not end within {INSTALL_LIMIT_S} s") from None
    if done.returncode:
        raise AssetsError(f"npm failed: {done.stderr.strip()}")
    mark.touch()


def _lock() -> str:
    return hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
