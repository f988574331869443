"""`flexpact ledger network`: the files of a network of Besu validators."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from flexpact.clock import Clock
from ledger.errors import LedgerError
from ledger.network import plan

# Running the contract's constructor takes the EVM, which takes a second to load: imported where it is needed.

NOT_RUN = (
    "What it writes was checked as files, its first block also on another Ethereum client; no Besu node was"
    " ever started with it by flexpact's makers. Try it where it does not matter first."
)

app = typer.Typer(no_args_is_help=True)
network = typer.Typer(
    help=f"The files of a network of Besu validators (QBFT). {NOT_RUN}", no_args_is_help=True
)
app.add_typer(network, name="network")

Version = Annotated[str, typer.Option(metavar="VERSION", help="The version of Besu's image.")]
Show = Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and write nothing.")]


@network.command(epilog=NOT_RUN)
def init(
    *,
    validators: Annotated[
        int, typer.Option(min=1, max=plan.MAX_VALIDATORS, help="How many; below 4 none may be faulty.")
    ] = plan.FAULT_TOLERANT,
    out: Annotated[Path, typer.Option(help="The folder to make; it must not exist.")] = Path("besu-network"),
    host: Annotated[
        list[str] | None,
        typer.Option(help="IPv4 address of a validator, once for each in order; once for all; loopback."),
    ] = None,
    p2p_port: Annotated[
        int,
        typer.Option(min=1, max=65_535, help="Port for peers; the next ones for others on the same host."),
    ] = plan.P2P_PORT,
    rpc_port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port of JSON-RPC on loopback; counted in the same way.")
    ] = plan.RPC_PORT,
    chain_id: Annotated[int, typer.Option(min=1, max=2**53 - 1, help="The chain's id.")] = plan.CHAIN_ID,
    block_period: Annotated[int, typer.Option(min=1, max=3600, help="Seconds between two blocks.")] = 5,
    request_timeout: Annotated[
        int | None,
        typer.Option(min=1, max=7200, help="Seconds before another proposes; twice the period by default."),
    ] = None,
    epoch: Annotated[
        int, typer.Option(min=1, max=10**9, help="Blocks after which votes begin anew.")
    ] = 30_000,
    account: Annotated[
        list[str] | None, typer.Option(help="A further account that may send transactions; repeatable.")
    ] = None,
    besu_version: Version = plan.BESU_VERSION,
    dry_run: Show = False,
) -> None:
    """Write a network: keys, first block, permissions, services, a README, and the pieces for flexpact.

    Each validator has a folder of its own, by which it starts on a machine of its own. The first block holds
    a CheckpointLog, so that an aggregator anchors at once; gas is free.
    """
    from ledger.network.folder import network_files, refuse_existing, write  # noqa: PLC0415 - see above

    with one_sentence():
        refuse_existing(out)
        sites = plan.plan_sites(validators, host or [plan.LOOPBACK], p2p_port, rpc_port)
        now = Clock.real()()
        made = plan.found(
            plan.Rules(chain_id, block_period, request_timeout or 2 * block_period, epoch, now),
            sites,
            account or [],
            besu_version,
        )
        files = network_files(made, now)
        show(out, [file.path for file in files])
        typer.echo(f"chain {chain_id}, contract 0x{made.contract.hex()}, admin {made.admin.text}")
        _say_what_holds(made, validators)
        if not dry_run:
            write(out, files, [validator.name for validator in made.validators])
            typer.echo(f"written; {out / 'README.md'} says how to start it")


def _say_what_holds(made: plan.Network, validators: int) -> None:
    """How many validators may fail, and what else stands against the network."""
    typer.echo(
        f"{validators} validator{'s' * (validators > 1)}: blocks need {made.quorum},"
        f" {made.may_rest} may be down, {made.may_lie} false"
    )
    for warning in made.warnings():
        typer.echo(f"WARNING: {warning}", err=True)


@network.command(epilog=NOT_RUN)
def join(
    peer: Annotated[Path, typer.Argument(help="The folder of a node of the network; its key is not needed.")],
    *,
    out: Annotated[Path, typer.Option(help="The folder to make, named validator-N; it must not exist.")],
    host: Annotated[str, typer.Option(help="IPv4 address of the new node.")] = plan.LOOPBACK,
    p2p_port: Annotated[int, typer.Option(min=1, max=65_535, help="Port for peers.")] = plan.P2P_PORT,
    rpc_port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port of JSON-RPC on loopback.")
    ] = plan.RPC_PORT,
    besu_version: Version = plan.BESU_VERSION,
    dry_run: Show = False,
) -> None:
    """Write the folder of one more node, and print what the others must permit and vote on."""
    from ledger.network.folder import refuse_existing, write  # noqa: PLC0415 - see above
    from ledger.network.join import Peers, joiner, joining_files  # noqa: PLC0415 - see above

    with one_sentence():
        refuse_existing(out)
        (site,) = plan.plan_sites(1, [host], p2p_port, rpc_port)
        peers = Peers.load(peer)
        validator = joiner(out.name, site, peers)
        files = joining_files(validator, peers, besu_version)
        show(out, [file.path for file in files])
        if not dry_run:
            write(out, files, [""])
            typer.echo(f"address {validator.key.text}")
            typer.echo(f"enode   {validator.enode}")


def show(folder: Path, paths: Sequence[str]) -> None:
    """Print what is to be written."""
    typer.echo(f"{folder}/")
    for path in paths:
        typer.echo(f"  {path}")


@contextmanager
def one_sentence() -> Iterator[None]:
    """What goes wrong inside ends the program with one sentence."""
    try:
        yield
    except LedgerError as error:
        raise SystemExit(f"flexpact ledger network: {error}") from None
