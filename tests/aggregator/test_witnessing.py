"""The aggregator with a witness: receipts carry cosignatures, and nothing waits for them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from aggregator.settings import AggregatorSettings, LogSettings
from flexpact.commands import verify
from ledger.checkpoint import SigningKey, VerifierKey
from ledger.errors import VerificationError
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.trust import Trust
from ledger.verify import verify_receipt
from ledger.witness import make_witness
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import START, Platform, Prepared, node_settings, running, write_settings

NAME = "dso.example/witness"


@asynccontextmanager
async def platform_with(
    prepared: Prepared, folder: Path, key: VerifierKey, url: str
) -> AsyncIterator[Platform]:
    """An aggregator with a chain of its own and that witness."""
    (folder / "chain").mkdir()
    chain = Chain(folder / "chain")
    boxes = prepared.copy(folder)
    settings = write_settings(folder, [node_settings(n) for n in (1, 2, 3)], chain=await chain.start())
    try:
        async with running(asking(settings, key, url), boxes) as platform:
            yield platform
    finally:
        await chain.close()


def asking(settings: AggregatorSettings, key: VerifierKey, url: str) -> AggregatorSettings:
    """The same with a witness."""
    log = {**settings.log.model_dump(), "witnesses": [{"url": url, "key": str(key)}]}
    return settings.model_copy(update={"log": LogSettings.model_validate(log)})


@contextmanager
def witness_process(folder: Path, log_key: VerifierKey, port: int = 0) -> Iterator[str]:
    """The address of a witness that is a process of its own."""
    command = ["-m", "flexpact", "ledger", "witness", "serve", "--dir", str(folder), "--log", str(log_key)]
    child = subprocess.Popen(
        [sys.executable, *command, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    with child.stdout:
        url = child.stdout.readline().split()[-1]
    try:
        yield url
    finally:
        child.terminate()
        child.wait(30)


async def files(platform: Platform, index: int = 0) -> tuple[Record, Receipt, Trust]:
    """What an outsider is given."""
    answer = await platform.get(f"/receipts/{index}")
    trust = Trust.from_file((await platform.get("/trust"))["trust"].encode())
    receipt = Receipt.from_file(answer["receipt"].encode())
    return Record.from_file(answer["record"].encode()), receipt, trust


def log_key(prepared: Prepared) -> VerifierKey:
    return SigningKey.load(prepared.folder / "log.key").verifier


async def test_receipts_carry_what_a_witness_process_cosigned(prepared: Prepared, tmp_path: Path) -> None:
    key = make_witness(tmp_path / "witness", NAME)
    with witness_process(tmp_path / "witness", log_key(prepared)) as url:
        async with platform_with(prepared, tmp_path, key, url) as platform:
            sealed = await platform.post("/seal", {"timeout_s": 60})
            assert sealed["complete"] is True
            await platform.until("/receipts/0", lambda answer: NAME in answer["receipt"])
            await platform.jump(START + timedelta(minutes=15))  # the witness has nothing to do until then
            assert (await platform.post("/seal", {"timeout_s": 60}))["leaves"] > sealed["leaves"]
            await platform.until("/receipts/0", lambda answer: NAME in answer["receipt"])
            record, receipt, trust = await files(platform)
    assert receipt.checkpoint.size > sealed["leaves"]
    assert (trust.witness and trust.witness.needed, len(receipt.checkpoint.cosignatures)) == (1, 1)
    for name, made in (("r.json", record), ("r.tlog-proof", receipt), ("trust.toml", trust)):
        (tmp_path / name).write_bytes(made.to_file())
    arguments = [str(tmp_path / "r.tlog-proof"), "--record", str(tmp_path / "r.json")]
    done = CliRunner().invoke(verify.app, [*arguments, "--trust", str(tmp_path / "trust.toml")])
    assert done.exit_code == 0, done.output
    assert f"1 needed, cosigned by {NAME}" in done.output


async def test_a_witness_that_is_off_or_hangs_delays_nothing(prepared: Prepared, tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hangs, "127.0.0.1", 0)
    url = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]  # noqa: UP031 - one number
    key = make_witness(tmp_path / "witness", NAME)
    async with platform_with(prepared, tmp_path, key, url) as platform:
        await asked.wait()
        sealed = await platform.post("/seal", {"timeout_s": 60})
        assert (sealed["complete"], sealed["anchored"]) == (True, sealed["leaves"])
        for box in platform.boxes.values():
            await box.poll()
        record, receipt, trust = await files(platform)
    server.close()
    assert not receipt.checkpoint.cosignatures
    with pytest.raises(VerificationError, match="too few cosignatures"):
        verify_receipt(record, receipt, trust)
    alone = Trust(trust.keys, trust.chain)
    assert "witness" not in {step.name for step in verify_receipt(record, receipt, alone).steps}


KEY = str(SigningKey.generate(NAME, b"\x04").verifier)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"witnesses": [{"url": "https://a", "key": KEY}] * 2}, "two witnesses have one name"),
        ({"witnesses": [{"url": "https://a", "key": KEY}], "witnesses_needed": 2}, "and there are 1"),
        ({"witnesses": [{"url": "ftp://a", "key": KEY}]}, "pattern"),
        ({"witnesses": [{"url": "https://a", "key": "a+b"}]}, "not of the form"),
        (
            {"witnesses": [{"url": "https://a", "key": str(SigningKey.generate(NAME).verifier)}]},
            "a log's key",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        LogSettings.model_validate({"origin": "o", "key_file": "k", **change})
