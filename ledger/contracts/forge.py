"""Test the contracts: `python -m ledger.contracts.forge test`; what follows is given to forge as it stands.

The tests lie in `test/*.t.sol`, their settings in `foundry.toml`. forge comes from npm at the version that
`package-lock.json` names and compiles with npm's `solc` as `build.py` does.
Longer fuzz and invariant runs: `FOUNDRY_PROFILE=long`. Lines covered: `coverage --ir-minimum` (not optimised,
OpenZeppelin's P256 does not compile another way).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ledger.contracts import build


def run(arguments: Sequence[str], cache: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run forge on our contracts and give what it printed; it is installed into `cache` if it is not there.
    What it builds, and the values that failed, stay in `cache`; one run at a time. `settings` are those of
    foundry.toml, by the names that they have in an environment.
    """
    program = str(build.foundry("forge", cache))
    # Coverage compiles in another way, for minutes; the tests need not wait for it.
    place = cache / ("coverage" if "coverage" in arguments else "forge")
    place.mkdir(exist_ok=True)
    environment = {
        **build.environment(cache),
        "FOUNDRY_OUT": str(place / "out"),
        "FOUNDRY_CACHE_PATH": str(place / "cache"),
        "FOUNDRY_SNAPSHOTS": str(place / "snapshots"),
        **settings,
    }
    modules = cache / "node_modules" / "@openzeppelin"
    options = ["--root", str(build.HERE), "--use", str(build.COMPILER), "-R", f"@openzeppelin/={modules}/"]
    with build.turn(place):
        return subprocess.run(  # noqa: S603 - our own forge, with the arguments of whoever calls it
            [program, *arguments[:1], *options, *arguments[1:]],
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def main() -> None:
    """Run forge; its exit code is ours."""
    try:
        done = run(sys.argv[1:] or ["test"], build.default_cache())
    except build.BuildError as error:
        raise SystemExit(f"contracts: {error}") from None
    sys.stdout.write(done.stdout)
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
