"""`flexpact ledger agreement` with a party's own key, against the real contracts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flexpact.cli import build
from flexpact.pki import issue, make_authority
from ledger.agreement_contract import NAME
from ledger.contract_node import ContractNode
from ledger.interface import interface
from openadr.certificate import KeyKind
from tests.ledger.parties import DAY_S, Programme, made_template


@pytest.fixture
async def programme(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, database_template: Path
) -> AsyncIterator[Programme]:
    template = await asyncio.to_thread(
        asyncio.run, made_template(tmp_path_factory.mktemp("programme"), database_template)
    )
    async with template.opened(tmp_path) as made:
        made.clock.advance(DAY_S)
        made.agreement_id = template.agreement_id
        yield made


async def run(*words: str) -> tuple[int, str]:
    """Exit code and all that the command said; in a thread, because it has an event loop of its own."""
    arguments = ["ledger", "agreement", *words]
    done = await asyncio.to_thread(CliRunner().invoke, build(arguments), arguments)
    return done.exit_code, done.output


async def test_a_party_sees_the_money_and_takes_it_and_is_told_what_is_wrong(programme: Programme) -> None:
    agreement_id = programme.agreement_id.hex()
    await programme.statement(programme.agreement_id)
    await programme.step()
    where = ("--rpc", programme.server.url, "--contract", f"0x{programme.deployed.agreement.hex()}")
    shown = await run(
        "show", agreement_id, *where, "--clock", f"{programme.clock():%Y-%m-%dT%H:%M:%SZ}@heldx1"
    )
    told: dict[str, Any] = json.loads(shown[1])
    (event,) = told["events"]
    assert (told["state"], told["clauses"]["capacity_kw"], event["status"]) == ("active", 60.0, "open")
    assert (event["requested_wh"], event["delivered_wh"], event["incentive_minor"]) == (80_000, 70_001, 2100)
    assert event["signal_hash"] == "01" * 32
    key = ("--key-file", str(programme.folder / "node.key"))
    nothing = await run("withdraw", agreement_id, *where, *key)
    assert nothing[0] == 1
    assert nothing[1].startswith("flexpact ledger: the contract refuses: NothingToWithdraw(")
    programme.clock.advance(3601)
    await programme.step()
    assert await run("withdraw", agreement_id, *where, *key) == (0, "withdraw: done\n")
    assert await programme.balance("node") == 2100

    # what is missing or unknown is said in a sentence
    code, said = await run("show", "ab" * 32, *where)
    assert (code, "knows no agreement abab" in said) == (1, True)
    code, said = await run("accept", "ab" * 32, *where, *key)
    assert (code, "the contract refuses: UnknownAgreement(id 0xabab" in said) == (1, True)
    code, said = await run("show", "abc", *where)
    assert (code, said.startswith("flexpact ledger: id: not")) == (1, True)
    decide = ("--outcome", "measured", "--finding", "x", "--delivered-wh")
    code, said = await run("resolve", agreement_id, "ab" * 32, *where, *key, *decide, str(10**18))
    assert (code, "Invalid value for '--delivered-wh'" in said) == (2, True)
    code, said = await run("suspend", "ab" * 32)
    assert (code, "give --socket, or --rpc, --contract and --key-file" in said) == (2, True)

    await contested(programme, where)

    # the arbiter stops the agreement, and the node ends it
    arbiter = ("--key-file", str(programme.folder / "arbiter.key"))
    assert await run("suspend", agreement_id, "--reason", "4", *where, *arbiter) == (0, "suspend: done\n")
    assert await run("close", agreement_id, *where, *key) == (0, "close: done\n")
    shown = await run(
        "show", agreement_id, *where, "--clock", f"{programme.clock():%Y-%m-%dT%H:%M:%SZ}@heldx1"
    )
    told = json.loads(shown[1])
    assert (told["state"], told["why"]) == ("suspended", "suspended by the arbiter")
    assert told["closes_at"] is not None
    assert (told["paid_minor"], told["node_token_balance_minor"]) == (2100, 2100)
    assert json.loads((await run("list", *where))[1]) == [agreement_id]
    await deployed_by_hand(programme)


async def contested(programme: Programme, where: tuple[str, ...]) -> None:
    """The node contests another event and the arbiter decides; the chain has salted hashes of their words."""
    await programme.statement(programme.agreement_id, "event-2")
    await programme.step()
    event_key = (await programme.account("event-2")).event_key.hex()
    decided = ("--finding", "no", "--outcome", "measured", "--delivered-wh", "70001")
    words = {"dispute": ("node", "--reason", "no"), "resolve": ("arbiter", *decided)}
    for (function, (who, *said)), topic in zip(words.items(), ("Disputed", "Resolved"), strict=True):
        key = ("--key-file", str(programme.folder / f"{who}.key"))
        code, printed = await run(function, programme.agreement_id.hex(), event_key, *said, *where, *key)
        salt, done = printed.removeprefix("salt: ").splitlines()
        assert (code, done) == (0, f"{function}: done")
        async with ContractNode.open(programme.server.url, 30) as node:
            newest = (await node.newest()).number
            address = programme.deployed.agreement
            (entry,) = await node.events(address, interface(NAME).topic(topic), 0, newest)
        assert entry.data == sha256(bytes.fromhex(salt) + b"no").digest()


async def deployed_by_hand(programme: Programme) -> None:
    """Contracts of an admin's own, and a party registered there with its certificate."""
    rpc = ("--rpc", programme.server.url, "--key-file", str(programme.folder / "admin.key"))
    code, said = await run("deploy", *rpc)
    made = json.loads(said)
    assert (code, made.keys()) == (0, {"registry", "token", "agreement"})
    now = datetime.now(UTC)
    make_authority(programme.folder / "pki", now, [KeyKind.RSA])
    issued = issue(programme.folder / "pki", "dso", now, server=False, kind=KeyKind.RSA)
    account = f"0x{programme.key('arbiter').address.hex()}"
    party = (
        "--registry",
        made["registry"],
        "--account",
        account,
        "--role",
        "dso",
        "--cert",
        str(issued.cert),
    )
    await registered_by_its_own_binding(programme, rpc, made["registry"])
    assert await run("register", *rpc, *party, "--cert-key", str(issued.key)) == (0, "")
    assert await run("register", *rpc, *party, "--cert-key", str(issued.key)) == (0, "")  # once is enough
    code, said = await run("register", *rpc, *party, "--cert-key", str(issued.cert))
    assert (code, "holds no private key that is not encrypted" in said) == (1, True)
    issued.key.chmod(0o644)
    code, said = await run("register", *rpc, *party, "--cert-key", str(issued.key))
    assert (code, "holds a private key and is open to others" in said) == (1, True)


