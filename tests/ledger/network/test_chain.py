"""The genesis block of a network on anvil, an Ethereum client that is not Besu: what is anchored there at
once.
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from aggregator.settings import ChainSettings
from ledger.anchor import Anchorer, AnchorStatus
from ledger.chain_key import ChainKey
from ledger.checkpoint import SigningKey
from ledger.contract_node import ContractNode
from ledger.log import Log
from ledger.merkle import EMPTY_ROOT
from ledger.node import Node, proven_word
from ledger.receipt import commitment
from ledger.record import Record
from ledger.settings import AnchorSettings
from ledger.setup import deploy_agreements
from tests.ledger.anvil import anvil
from tests.ledger.network.conftest import Made
from vtn.store import Database

NOW = datetime(2026, 1, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def url(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    genesis = str(made.folder / "genesis.json")
    with anvil(tmp_path_factory.mktemp("anvil"), "--init", genesis) as url:
        # anvil's first block names the root of an empty state, whatever the file says; validators' do not.
        mine = b'{"jsonrpc": "2.0", "id": 1, "method": "evm_mine", "params": []}'
        request = urllib.request.Request(url, mine, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=5).close()
        yield url


@pytest.fixture
def settings(made: Made, url: str) -> AnchorSettings:
    """What the network's folder says of the chain, at anvil's port."""
    section = tomllib.loads(made.text("aggregator-chain.toml"))["chain"]
    section["key_file"] = made.folder / section["key_file"]
    return ChainSettings.model_validate({**section, "rpc_url": url}).anchor()


async def test_the_first_block_holds_an_empty_log(settings: AnchorSettings) -> None:
    async with Node.open(settings.rpc_url, 5) as node:
        assert await node.chain_id() == settings.chain_id
        head = await node.head(settings.chain_id, bytes.fromhex(settings.contract[2:]))
    assert head.word == commitment(0, EMPTY_ROOT)
    assert head.base_fee == 0


async def test_an_aggregator_anchors_at_once_and_pays_nothing(
    settings: AnchorSettings, database: Database
) -> None:
    log = Log("example.org/log", SigningKey.generate("example.org/log"))
    async with database.write() as conn:
        await log.append([Record(kind="report", key="k", at=NOW, body={"energy_wh": 250})], conn)
        checkpoint = await log.publish(conn, NOW)
    assert checkpoint is not None
    anchorer = Anchorer(settings)
    try:
        for _ in range(3):
            state = await anchorer.step(database, NOW)
    finally:
        await anchorer.close()
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 1), state.text
    async with Node.open(settings.rpc_url, 5) as node:
        head = await node.head(settings.chain_id, bytes.fromhex(settings.contract[2:]))
    assert proven_word(head.anchor) == commitment(1, checkpoint.root)
    assert head.base_fee == 0


async def test_the_admin_deploys_another_log_and_pays_nothing(made: Made, url: str) -> None:
    admin = ChainKey.load(made.folder / "keys/admin.key")
    async with Node.open(url, 5) as node:
        contract = await node.deploy(admin, bytes(19) + b"\x01")
        head = await node.head(await node.chain_id(), contract)
    assert head.word == commitment(0, EMPTY_ROOT)


async def test_the_admin_makes_the_agreements_contracts_and_pays_nothing(made: Made, url: str) -> None:
    admin = ChainKey.load(made.folder / "keys/admin.key")
    async with ContractNode.open(url, 5) as node:
        await deploy_agreements(node, admin, "EUR", 2)
        assert (await node.newest()).base_fee == 0


def test_the_readmes_questions_are_answered(made: Made, url: str) -> None:
    bash, curl = shutil.which("bash"), shutil.which("curl")
    if bash is None or curl is None:
        pytest.skip("no curl on this machine")
    lines = [line.strip() for line in made.text("README.md").splitlines()]
    (ask,) = (line for line in lines if line.startswith("ask() {"))
    (code,) = (line for line in lines if line.startswith("ask eth_getCode"))
    script = f"{ask.replace('http://127.0.0.1:8545', url)}\n{code}"
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=True)
    assert '"result":"0x6080' in done.stdout
