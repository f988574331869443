"""A network's folder, made once by the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from coincurve import PrivateKey
from typer.testing import CliRunner, Result

from flexpact.commands import ledger_network
from ledger.state import keccak256

HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
PAYEE = "0x" + "a1" * 20


def command(*arguments: str) -> Result:
    return CliRunner().invoke(ledger_network.app, ["network", *arguments])


@dataclass(frozen=True)
class Made:
    """A network as a stranger finds it: what its key files hold, and its files as texts."""

    folder: Path
    said: Result

    def text(self, path: str) -> str:
        return (self.folder / path).read_text(encoding="utf-8")

    @property
    def names(self) -> Sequence[str]:
        return sorted(path.name for path in self.folder.glob("validator-*"))

    @property
    def genesis(self) -> dict[str, Any]:
        return dict(json.loads(self.text("genesis.json")))

    def public(self, path: str) -> bytes:
        """The 64 bytes of the public key that belongs to a key file."""
        return PrivateKey.from_hex(self.text(path).strip()).public_key.format(compressed=False)[1:]

    def address(self, path: str) -> str:
        return "0x" + keccak256(self.public(path))[12:].hex()

    @property
    def addresses(self) -> list[str]:
        return sorted(self.address(f"{name}/key") for name in self.names)

    def enode(self, place: int) -> str:
        return f"enode://{self.public(f'validator-{place}/key').hex()}@{HOSTS[place - 1]}:30303"

    @property
    def enodes(self) -> list[str]:
        return [self.enode(place) for place in (1, 2, 3, 4)]


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("chain") / "network"
    hosts = [word for host in HOSTS for word in ("--host", host)]
    said = command("init", "--out", str(folder), *hosts, "--account", PAYEE)
    assert said.exit_code == 0, said.output
    return Made(folder, said)
