"""Importing the chain libraries must not take away the guard against deeply nested input."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ledger.stack import RECURSION_LIMIT


@pytest.mark.parametrize("module", ["ledger.anchor", "ledger.chain", "ledger.rpc"])
def test_a_process_that_uses_the_chain_survives_a_body_of_brackets(module: str) -> None:
    script = f"""
import json, sys
import {module}
assert sys.getrecursionlimit() == {RECURSION_LIMIT}
try:
    json.loads("[" * 500_000)
except RecursionError:
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "refused\n")
