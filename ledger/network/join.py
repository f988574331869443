"""One more node for a network, made from the folder of another of its nodes; that one's key is not read."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from ledger.network.folder import File, validator_files
from ledger.network.key import Key
from ledger.network.plan import NetworkError, Site, Validator

_NAME = re.compile(r"validator-([1-9][0-9]{0,3})")


@dataclass(frozen=True, slots=True)
class Peers:
    """What every node of a network has alike."""

    chain_id: int
    block: str
    enodes: tuple[str, ...]
    accounts: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path) -> Peers:
        """What the files in a node's folder say; NetworkError names the file that cannot be used."""
        block = _read(folder / "genesis.json")
        lists = _read(folder / "permissions_config.toml")
        try:
            chain_id = json.loads(block)["config"]["chainId"]
            table = tomllib.loads(lists)
            enodes, accounts = table["nodes-allowlist"], table["accounts-allowlist"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise NetworkError(f"{folder} is no folder of a node: {error!r}") from error
        if type(chain_id) is not int or not _are_texts(enodes) or not _are_texts(accounts):
            raise NetworkError(f"{folder} is no folder of a node: chainId or a list is of another kind")
        return cls(chain_id, block, tuple(enodes), tuple(accounts))


def joiner(name: str, site: Site, peers: Peers) -> Validator:
    """A node of that name with a fresh key; NetworkError if the name or the place is not free."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise NetworkError(f"a node's folder is named validator-N, not {name!r}: its services are called so")
    validator = Validator(int(match[1]), Key.generate(), site)
    place = validator.enode.partition("@")[2]
    if place in {enode.partition("@")[2] for enode in peers.enodes}:
        raise NetworkError(f"another node is at {place}")
    return validator


def joining_files(validator: Validator, peers: Peers, besu_version: str) -> list[File]:
    """The new node's files."""
    return validator_files(
        validator,
        chain_id=peers.chain_id,
        enodes=(*peers.enodes, validator.enode),
        accounts=peers.accounts,
        block=peers.block,
        besu_version=besu_version,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise NetworkError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise NetworkError(f"{path} cannot be read: it is not text in UTF-8") from error


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
