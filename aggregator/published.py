"""What others hold of the log: the newest checkpoint in the contract and with the witnesses.

A database that is put back may be older than what was published. The log must not go on from there under its
name: it would sign a second tree over the same numbers.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence

import aiohttp

from aggregator.errors import BackupError
from aggregator.settings import ChainSettings, WitnessSettings
from ledger import offline
from ledger.check import Head
from ledger.checkpoint import Checkpoint, VerifierKey, parse_count
from ledger.errors import ChainError, LedgerError, MalformedError, VerificationError
from ledger.merkle import EMPTY_ROOT
from ledger.receipt import Anchor, commitment, parse_hex
from ledger.state import ADDRESS_BYTES
from ledger.witness import request_text

MAX_ANSWER_BYTES = 16 * 1024
NOTHING = commitment(0, EMPTY_ROOT)


def held_elsewhere(
    chain: ChainSettings | None, witnesses: Sequence[WitnessSettings], conn: sqlite3.Connection
) -> list[Head]:
    """The heads that contract and witnesses hold; that of a witness, who tells a size only, has no root.

    BackupError if one of them cannot be asked.
    """

    async def ask() -> list[Head]:
        return [head async for head in _heads(chain, witnesses, conn)]

    try:
        return asyncio.run(ask())
    except LedgerError as error:
        raise BackupError(
            f"what was published of the log is not known: {error}; --offline goes on without asking"
        ) from error


async def _heads(
    chain: ChainSettings | None, witnesses: Sequence[WitnessSettings], conn: sqlite3.Connection
) -> AsyncIterator[Head]:
    if chain is not None and (on_chain := await _on_chain(chain, conn)) is not None:
        yield on_chain
    notes = [row[2] for row in offline.checkpoints(conn)]
    for witness in witnesses if notes else ():
        if (seen := await _seen_by(witness, Checkpoint.parse(notes[-1]))) is not None:
            yield seen


async def _on_chain(chain: ChainSettings, conn: sqlite3.Connection) -> Head | None:
    """What the contract holds; None before its first checkpoint. The database tells from which block on what
    it does not know itself is to be looked for.
    """
    from ledger.node import Node  # noqa: PLC0415  # web3 takes seconds to load

    contract = parse_hex("settings", chain.contract.lower(), ADDRESS_BYTES)
    async with Node.open(chain.rpc_url, chain.timeout_s) as node:
        if (found := await node.chain_id()) != chain.chain_id:
            raise ChainError(f"the node serves chain {found}, not {chain.chain_id}")
        head = await node.head(chain.chain_id, contract)
        if head.word == NOTHING:
            return None
        name = f"the contract {chain.contract}"
        for size, word, note, _ in offline.checkpoints(conn):
            if word == head.word:
                return Head(size, Checkpoint.parse(note).root, name)
        for step in reversed(await node.published(contract, _newest_block(conn), head.number)):
            if commitment(step.size, step.root) == head.word:
                return Head(step.size, step.root, name)
    raise ChainError(f"{name} holds {head.word.hex()}, and no event tells of which size that is")


def _newest_block(conn: sqlite3.Connection) -> int:
    proofs = [row["proof"] for row in offline.anchors(conn) if row["state"] == "anchored"]
    return Anchor.parse(proofs[-1]).block().number if proofs else 0


async def _seen_by(witness: WitnessSettings, newest: Checkpoint) -> Head | None:
    """Up to where a witness has cosigned, in C2SP's own way: it is asked to cosign the newest checkpoint
    again, and tells the size if it has seen another. None if it does not know the log yet.
    """
    name = VerifierKey.parse(witness.key).name
    url = witness.url.rstrip("/") + "/add-checkpoint"
    body = request_text(newest.size, [], newest.text()).encode()
    timeout = aiohttp.ClientTimeout(total=witness.timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.post(url, data=body, allow_redirects=False) as answer,
        ):
            text = (await answer.content.read(MAX_ANSWER_BYTES)).decode("utf-8", "replace")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise LedgerError(f"{name} does not answer: {error or type(error).__name__}") from error
    if answer.status == 200:
        return Head(newest.size, newest.root, f"the witness {name}")
    if answer.status != 409:
        raise LedgerError(f"{name} answers {answer.status}: {text[:200].strip()}")
    try:
        size = parse_count("witness", text.removesuffix("\n"))
    except MalformedError as error:
        raise VerificationError("witness", f"{name} tells no size: {text[:200]!r}") from error
    return Head(size, b"", f"the witness {name}") if size else None
