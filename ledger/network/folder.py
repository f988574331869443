"""A network as a folder of files: which there are, and writing them once."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ledger.keyfile import write_secret
from ledger.network import besu, service, settings
from ledger.network.genesis import genesis
from ledger.network.guide import guide
from ledger.network.plan import Network, NetworkError, Validator
from ledger.network.predeploy import checkpoint_log

ADMIN_KEY, PUBLISHER_KEY, SETTLER_KEY = "keys/admin.key", "keys/publisher.key", "keys/settler.key"
DATA = "data"
IMAGE_USER = (1000, 1000)
"""User and group of Besu in its image."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a folder; a secret one is of mode 0600 and holds one line."""

    path: str
    text: str
    secret: bool = False

    def below(self, folder: str) -> File:
        """The same in a folder."""
        return replace(self, path=f"{folder}/{self.path}")


def network_files(network: Network, now: datetime) -> list[File]:
    """All files of a network, in the order in which they are written."""
    log = checkpoint_log(network.admin, network.publisher.address, now)
    block = json.dumps(genesis(network, log), indent=2) + "\n"
    found = [
        File("README.md", guide(network, owner())),
        File("genesis.json", block),
        File("compose.yaml", service.compose(network, owner())),
        File(service.UNIT, service.unit()),
        File("aggregator-chain.toml", settings.aggregator(network, PUBLISHER_KEY)),
        File("trust-chain.toml", settings.trust(network)),
        File(ADMIN_KEY, network.admin.line, secret=True),
        File(PUBLISHER_KEY, network.publisher.line, secret=True),
        File(SETTLER_KEY, network.settler.line, secret=True),
    ]
    for validator in network.validators:
        alone = validator_files(
            validator,
            chain_id=network.rules.chain_id,
            enodes=network.enodes,
            accounts=network.senders,
            block=block,
            besu_version=network.besu_version,
        )
        found += [file.below(validator.name) for file in alone]
    return found


def validator_files(
    validator: Validator,
    *,
    chain_id: int,
    enodes: Sequence[str],
    accounts: Sequence[str],
    block: str,
    besu_version: str,
) -> list[File]:
    """The files of one node, by which it starts on a machine of its own."""
    others = [enode for enode in enodes if enode != validator.enode]
    return [
        File("key", validator.key.line, secret=True),
        File("config.toml", besu.configuration(validator, chain_id)),
        File("permissions_config.toml", besu.permissions(enodes, accounts)),
        File("static-nodes.json", besu.static_nodes(others)),
        File("genesis.json", block),
        File("compose.yaml", service.compose_one(validator, besu_version, owner())),
    ]


def owner() -> tuple[int, int]:
    """User and group that the nodes run as in containers: whoever writes the folder, but never root."""
    return IMAGE_USER if os.geteuid() == 0 else (os.geteuid(), os.getegid())


def refuse_existing(folder: Path) -> None:
    """NetworkError if there is anything at that path."""
    if folder.exists() or folder.is_symlink():
        raise NetworkError(f"{folder} exists already; it is never overwritten")


def write(folder: Path, files: Sequence[File], validators: Sequence[str]) -> None:
    """Write files into a new folder that only its owner may enter. `validators` are the folders of nodes in
    it, "" for itself; each gets an empty folder for its chain, and root gives it to the nodes' user.

    NetworkError if the folder exists or cannot be written. It takes its name only when it is whole.
    """
    refuse_existing(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        partial.mkdir(mode=0o700)
        for file in files:
            _write(partial, file)
        for name in validators:
            place = partial / name
            (place / DATA).mkdir(mode=0o700)
            if os.geteuid() == 0:
                for path in (place, *place.iterdir()):
                    os.chown(path, *owner())
        partial.rename(folder)
    except FileExistsError as error:
        raise NetworkError(f"{partial} is left from an earlier attempt; look at it and remove it") from error
    except OSError as error:
        raise NetworkError(f"{folder} cannot be written: {error.strerror}") from error


def _write(folder: Path, file: File) -> None:
    path = folder / file.path
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if file.secret:
        write_secret(path, file.text)
    else:
        path.write_text(file.text, encoding="utf-8")
