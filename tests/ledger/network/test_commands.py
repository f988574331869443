"""`flexpact ledger network`, as a person types it."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from coincurve import PrivateKey

from ledger.network.folder import File, write
from ledger.network.plan import NetworkError, Rules, found, plan_sites
from ledger.state import keccak256
from tests.ledger.network import compose
from tests.ledger.network.conftest import Made, command


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_every_file_is_shown_with_what_the_network_bears(made: Made) -> None:
    lines = made.said.stdout.splitlines()
    shown = {line.strip() for line in lines if line.startswith("  ")}
    assert shown == {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file()}
    assert "4 validators: blocks need 3, 1 may be down, 1 false" in lines
    assert "WARNING" not in made.said.output


def test_a_rehearsal_writes_nothing(tmp_path: Path) -> None:
    done = command("init", "--out", str(tmp_path / "n"), "--dry-run")
    assert done.exit_code == 0
    assert "  validator-4/key" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "1 validator: blocks need 1, 0 may be down, 0 false"),
        (2, "2 validators: blocks need 2, 0 may be down, 0 false"),
        (3, "3 validators: blocks need 2, 1 may be down, 0 false"),
        (5, "5 validators: blocks need 4, 1 may be down, 1 false"),
        (7, "7 validators: blocks need 5, 2 may be down, 2 false"),
    ],
)
def test_fewer_than_four_validators_are_warned_of(count: int, said: str, tmp_path: Path) -> None:
    done = command("init", "--out", str(tmp_path / "n"), "--validators", str(count), "--dry-run")
    assert said in done.stdout
    assert ("cannot outvote a single faulty one" in done.stderr) == (count < 4)
    assert "all validators are on one host" in done.stderr


def test_the_docs_say_what_a_network_bears() -> None:
    text = (Path(__file__).parents[3] / "docs" / "network.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    assert len(rows) == 7
    for row in rows:
        count, *said = map(int, row)
        sites = plan_sites(count, ["127.0.0.1"], 30303, 8545)
        rules = Rules(1, 1, 1, 1, datetime(2026, 1, 20, tzinfo=UTC))
        network = found(rules, sites, [], "26.9.0")
        assert said == [network.quorum, network.may_rest, network.may_lie]


def test_a_warning_stands_in_the_readme(tmp_path: Path) -> None:
    command("init", "--out", str(tmp_path / "n"), "--validators", "1")
    text = (tmp_path / "n" / "README.md").read_text(encoding="utf-8")
    assert "> **Warning.** 1 validator cannot outvote a single faulty one" in text


def test_validators_of_one_host_get_ports_of_their_own(tmp_path: Path) -> None:
    command("init", "--out", str(tmp_path / "n"), "--p2p-port", "31000", "--rpc-port", "9000")
    ports = []
    for place in (1, 2, 3, 4):
        config = tomllib.loads((tmp_path / "n" / f"validator-{place}" / "config.toml").read_text())
        assert (config["p2p-host"], config["p2p-interface"]) == ("127.0.0.1", "127.0.0.1")
        ports.append((config["p2p-port"], config["rpc-http-port"]))
    assert ports == [(31000, 9000), (31001, 9001), (31002, 9002), (31003, 9003)]


def test_hosts_may_be_shared(tmp_path: Path) -> None:
    sites = plan_sites(4, ["10.0.0.1", "10.0.0.2", "10.0.0.1", "127.0.0.1"], 30303, 8545)
    assert [(site.host, site.p2p_port, site.rpc_port, site.interface) for site in sites] == [
        ("10.0.0.1", 30303, 8545, "0.0.0.0"),
        ("10.0.0.2", 30303, 8545, "0.0.0.0"),
        ("10.0.0.1", 30304, 8546, "0.0.0.0"),
        ("127.0.0.1", 30303, 8545, "127.0.0.1"),
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--host", "node.example"], "'node.example' is no IPv4 address; peers are permitted by address"),
        (["--host", "::1"], "'::1' is no IPv4 address"),
        (["--host", "0.0.0.0"], "0.0.0.0 is no address of a host"),
        (["--host", "224.0.0.1"], "224.0.0.1 is no address of a host"),
        (["--host", "10.0.0.1", "--host", "10.0.0.2"], "4 validators need 1 host or 4, not 2"),
        (["--p2p-port", "65533"], "4 ports from 65533 on go beyond 65535"),
        (["--p2p-port", "8543"], "4 ports from 8543 on for peers and from 8545 on for JSON-RPC overlap"),
        (["--account", "0x12"], "'0x12' is no account"),
        (["--besu-version", "latest"], "'latest' is no version of Besu, such as 26.9.0"),
        (["--out", "{dir}"], "exists already; it is never overwritten"),
        (["--out", "{dir}/none/n"], "none/n cannot be written: No such file or directory"),
    ],
)
def test_what_goes_wrong_is_one_sentence(arguments: Sequence[str], sentence: str, tmp_path: Path) -> None:
    given = [word.replace("{dir}", str(tmp_path)) for word in arguments]
    done = command("init", "--out", str(tmp_path / "n"), *given)
    assert isinstance(done.exception, SystemExit)
    assert str(done.exception).startswith("flexpact ledger network: ")
    assert sentence in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "n").symlink_to(tmp_path / "elsewhere")
    assert "exists already" in str(command("init", "--out", str(tmp_path / "n")).exception)
    assert names(tmp_path) == ["n"]


def test_an_attempt_that_was_cut_off_is_left_to_a_person(tmp_path: Path) -> None:
    (tmp_path / ".n.partial").mkdir()
    done = command("init", "--out", str(tmp_path / "n"))
    assert ".n.partial is left from an earlier attempt" in str(done.exception)
    assert not (tmp_path / "n").exists()


def test_a_folder_takes_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    files = [File("a", "1"), File("a/b", "2")]  # the second cannot be written below the first
    with pytest.raises(NetworkError):
        write(tmp_path / "n", files, [])
    assert names(tmp_path) == [".n.partial"]


@pytest.fixture
def peer(made: Made, tmp_path: Path) -> Path:
    """A node's folder without its key, as its owner would hand it out."""
    shutil.copytree(made.folder / "validator-2", tmp_path / "validator-2")
    (tmp_path / "validator-2" / "key").unlink()
    return tmp_path / "validator-2"


