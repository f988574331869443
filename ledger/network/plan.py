"""What a network shall be: its validators, where they listen, and the rules of its chain."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.errors import LedgerError
from ledger.network.key import Key
from ledger.state import contract_address

CHAIN_ID = 20_260_004
BESU_VERSION = "26.9.0"
P2P_PORT, RPC_PORT = 30_303, 8545
MAX_VALIDATORS = 100
FAULT_TOLERANT = 4
"""Fewer validators survive no faulty one."""
LOOPBACK = "127.0.0.1"
_ACCOUNT = re.compile("0x[0-9a-fA-F]{40}")
_VERSION = re.compile(r"[0-9]{2}\.[0-9]{1,2}\.[0-9]{1,2}")


class NetworkError(LedgerError):
    """No network can be written that way."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a validator listens: for its peers on `host`, for JSON-RPC on loopback of its own machine."""

    host: str
    p2p_port: int
    rpc_port: int

    @property
    def rpc_url(self) -> str:
        """Its JSON-RPC, for programs of the same machine."""
        return f"http://{LOOPBACK}:{self.rpc_port}"

    @property
    def interface(self) -> str:
        """The address that it binds for its peers: a host behind a router does not have its outer address."""
        return LOOPBACK if ipaddress.ip_address(self.host).is_loopback else "0.0.0.0"  # noqa: S104 - see above


@dataclass(frozen=True, slots=True)
class Validator:
    """One validator of the network."""

    number: int
    key: Key
    site: Site

    @property
    def name(self) -> str:
        """Its folder and its service."""
        return f"validator-{self.number}"

    @property
    def enode(self) -> str:
        """Its address among peers."""
        return f"enode://{self.key.public.hex()}@{self.site.host}:{self.site.p2p_port}"


@dataclass(frozen=True, slots=True)
class Rules:
    """How the chain runs; times in seconds, `epoch` in blocks."""

    chain_id: int
    block_period_s: int
    request_timeout_s: int
    epoch: int
    begins_at: datetime


@dataclass(frozen=True, slots=True)
class Network:
    """All that the files are written from.

    `admin` owns the contracts. `publisher` and `settler` are the aggregator's: one anchors checkpoints, one
    acts in agreements, because an account has one sequence of transactions. `accounts` may send some, too.
    """

    rules: Rules
    validators: tuple[Validator, ...]
    admin: Key
    publisher: Key
    settler: Key
    accounts: tuple[bytes, ...]
    besu_version: str

    @property
    def contract(self) -> bytes:
        """The CheckpointLog that the chain begins with, as if the admin's first transaction had made it."""
        return contract_address(self.admin.address, 0)

    @property
    def enodes(self) -> tuple[str, ...]:
        """Where each validator's peers find it."""
        return tuple(validator.enode for validator in self.validators)

    @property
    def senders(self) -> tuple[str, ...]:
        """The accounts that may send transactions, each once."""
        ours = (self.admin.text, self.publisher.text, self.settler.text)
        return tuple(dict.fromkeys((*ours, *(f"0x{account.hex()}" for account in self.accounts))))

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """The validators' addresses, in ascending order as the genesis block lists them."""
        return tuple(sorted(validator.key.address for validator in self.validators))

    @property
    def quorum(self) -> int:
        """How many validators must seal a block: two thirds, rounded up."""
        return (2 * len(self.validators) + 2) // 3

    @property
    def may_lie(self) -> int:
        """How many validators may be faulty in any way: below a third."""
        return (len(self.validators) - 1) // 3

    @property
    def may_rest(self) -> int:
        """How many validators may be down while blocks are still made."""
        return len(self.validators) - self.quorum

    def warnings(self) -> list[str]:
        """What a person should know before this network is trusted."""
        found = []
        count = len(self.validators)
        if count < FAULT_TOLERANT:
            found.append(
                f"{count} validator{'s' * (count > 1)} cannot outvote a single faulty one: QBFT tolerates"
                f" (n-1)/3, which is 0 here; evidence that others shall trust takes {FAULT_TOLERANT} or more"
            )
        if len({validator.site.host for validator in self.validators}) == 1:
            found.append(
                "all validators are on one host, which can then change the chain alone and fails as a whole;"
                " give each its own by --host"
            )
        return found


def found(rules: Rules, sites: Sequence[Site], accounts: Sequence[str], besu_version: str) -> Network:
    """A network with fresh keys. NetworkError if an account or the version is not what it should be."""
    if not _VERSION.fullmatch(besu_version):
        raise NetworkError(f"{besu_version!r} is no version of Besu, such as {BESU_VERSION}")
    validators = (Validator(place, Key.generate(), site) for place, site in enumerate(sites, 1))
    return Network(
        rules,
        tuple(validators),
        Key.generate(),
        Key.generate(),
        Key.generate(),
        tuple(_account(account) for account in accounts),
        besu_version,
    )


def plan_sites(count: int, hosts: Sequence[str], p2p_port: int, rpc_port: int) -> tuple[Site, ...]:
    """Where `count` validators listen: on one host, or on as many hosts as there are validators. Those that
    share a host get consecutive ports. NetworkError names the host or port that does not fit.
    """
    if not 1 <= count <= MAX_VALIDATORS:
        raise NetworkError(f"a network has 1 to {MAX_VALIDATORS} validators, not {count}")
    if len(hosts) not in (1, count):
        raise NetworkError(f"{count} validators need 1 host or {count}, not {len(hosts)}")
    named = [_host(host) for host in hosts]
    placed = named * count if len(named) == 1 else named
    machines = [LOOPBACK if ipaddress.ip_address(host).is_loopback else host for host in placed]
    sites = []
    for place, host in enumerate(placed):
        before = machines[:place].count(machines[place])
        sites.append(Site(host, p2p_port + before, rpc_port + before))
    crowd = max(machines.count(machine) for machine in machines)
    if max(p2p_port, rpc_port) + crowd - 1 > 65_535:
        raise NetworkError(f"{crowd} ports from {max(p2p_port, rpc_port)} on go beyond 65535")
    if abs(p2p_port - rpc_port) < crowd:
        raise NetworkError(
            f"{crowd} ports from {p2p_port} on for peers and from {rpc_port} on for JSON-RPC overlap"
        )
    return tuple(sites)


def _account(text: str) -> bytes:
    if not _ACCOUNT.fullmatch(text):
        raise NetworkError(f"{text!r} is no account, 0x and 40 hexadecimal digits")
    return bytes.fromhex(text[2:])


def _host(text: str) -> str:
    """Addresses only: permissions compare addresses, and a name would need an option that Besu calls early
    access.
    """
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as error:
        raise NetworkError(
            f"{text!r} is no IPv4 address; peers are permitted by address, not name"
        ) from error
    if address.is_unspecified or address.is_multicast:
        raise NetworkError(f"{text} is no address of a host")
    return str(address)