async def registered_by_its_own_binding(programme: Programme, rpc: tuple[str, ...], registry: str) -> None:
    """A node keeps its key and sends what it signed; the admin registers only what fits its certificate."""
    now = datetime.now(UTC)
    pki, kind = programme.folder / "pki", KeyKind.RSA
    issued, other = (issue(pki, name, now, server=False, kind=kind) for name in ("box", "other"))
    account = f"0x{programme.key('node').address.hex()}"
    where = ("--rpc", programme.server.url, "--registry", registry, "--account", account)
    keys = ("--cert", str(issued.cert), "--cert-key", str(issued.key))
    code, printed = await run("bind", *where, "--role", "node", *keys)
    assert (code, json.loads(printed).keys()) == (0, {"certificate", "key", "signature"})
    binding = programme.folder / "binding.json"
    binding.write_text(printed)

    async def refused(cert: Path, *changes: str) -> str:
        sent = ("--role", "node", "--cert", str(cert), "--binding", str(binding), *changes)
        before = programme.blocks()
        code, said = await run("register", *rpc, "--registry", registry, "--account", account, *sent)
        assert (code != 0, programme.blocks()) == (True, before)
        return said

    assert "binding: the binding is of another certificate: expected" in await refused(other.cert)
    assert "the certificate's key signed something else" in await refused(issued.cert, "--role", "prosumer")
    no_admin = ("--key-file", str(programme.folder / "node.key"))
    assert "the contract refuses: OwnableUnauthorizedAccount(" in await refused(issued.cert, *no_admin)
    assert "give --binding or --cert-key" in await refused(issued.cert, "--cert-key", str(issued.key))
    binding.write_text(printed.replace("0x", "", 1))
    assert "binding: certificate: not 0x and hexadecimal digits" in await refused(issued.cert)
    binding.write_text(printed)
    sent = ("--role", "node", "--cert", str(issued.cert), "--binding", str(binding))
    done = await run("register", *rpc, "--registry", registry, "--account", account, *sent)
    assert done == (0, "")
    assert "the registry holds another certificate" in await refused(other.cert)