def test_a_joining_node_knows_all_others(made: Made, peer: Path, tmp_path: Path) -> None:
    new = tmp_path / "validator-5"
    done = command("join", str(peer), "--out", str(new), "--host", "10.0.0.5")
    assert done.exit_code == 0
    public = PrivateKey.from_hex((new / "key").read_text().strip()).public_key.format(compressed=False)[1:]
    enode = f"enode://{public.hex()}@10.0.0.5:30303"
    assert done.stdout.splitlines()[-2:] == [
        f"address 0x{keccak256(public)[12:].hex()}",
        f"enode   {enode}",
    ]
    lists = tomllib.loads((new / "permissions_config.toml").read_text())
    assert lists["nodes-allowlist"] == [*made.enodes, enode]
    assert lists["accounts-allowlist"][0] == made.address("keys/admin.key")
    assert json.loads((new / "static-nodes.json").read_text()) == made.enodes
    assert (new / "genesis.json").read_text() == made.text("genesis.json")
    assert (new / "key").stat().st_mode & 0o777 == 0o600
    config = tomllib.loads((new / "config.toml").read_text())
    assert config["genesis-file"] == "/etc/besu/validator-5/genesis.json"
    assert list(compose.read((new / "compose.yaml").read_text())["services"]) == ["validator-5"]
    assert (new / "data").is_dir()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "{dir}/five"], "is named validator-N, not 'five'"),
        (["--out", "{dir}/validator-5", "--host", "10.0.0.3"], "another node is at 10.0.0.3:30303"),
        (["--out", "{dir}/validator-2", "--host", "10.0.0.5"], "exists already"),
    ],
)
def test_a_node_that_cannot_join_is_told_why(
    arguments: Sequence[str], sentence: str, peer: Path, tmp_path: Path
) -> None:
    given = [word.replace("{dir}", str(tmp_path)) for word in arguments]
    assert sentence in str(command("join", str(peer), *given).exception)
    assert names(tmp_path) == ["validator-2"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("genesis.json", None, "genesis.json cannot be read: No such file or directory"),
        ("genesis.json", b"\xff", "genesis.json cannot be read: it is not text in UTF-8"),
        ("genesis.json", b"{", "is no folder of a node"),
        ("genesis.json", b"[" * 100_000, "is no folder of a node"),
        ("genesis.json", b"{}", "is no folder of a node"),
        ("genesis.json", b'{"config": {"chainId": true}}', "chainId or a list is of another kind"),
        ("permissions_config.toml", b"nodes-allowlist = 1\naccounts-allowlist = []", "of another kind"),
        ("permissions_config.toml", b"nodes-allowlist = []\naccounts-allowlist = [1]", "of another kind"),
        ("permissions_config.toml", b"nodes-allowlist = []", "is no folder of a node"),
    ],
)
def test_a_folder_that_is_no_nodes_is_refused(
    name: str, content: bytes | None, sentence: str, peer: Path, tmp_path: Path
) -> None:
    (peer / name).unlink()
    if content is not None:
        (peer / name).write_bytes(content)
    done = command("join", str(peer), "--out", str(tmp_path / "validator-5"), "--host", "10.0.0.5")
    assert sentence in str(done.exception)
    assert not (tmp_path / "validator-5").exists()


@pytest.mark.parametrize("name", ["init", "join"])
def test_help_says_what_was_not_run(name: str) -> None:
    said = " ".join(command(name, "--help").output.split())
    assert "no Besu node was ever started with it" in said
