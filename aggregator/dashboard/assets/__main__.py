"""`python -m aggregator.dashboard.assets [--cache DIR] [--tests]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from aggregator.dashboard.assets import AssetsError, axe, default_cache, fetch


def main() -> None:
    """Fetch what is missing."""
    parser = argparse.ArgumentParser(description="Fetch the dashboard's third-party files.")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where npm's packages are kept")
    parser.add_argument("--tests", action="store_true", help="also what the browser tests use")
    arguments = parser.parse_args()
    try:
        if arguments.tests:
            axe(arguments.cache)
        fetch(arguments.cache)
    except AssetsError as error:
        raise SystemExit(f"dashboard: {error}") from None


if __name__ == "__main__":
    main()
