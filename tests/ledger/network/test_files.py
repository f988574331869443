"""What the files of a network say, each read by a reader of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import rlp
from typer.testing import CliRunner

from aggregator.settings import ChainSettings
from flexpact.commands import ledger as ledger_commands
from ledger.checkpoint import SigningKey
from ledger.qbft import ExtraData
from ledger.state import contract_address
from ledger.trust import Trust
from tests.ledger.network import compose
from tests.ledger.network.conftest import HOSTS, PAYEE, Made

# Those of Besu's options that a node's file may use, as Besu's own example of all options names them.
OPTIONS = {
    "data-path", "genesis-file", "node-private-key-file", "p2p-host", "p2p-interface", "p2p-port",
    "discovery-enabled", "static-nodes-file", "permissions-nodes-config-file-enabled",
    "permissions-nodes-config-file", "permissions-accounts-config-file-enabled",
    "permissions-accounts-config-file", "rpc-http-enabled", "rpc-http-host", "rpc-http-port", "rpc-http-api",
    "host-allowlist", "sync-mode", "sync-min-peers", "data-storage-format", "min-gas-price", "logging",
}  # fmt: skip


def test_the_genesis_names_exactly_the_validators_in_order(made: Made) -> None:
    raw = bytes.fromhex(made.genesis["extraData"][2:])
    extra = ExtraData.decode(raw)
    assert [f"0x{address.hex()}" for address in extra.validators] == made.addresses
    vanity, validators, vote, round_, seals = rlp.decode(raw)
    assert ["0x" + address.hex() for address in validators] == made.addresses
    assert (vanity, vote, round_, seals) == (bytes(32), [], b"", [])


def test_the_genesis_has_the_rules_of_qbft_and_free_gas(made: Made) -> None:
    genesis = made.genesis
    config = genesis["config"]
    assert config["qbft"] == {"blockperiodseconds": 5, "epochlength": 30_000, "requesttimeoutseconds": 10}
    assert (config["zeroBaseFee"], genesis["baseFeePerGas"]) == (True, "0x0")
    forks = {name: value for name, value in config.items() if name.endswith(("Block", "Time"))}
    assert set(forks.values()) == {0}
    assert list(forks)[-3:] == ["londonBlock", "shanghaiTime", "cancunTime"]
    assert genesis["difficulty"] == "0x1"
    assert bytes.fromhex(genesis["mixHash"][2:]) == b"ctical byzantine fault tolerance"


def test_the_chain_begins_with_the_contract_and_nobody_owns_coin(made: Made) -> None:
    admin = made.address("keys/admin.key")
    contract = "0x" + contract_address(bytes.fromhex(admin[2:]), 0).hex()
    accounts = made.genesis["alloc"]
    assert list(accounts) == [admin, contract]
    assert {account["balance"] for account in accounts.values()} == {"0x0"}
    assert made.address("keys/publisher.key")[2:] in accounts[contract]["code"]


def test_keys_are_secret_and_all_different(made: Made) -> None:
    secret = sorted(path for path in made.folder.rglob("*") if path.name == "key" or path.suffix == ".key")
    assert [str(path.relative_to(made.folder)) for path in secret] == [
        *(f"keys/{name}.key" for name in ("admin", "publisher", "settler")),
        *(f"{name}/key" for name in made.names),
    ]  # fmt: skip
    for path in secret:
        assert path.stat().st_mode & 0o777 == 0o600
        assert re.fullmatch("[0-9a-f]{64}\n", path.read_text(encoding="ascii"))
    texts = {path.read_text(encoding="ascii").strip() for path in secret}
    assert len(texts) == len(secret)
    for path in made.folder.rglob("*"):
        if path.is_dir():
            assert path.stat().st_mode & 0o777 == 0o700
        elif path not in secret:
            assert not any(text in path.read_text(encoding="utf-8") for text in texts), path
    assert not any(text in made.said.output for text in texts)


def test_permissions_name_exactly_the_nodes_and_senders(made: Made) -> None:
    for name in made.names:
        lists = tomllib.loads(made.text(f"{name}/permissions_config.toml"))
        assert lists == {
            "nodes-allowlist": made.enodes,
            "accounts-allowlist": [
                *(made.address(f"keys/{name}.key") for name in ("admin", "publisher", "settler")), PAYEE,
            ],
        }  # fmt: skip


def test_a_node_calls_all_others_and_not_itself(made: Made) -> None:
    for place, name in enumerate(made.names):
        others = [*made.enodes[:place], *made.enodes[place + 1 :]]
        assert json.loads(made.text(f"{name}/static-nodes.json")) == others


def test_a_node_listens_for_peers_and_on_loopback_and_offers_no_administration(made: Made) -> None:
    for place, name in enumerate(made.names):
        config = tomllib.loads(made.text(f"{name}/config.toml"))
        assert config.keys() == OPTIONS
        assert (config["p2p-host"], config["p2p-port"]) == (HOSTS[place], 30303)
        assert (config["rpc-http-host"], config["rpc-http-port"]) == ("127.0.0.1", 8545)
        assert config["rpc-http-api"] == ["ETH", "NET", "WEB3", "QBFT"]
        assert config["host-allowlist"] == ["localhost", "127.0.0.1"]
        assert config["discovery-enabled"] is False
        assert config["permissions-nodes-config-file-enabled"] is True
        assert config["permissions-accounts-config-file-enabled"] is True
        assert config["min-gas-price"] == 0


def test_what_a_node_names_is_in_its_folder(made: Made) -> None:
    for name in made.names:
        config = tomllib.loads(made.text(f"{name}/config.toml"))
        named = [value for value in config.values() if isinstance(value, str) and value.startswith("/etc/")]
        assert len(named) == 5
        for path in named:
            assert (made.folder / Path(path).relative_to("/etc/besu")).is_file()
        assert made.text(f"{name}/genesis.json") == made.text("genesis.json")


@pytest.mark.parametrize("alone", [False, True])
def test_the_compose_files_run_each_node_on_the_hosts_network(made: Made, alone: bool) -> None:
    for name in made.names:
        content = compose.read(made.text(f"{name}/compose.yaml" if alone else "compose.yaml"))
        assert list(content["services"]) == ([name] if alone else made.names)
        service: dict[str, Any] = content["services"][name]
        assert "ports" not in service
        assert service["image"] == "hyperledger/besu:26.9.0"
        assert service["network_mode"] == "host"
        # the image's environment says all addresses, which wins over config.toml
        assert service["command"] == [
            f"--config-file=/etc/besu/{name}/config.toml", "--rpc-http-host=127.0.0.1",
        ]  # fmt: skip
        folder = "." if alone else f"./{name}"
        assert service["volumes"] == [f"{folder}:/etc/besu/{name}:ro", f"{folder}/data:/var/lib/besu/{name}"]
        assert service["restart"] == "unless-stopped"
        place = made.folder / name
        owner = f"{place.stat().st_uid}:{place.stat().st_gid}"
        assert service["user"] == owner != "0:0"
        assert {f"{path.stat().st_uid}:{path.stat().st_gid}" for path in place.iterdir()} == {owner}
        assert not list((place / "data").iterdir())


def test_the_compose_files_are_yaml_for_others_too(made: Made) -> None:
    python = shutil.which("python3", path="/usr/bin")
    script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
    done = python and subprocess.run(
        [python, "-c", script], input=made.text("compose.yaml"), capture_output=True, text=True, check=False
    )
    if not done or "No module named" in done.stderr:
        pytest.skip("no other reader of YAML on this machine")
    assert json.loads(done.stdout) == compose.read(made.text("compose.yaml"))


def test_the_unit_is_one_that_systemd_takes(made: Made, tmp_path: Path) -> None:
    unit = made.text("besu@.service")
    assert "--config-file=/etc/besu/%i/config.toml" in unit
    assert "StateDirectory=besu/%i" in unit
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd on this machine")
    known = unit.replace("/opt/besu/bin/besu", "/bin/true").replace("User=besu", "User=daemon")
    (tmp_path / "besu@.service").write_text(known, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "besu@validator-1.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, str(tmp_path) in done.stderr) == (0, False), done.stderr


def test_the_aggregators_section_is_one_that_it_takes(made: Made) -> None:
    section = tomllib.loads(made.text("aggregator-chain.toml"))["chain"]
    anchor = ChainSettings.model_validate(section).anchor()
    assert anchor.rpc_url == "http://127.0.0.1:8545"
    assert anchor.chain_id == made.genesis["config"]["chainId"]
    assert anchor.contract == list(made.genesis["alloc"])[1]
    assert (made.folder / anchor.key_file).is_file()


def test_a_trust_file_is_a_key_and_the_networks_section(made: Made) -> None:
    key = str(SigningKey.generate("example.org/log").verifier)
    arguments = ["trust", "--key", key, "--chain", str(made.folder / "trust-chain.toml")]
    trust = Trust.from_file(CliRunner().invoke(ledger_commands.app, arguments).output.encode())
    assert trust.chain is not None
    assert [f"0x{address.hex()}" for address in trust.chain.validators] == made.addresses
    assert f"0x{trust.chain.contract.hex()}" == list(made.genesis["alloc"])[1]
    assert trust.chain.id == made.genesis["config"]["chainId"]


def test_the_readme_is_filled_in_and_says_what_was_not_run(made: Made) -> None:
    text = made.text("README.md")
    assert not re.search(r"\$\{|\$[a-z_]+", text)
    assert "no Besu node was started with them" in text
    for address in (*made.addresses, *made.genesis["alloc"]):
        assert address in text
    assert "ask net_peerCount                                  # 0x3 " in text
    runs_as = compose.read(made.text("validator-1/compose.yaml"))["services"]["validator-1"]["user"]
    assert f"chown -R {runs_as} validator-1\n" in text
    assert "cp -r validator" not in text  # a key is moved, never copied
    assert "blocks are still made, which needs 3; 1 may be false" in text
