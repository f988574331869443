"""The example of docs/keys.md, as it stands there: a fresh token, keys made in it, a contract deployed."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from ledger.checkpoint import ED25519, VerifierKey
from ledger.rpc import RpcServer

GUIDE = Path(__file__).parents[2] / "docs" / "keys.md"


async def test_the_example_of_the_guide_runs(server: RpcServer, tmp_path: Path) -> None:
    block = GUIDE.read_text(encoding="utf-8").split("```console\n")[1].split("```")[0]
    commands = [line.removeprefix("$ ") for line in block.splitlines()]
    assert sum(line.startswith("flexpact ") for line in commands) == 4
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    shell = await asyncio.create_subprocess_exec(
        "bash",
        "-eu",
        "-c",
        "\n".join(commands),
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf"),
            "RPC": server.url,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await shell.communicate()
    assert shell.returncode == 0, err.decode()
    made, shown, account, contract = out.decode().splitlines()[-4:]
    key = VerifierKey.parse(made)
    assert made == shown
    assert (key.name, key.kind) == ("example.org/flexpact", ED25519)
    assert re.fullmatch("0x[0-9a-f]{40}", account)
    assert re.fullmatch("0x[0-9a-f]{40}", contract)
    assert account != contract
    pin = (tmp_path / "pin").read_text().strip()
    assert pin not in out.decode() + err.decode()
    assert (tmp_path / "pin").stat().st_mode & 0o077 == 0
