"""`flexpact ledger`: keys, the embedded chain, the contract and the trust file."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from flexpact.clock import Clock, ClockError
from ledger.checkpoint import COSIGNATURE, ED25519, KINDS, SigningKey, VerifierKey, check_name, parse_count
from ledger.errors import LedgerError
from ledger.log_key import log_key
from ledger.receipt import MAX_FILE_BYTES, Receipt, parse_hex
from ledger.record import parse_time
from ledger.signer import key_place, make_in
from ledger.state import ADDRESS_BYTES
from ledger.token_uri import TokenUri
from ledger.trust import ChainTrust, LogKey, Trust, ValidatorSet, WitnessTrust
from ledger.verify import read_evidence

# web3 and the EVM take seconds and tens of megabytes to load; each command loads what it needs and no more.

app = typer.Typer(no_args_is_help=True)
key = typer.Typer(help="Make and show the keys of the log and of the chain.", no_args_is_help=True)
chain = typer.Typer(help="The embedded chain.", no_args_is_help=True)
app.add_typer(key, name="key")
app.add_typer(chain, name="chain")

DEPLOY_TIMEOUT_S = 30.0

Result = TypeVar("Result")


@key.command("new")
def new_key(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URI", help="The file to make, or the pkcs11: URI of the key; never overwritten."
        ),
    ],
    origin: Annotated[
        str | None, typer.Option(help="Make a log's signing key, for the log of this name.")
    ] = None,
    witness: Annotated[
        str | None, typer.Option(help="Make a witness's signing key, for the witness of this name.")
    ] = None,
) -> None:
    """Make a secret key in FILE (mode 0600), or inside a PKCS#11 token, and print its public half.

    With --origin it is the key that signs a log's checkpoints, with --witness one that cosigns those of
    others (in files only), else one that sends transactions to a chain.
    """
    if origin is not None and witness is not None:
        raise typer.BadParameter("--origin and --witness exclude each other")

    def make() -> str:
        place = key_place(file)
        if isinstance(place, TokenUri):
            return _made_in_token(place, origin, witness)
        name = origin if origin is not None else witness
        if name is not None:
            signing = SigningKey.generate(name, ED25519 if origin is not None else COSIGNATURE)
            signing.save(place)
            return str(signing.verifier)
        from ledger.chain_key import ChainKey  # noqa: PLC0415 - see above

        return f"0x{ChainKey.create(place).address.hex()}"

    typer.echo(_or_one_sentence(make))


@key.command("show")
def show_key(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE|URI", help="A log's or a witness's signing key, or a key in a token."),
    ],
    origin: Annotated[
        str | None,
        typer.Option(help="The log's name, which a token does not know; left out: an account's key."),
    ] = None,
) -> None:
    """Print the public half of a signing key, as trust files name it, or the account of a key in a token."""

    def public() -> str:
        place = key_place(file)
        if isinstance(place, TokenUri):
            return _in_token(place, origin)
        if origin is not None:
            raise LedgerError("--origin is for a key in a token: a file holds the name")
        return str(SigningKey.load(place, *KINDS).verifier)

    typer.echo(_or_one_sentence(public))


def _made_in_token(uri: TokenUri, origin: str | None, witness: str | None) -> str:
    if witness is not None:
        raise LedgerError("a witness keeps its key in a file: --witness takes no pkcs11: URI")
    if origin is not None:
        check_name(origin)
    make_in(uri, ed25519=origin is not None)
    return _in_token(uri, origin)


def _in_token(uri: TokenUri, origin: str | None) -> str:
    if origin is not None:
        return str(log_key(uri, origin).verifier)
    from ledger.chain_key import ChainKey  # noqa: PLC0415 - see above

    return f"0x{ChainKey.load(uri).address.hex()}"


@chain.command()
def serve(
    directory: Annotated[Path, typer.Option("--dir", help="Where the chain is kept; made if it is missing.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    clock: Annotated[str, typer.Option(help="The clock that blocks are dated by.")] = "real",
) -> None:
    """Run the embedded chain: JSON-RPC on loopback, its address printed and written to DIR/rpc-url."""
    from ledger.chain import EmbeddedChain  # noqa: PLC0415 - see above
    from ledger.rpc import serve as serve_rpc  # noqa: PLC0415 - see above

    def ready(url: str) -> None:
        (directory / "rpc-url").write_text(url + "\n", encoding="ascii")
        typer.echo(url)

    async def run(opened: EmbeddedChain) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            await serve_rpc(opened, port, ready, stop)
        except OSError as error:
            if error.filename is not None or error.errno is None:
                raise
            reason = os.strerror(error.errno)
            raise LedgerError(f"cannot listen on 127.0.0.1 port {port}: {reason}") from error

    def start() -> None:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            opened = EmbeddedChain(directory, Clock.parse(clock))
        except sqlite3.Error as error:
            raise LedgerError(f"the chain in {directory} cannot be opened: {error}") from error
        try:
            asyncio.run(run(opened))
        finally:
            opened.close()

    _or_one_sentence(start)


@app.command()
def deploy(
    rpc: Annotated[str, typer.Option(help="JSON-RPC of a chain node.")],
    key_file: Annotated[
        str, typer.Option(metavar="FILE|URI", help="The secret key that pays for the transaction.")
    ],
    publisher: Annotated[
        str | None, typer.Option(help="The account that may publish; the key's own by default.")
    ] = None,
) -> None:
    """Deploy a CheckpointLog contract and print its address."""
    from ledger.chain_key import ChainKey  # noqa: PLC0415 - see above
    from ledger.node import Node  # noqa: PLC0415 - see above

    async def run() -> str:
        maker = ChainKey.load(key_place(key_file))
        may_publish = parse_hex("publisher", publisher, ADDRESS_BYTES) if publisher else maker.address
        async with Node.open(rpc, DEPLOY_TIMEOUT_S) as node:
            return f"0x{(await node.deploy(maker, may_publish)).hex()}"

    typer.echo(_or_one_sentence(lambda: asyncio.run(run())))


@app.command()
def trust(
    *,
    log_keys: Annotated[
        list[str],
        typer.Option(
            "--key",
            help="A public key of the log, name+id+key; behind it, in the same argument, may stand when it "
            "counts: from TIME, until TIME, lost TIME (as 2026-01-20T00:00:00Z). May be given several times.",
        ),
    ],
    receipt: Annotated[
        Path | None, typer.Option(help="Take chain, contract and block from this receipt.")
    ] = None,
    chain_file: Annotated[
        Path | None,
        typer.Option("--chain", help="Take the chain from this file, a [chain] section by itself."),
    ] = None,
    chain_id: Annotated[int | None, typer.Option(min=1, help="The chain's id.")] = None,
    contract: Annotated[str | None, typer.Option(help="The contract's address.")] = None,
    header: Annotated[str | None, typer.Option(help="The hash of a block that you trust.")] = None,
    validators: Annotated[
        list[str] | None,
        typer.Option(
            "--validator",
            help="The address of a validator that you trust; may be given several times. With it, --receipt "
            "gives no block. Behind the address, in the same argument, may stand of which blocks it is one: "
            "from BLOCK, until BLOCK (which is the first without it).",
        ),
    ] = None,
    witnesses: Annotated[
        list[str] | None,
        typer.Option("--witness", help="A witness's public key; may be given several times."),
    ] = None,
    needed: Annotated[
        int | None, typer.Option(min=1, help="How many witnesses must have cosigned; all by default.")
    ] = None,
) -> None:
    """Print a trust file. Without a chain, or without a block's hash or validators, verification reports
    steps as not checked.
    """
    said = _ChainSaid(receipt, chain_file, chain_id, contract, header, tuple(validators or ()))
    said.check()
    if needed is not None and not 1 <= needed <= len(witnesses or ()):
        raise typer.BadParameter("--needed is more than there are --witness")

    def make() -> str:
        chain = said.trust()
        keys = tuple(VerifierKey.parse(text) for text in witnesses or ())
        witness = WitnessTrust(needed or len(keys), keys) if keys else None
        text = Trust(tuple(_log_key(words) for words in log_keys), chain, witness).text()
        Trust.from_file(text.encode())  # what no verifier would read is not printed
        return text

    typer.echo(_or_one_sentence(make), nl=False)


@dataclass(frozen=True, slots=True)
class _ChainSaid:
    """What the options say of the chain."""

    receipt: Path | None
    chain_file: Path | None
    chain_id: int | None
    contract: str | None
    header: str | None
    validators: tuple[str, ...]

    def check(self) -> None:
        """BadParameter where options contradict each other, or one lacks another."""
        single = (self.chain_id, self.contract, self.header)
        if self.receipt is not None and single != (None, None, None):
            raise typer.BadParameter("--receipt says what --chain-id, --contract and --header would say")
        if self.chain_file is not None and (self.receipt, *single, self.validators or None) != (None,) * 5:
            raise typer.BadParameter("--chain says what all other options of the chain would say")
        if (self.chain_id is None) != (self.contract is None):
            raise typer.BadParameter("--chain-id and --contract go together")
        alone = self.contract is None and self.receipt is None
        if (self.header is not None or self.validators) and alone:
            raise typer.BadParameter("--header and --validator need --chain-id and --contract")

    def trust(self) -> ChainTrust | None:
        """The chain part of the trust file; None without a chain."""
        sealers, sets = _validators(self.validators)
        if self.chain_file is not None:
            return ChainTrust.from_section(read_evidence("trust", self.chain_file, MAX_FILE_BYTES))
        if self.receipt is not None:
            return _chain_of(self.receipt, sealers, sets)
        if self.chain_id is None or self.contract is None:
            return None
        block = parse_hex("header", self.header, 32) if self.header is not None else None
        contract = parse_hex("contract", self.contract, ADDRESS_BYTES)
        return ChainTrust(self.chain_id, contract, block, sealers, sets)


def _chain_of(receipt: Path, sealers: tuple[bytes, ...], sets: tuple[ValidatorSet, ...]) -> ChainTrust:
    """The chain that a receipt names, and its block unless validators are trusted."""
    anchor = Receipt.from_file(read_evidence("receipt", receipt, MAX_FILE_BYTES)).anchor
    block = None if sealers or sets else anchor.block().hash
    return ChainTrust(anchor.chain_id, anchor.contract, block, sealers, sets)


def _validators(texts: tuple[str, ...]) -> tuple[tuple[bytes, ...], tuple[ValidatorSet, ...]]:
    """The validators in words, ADDRESS from BLOCK until BLOCK: one list if no block is said, else sets."""
    spans = [_validator(text) for text in texts]
    if all(span[1:] == (0, None) for span in spans):
        return tuple(address for address, _, _ in spans), ()
    changes = sorted({block for _, *blocks in spans for block in blocks if block is not None})
    sets: list[ValidatorSet] = []
    for block in changes:
        now = tuple(
            address for address, first, end in spans if first <= block and (end is None or block < end)
        )
        sets.append(ValidatorSet(now, block))
    return (), tuple(sets)


def _validator(text: str) -> tuple[bytes, int, int | None]:
    """An address, the first block that it seals as a validator, and the first that it no longer seals."""
    words = text.split()
    blocks: dict[str, int] = {}
    for word, value in zip(words[1::2], words[2::2], strict=False):
        if word not in ("from", "until") or word in blocks:
            break
        blocks[word] = parse_count("validator", value)
    if len(words) != 1 + 2 * len(blocks):
        raise LedgerError(f"--validator is ADDRESS, then from BLOCK, until BLOCK as needed, not {text!r}")
    first, end = blocks.get("from", 0), blocks.get("until")
    if end is not None and end <= first:
        raise LedgerError(f"--validator ends before it begins: from {first}, until {end}")
    return parse_hex("validator", words[0], ADDRESS_BYTES), first, end


def _log_key(text: str) -> LogKey:
    """The key and its times in words: KEY from TIME until TIME lost TIME."""
    words = text.split()
    times = {}
    for word, value in zip(words[1::2], words[2::2], strict=False):
        if word not in _TIMES or _TIMES[word] in times:
            break
        times[_TIMES[word]] = parse_time(value)
    if len(words) != 1 + 2 * len(times):
        raise LedgerError(f"--key is KEY, then from TIME, until TIME, lost TIME as needed, not {text!r}")
    return LogKey(VerifierKey.parse(words[0]), **times)


_TIMES = {"from": "valid_from", "until": "valid_until", "lost": "lost_at"}


def _or_one_sentence(act: Callable[[], Result]) -> Result:
    try:
        return act()
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise SystemExit(f"flexpact ledger: {said}") from None
    except (LedgerError, ClockError) as error:
        raise SystemExit(f"flexpact ledger: {error}") from None
