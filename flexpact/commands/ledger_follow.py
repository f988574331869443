"""`flexpact ledger follow`: hold a log's checkpoints against the chain, once or for ever."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexpact import verdict
from ledger import trust as trust_file
from ledger.consistency import keep_evidence
from ledger.errors import ChainUnavailableError, ForkError, LedgerError, VerificationError
from ledger.trust import Trust
from ledger.verify import Status, Step, read_evidence

if TYPE_CHECKING:
    from ledger.follow import Follower

app = typer.Typer(no_args_is_help=True)


@app.command()
def follow(
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="A folder of receipts, an export of the log, or an address below which checkpoint and tiles"
            " are served (C2SP).",
        ),
    ],
    trust: Annotated[Path, typer.Option(help="The log's keys and the chain's contract.")],
    rpc: Annotated[str, typer.Option(help="JSON-RPC of a chain node that you trust to answer.")],
    directory: Annotated[Path, typer.Option("--dir", help="Where it keeps what it has seen, and evidence.")],
    first_block: Annotated[
        int, typer.Option("--first-block", min=0, help="The contract is not older than this block.")
    ] = 0,
    every_s: Annotated[float, typer.Option("--every", min=1, help="Seconds between two looks.")] = 60.0,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for answers.")] = 10,
    once: Annotated[bool, typer.Option("--once", help="Look once and exit.")] = False,
) -> None:
    """Follow a log and its chain: each checkpoint of the one must be the other's.

    Exit code 1, also without --once: a fork, a gap, a double or an older state; the last line names it, and
    both sides are kept in DIR. With --once 3: something could not be checked now; 0: everything was.
    """
    try:
        trusted = Trust.from_file(read_evidence("trust", trust, trust_file.MAX_FILE_BYTES))
        directory.mkdir(parents=True, exist_ok=True)
        kept, pause = (directory, first_block), None if once else every_s
        code = asyncio.run(_follow(source, trusted, rpc, kept=kept, timeout_s=timeout_s, every_s=pause))
    except VerificationError as error:
        typer.echo(verdict.as_lines([], error))
        code = verdict.EXIT_FAILED
    except (LedgerError, OSError) as error:
        raise SystemExit(f"flexpact ledger: {error}") from None
    raise typer.Exit(code)


async def _follow(
    source: str, trust: Trust, rpc: str, *, kept: tuple[Path, int], timeout_s: float, every_s: float | None
) -> int:
    # web3 takes a second to load.
    from ledger.follow import Follower  # noqa: PLC0415
    from ledger.head_source import FolderSource, UrlSource  # noqa: PLC0415
    from ledger.node import Node  # noqa: PLC0415

    folder, first_block = kept
    heads = UrlSource(source, timeout_s) if "://" in source else FolderSource(Path(source))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with Node.open(rpc, timeout_s) as node:
            follower = Follower(trust, heads, node, folder, first_block)
            if every_s is None:
                steps = await _look(follower)
                typer.echo(verdict.as_lines(steps, None))
                return verdict.exit_code(steps, None)
            await _keep_looking(follower, every_s, stop)
    except ForkError as error:
        typer.echo(verdict.as_lines([], error))
        typer.echo(f"kept: {keep_evidence(folder, error)}")
        return verdict.EXIT_FAILED
    finally:
        await heads.close()
    return 0


async def _keep_looking(follower: "Follower", every_s: float, stop: asyncio.Event) -> None:
    """Until it is stopped, or something is wrong; says what changed."""
    said = ""
    while not stop.is_set():
        lines = verdict.as_lines(await _look(follower), None)
        if lines != said:
            typer.echo(lines)
            said = lines
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await stop.wait()


async def _look(follower: "Follower") -> Sequence[Step]:
    """The steps; a side that does not answer is one that could not be checked."""
    from ledger.head_source import SourceError  # noqa: PLC0415 - as above

    try:
        return await follower.look()
    except SourceError as error:
        return [Step("log", Status.NOT_CHECKED, str(error))]
    except ChainUnavailableError as error:
        return [Step("chain", Status.NOT_CHECKED, str(error))]
