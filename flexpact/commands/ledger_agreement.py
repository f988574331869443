"""`flexpact ledger agreement`: agreements on a chain, by the running aggregator or with a party's own key."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from flexpact import typed
from flexpact.clock import Clock, ClockError
from flexpact.control import ask, show
from ledger.errors import LedgerError
from ledger.receipt import ADDRESS_BYTES, parse_hex
from ledger.signer import key_place

if TYPE_CHECKING:
    from ledger.agreement_contract import AgreementContract
    from ledger.contract_node import ContractNode

# web3 takes a second and tens of megabytes to load; each command loads what it needs and no more.

app = typer.Typer(no_args_is_help=True)
agreement = typer.Typer(
    help="Agreements on a chain: by the running aggregator (--socket), or with a party's own key.",
    no_args_is_help=True,
)
app.add_typer(agreement, name="agreement")

TIMEOUT_S = 30.0
ID_BYTES = 32
MOST_WH = 2**47 - 1
"""The contract's int48."""
Result = TypeVar("Result")


class RoleName(StrEnum):
    """Whom an account stands for."""

    AGGREGATOR = "aggregator"
    NODE = "node"
    PROSUMER = "prosumer"
    DSO = "dso"
    AUDITOR = "auditor"


class OutcomeName(StrEnum):
    """Which rule decides a settlement."""

    MEASURED = "measured"
    LATE_OPT_OUT = "late_opt_out"
    TEST = "test"
    NOT_DELIVERED = "not_delivered"
    OPTED_OUT = "opted_out"
    UNMEASURED = "unmeasured"


Id = Annotated[str, typer.Argument(metavar="ID", help="The agreement's id, 64 hexadecimal digits.")]
Key = Annotated[str, typer.Argument(metavar="EVENT_KEY", help="The event's key in the contract, see `show`.")]
Rpc = Annotated[str | None, typer.Option(help="JSON-RPC of a chain node.")]
Contract = Annotated[str | None, typer.Option(help="Address of the DRAgreement.")]
KeyFile = Annotated[str | None, typer.Option(metavar="FILE|URI", help="The party's secret key on the chain.")]
Socket = Annotated[Path | None, typer.Option(help="Control socket of the running aggregator.")]
Why = Annotated[
    str,
    typer.Option(help="Why; only the SHA-256 of salt and text goes to the chain.", callback=typed.text),
]
NeedRpc = Annotated[str, typer.Option(help="JSON-RPC of a chain node.")]
NeedContract = Annotated[str, typer.Option(help="Address of the DRAgreement.")]
NeedKey = Annotated[str, typer.Option(metavar="FILE|URI", help="The party's secret key on the chain.")]
NeedSocket = Annotated[Path, typer.Option(help="Control socket of the running aggregator.")]


@agreement.command()
def deploy(
    rpc: NeedRpc,
    key_file: Annotated[
        str, typer.Option(metavar="FILE|URI", help="The secret key of the contracts' admin.")
    ],
    currency: Annotated[str, typer.Option(help="ISO 4217 code of the token's currency.")] = "EUR",
    decimals: Annotated[int, typer.Option(min=0, max=4, help="Digits of its minor unit.")] = 2,
) -> None:
    """Deploy registry, token and agreements, let the agreements mint, and print the three addresses."""

    async def run(node: "ContractNode") -> dict[str, str]:
        from ledger.chain_key import ChainKey  # noqa: PLC0415 - see above
        from ledger.setup import deploy_agreements  # noqa: PLC0415 - see above

        made = await deploy_agreements(node, ChainKey.load(key_place(key_file)), currency, decimals)
        addresses = {"registry": made.registry, "token": made.token, "agreement": made.agreement}
        return {name: f"0x{address.hex()}" for name, address in addresses.items()}

    typer.echo(json.dumps(_with_node(rpc, run)))


@agreement.command()
def register(  # noqa: PLR0917 - the command line passes them by name
    rpc: NeedRpc,
    key_file: Annotated[
        str, typer.Option(metavar="FILE|URI", help="The secret key of the registry's admin.")
    ],
    registry: Annotated[str, typer.Option(help="Address of the ParticipantRegistry.")],
    account: Annotated[str, typer.Option(help="The party's account on the chain.")],
    role: Annotated[RoleName, typer.Option(help="Whom it stands for.")],
    cert: Annotated[Path, typer.Option(help="The party's certificate, PEM.")],
    binding: Annotated[Path | None, typer.Option(help="What the party printed with `bind`.")] = None,
    cert_key: Annotated[Path | None, typer.Option(help="Or the certificate's key, PEM, to sign it.")] = None,
) -> None:
    """Register a party: its account, its role, and its certificate, which the chain sees as a hash only.
    Nothing is sent unless the binding is of that certificate and signed by its key.
    """

    async def run(node: "ContractNode") -> None:
        from flexpact.parties import bound_party, party  # noqa: PLC0415 - see above
        from ledger.chain_key import ChainKey  # noqa: PLC0415 - see above
        from ledger.setup import register as register_party  # noqa: PLC0415 - see above

        whose = _address("account", account), role, cert
        if binding is not None and cert_key is None:
            made = bound_party(*whose, binding)
        elif cert_key is not None and binding is None:
            made = party(*whose, cert_key)
        else:
            raise typer.BadParameter("give --binding or --cert-key")
        await register_party(node, ChainKey.load(key_place(key_file)), _address("registry", registry), made)

    _with_node(rpc, run)


@agreement.command()
def bind(  # noqa: PLR0917 - the command line passes them by name
    rpc: NeedRpc,
    registry: Annotated[str, typer.Option(help="Address of the ParticipantRegistry.")],
    account: Annotated[str, typer.Option(help="Your account on the chain.")],
    role: Annotated[RoleName, typer.Option(help="Whom it stands for.")],
    cert: Annotated[Path, typer.Option(help="Your certificate, PEM.")],
    cert_key: Annotated[Path, typer.Option(help="Its key, PEM; it stays with you.")],
) -> None:
    """Sign with your certificate's key that the account is yours; print what the registry's admin needs."""

    async def run(node: "ContractNode") -> str:
        from flexpact.parties import party  # noqa: PLC0415 - see above
        from ledger.setup import offer  # noqa: PLC0415 - see above

        made = party(_address("account", account), role, cert, cert_key)
        return (await offer(node, _address("registry", registry), made)).to_json()

    typer.echo(_with_node(rpc, run))


@agreement.command()
def propose(  # noqa: PLR0917 - the command line passes them by name
    node: Annotated[str, typer.Argument(help="The node's name.")],
    socket: NeedSocket,
    account: Annotated[str, typer.Option(help="The node's account on the chain.")],
    arbiter: Annotated[str, typer.Option(help="The account that decides disputes, a DSO's.")],
    start: Annotated[str, typer.Option(help="From when on, such as 2026-01-20T00:00:00Z.")],
    expiry: Annotated[str, typer.Option(help="Until when.")],
    payment_term_s: Annotated[int, typer.Option(help="Seconds until a payment is due.")] = 30 * 86_400,
    dispute_window_s: Annotated[int, typer.Option(help="Seconds until it is final.")] = 14 * 86_400,
) -> None:
    """Offer a node an agreement with the limits and prices of the aggregator's settings."""
    body = {
        "ven_name": node,
        "account": account,
        "arbiter": arbiter,
        "starts_at": start,
        "expires_at": expiry,
        "payment_term_s": payment_term_s,
        "dispute_window_s": dispute_window_s,
    }
    show(ask("ledger", socket, "POST", "/agreements", body))


@agreement.command("list")
def list_(socket: Socket = None, rpc: Rpc = None, contract: Contract = None) -> None:
    """List all agreements, with their nodes' names by --socket."""
    if socket is not None:
        show(ask("ledger", socket, "POST", "/agreements/look"))
        return

    async def run(asked: "AgreementContract") -> list[str]:
        newest = await asked.node.newest()
        return [found.hex() for found in await asked.proposed(newest.number)]

    show(_with_contract(rpc, contract, run))


@agreement.command("show")
def show_(
    agreement_id: Id,
    rpc: NeedRpc,
    contract: NeedContract,
    clock: Annotated[str, typer.Option(help="The clock that the chain goes by.")] = "real",
) -> None:
    """Show parties, clauses, state and why, every event with its hashes and money, and the node's tokens."""

    async def run(asked: "AgreementContract") -> dict[str, Any]:
        from ledger.agreement_view import view  # noqa: PLC0415 - see above

        return await view(asked, _id(agreement_id), Clock.parse(clock)())

    show(_with_contract(rpc, contract, run))


@agreement.command()
def accept(agreement_id: Id, rpc: NeedRpc, contract: NeedContract, key_file: NeedKey) -> None:
    """Take the offer, as its node: read it with `show` first."""

    async def run(asked: "AgreementContract") -> None:
        await _send(asked, key_file, "accept", _id(agreement_id), await asked.terms_hash(_id(agreement_id)))

    _with_contract(rpc, contract, run)


@agreement.command()
def withdraw(agreement_id: Id, rpc: NeedRpc, contract: NeedContract, key_file: NeedKey) -> None:
    """Move what was paid to the node's account, as the node."""
    _act(rpc, contract, key_file, "withdraw", _id(agreement_id))


@agreement.command()
def pay(agreement_id: Id, event_key: Key, rpc: NeedRpc, contract: NeedContract, key_file: NeedKey) -> None:
    """Pay a settlement by hand, as the aggregator; a running one does it by itself when it is final."""
    _act(rpc, contract, key_file, "pay", _id(agreement_id), _id(event_key))


@agreement.command()
def suspend(  # noqa: PLR0917 - the command line passes them by name
    agreement_id: Id,
    reason: Annotated[int, typer.Option(min=0, max=65_535, help="A code that the parties understand.")] = 0,
    socket: Socket = None,
    rpc: Rpc = None,
    contract: Contract = None,
    key_file: KeyFile = None,
) -> None:
    """Stop calls from now on, as the aggregator or the arbiter."""
    if socket is not None:
        show(
            ask(
                "ledger", socket, "POST", f"/agreements/{_id(agreement_id).hex()}/suspend", {"reason": reason}
            )
        )
        return
    _act(rpc, contract, key_file, "suspend", _id(agreement_id), reason)


@agreement.command()
def lift(
    agreement_id: Id,
    socket: Socket = None,
    rpc: Rpc = None,
    contract: Contract = None,
    key_file: KeyFile = None,
) -> None:
    """Allow calls again, as who suspended them or the arbiter."""
    if socket is not None:
        show(ask("ledger", socket, "POST", f"/agreements/{_id(agreement_id).hex()}/lift"))
        return
    _act(rpc, contract, key_file, "lift", _id(agreement_id))


@agreement.command()
def close(
    agreement_id: Id,
    socket: Socket = None,
    rpc: Rpc = None,
    contract: Contract = None,
    key_file: KeyFile = None,
) -> None:
    """End an agreement after its notice period, as the aggregator or the node."""
    if socket is not None:
        show(ask("ledger", socket, "POST", f"/agreements/{_id(agreement_id).hex()}/close"))
        return
    _act(rpc, contract, key_file, "close", _id(agreement_id))


@agreement.command()
def dispute(  # noqa: PLR0917 - the command line passes them by name
    agreement_id: Id,
    event: Annotated[str, typer.Argument(help="The event's key, or its id with --socket.")],
    reason: Why,
    socket: Socket = None,
    rpc: Rpc = None,
    contract: Contract = None,
    key_file: KeyFile = None,
) -> None:
    """Contest a settlement inside its window, as the node or the aggregator; keep the salt with the text."""
    if socket is not None:
        body = {"event_id": event, "reason": reason}
        show(ask("ledger", socket, "POST", f"/agreements/{_id(agreement_id).hex()}/dispute", body))
        return
    _act(rpc, contract, key_file, "dispute", _id(agreement_id), _id(event), _digest(reason))


@agreement.command()
def resolve(  # noqa: PLR0917 - the command line passes them by name
    agreement_id: Id,
    event_key: Key,
    outcome: Annotated[OutcomeName, typer.Option(help="Which rule decides.")],
    finding: Why,
    rpc: NeedRpc,
    contract: NeedContract,
    key_file: NeedKey,
    delivered_wh: Annotated[
        int, typer.Option(min=-MOST_WH - 1, max=MOST_WH, help="What was delivered, in Wh.")
    ] = 0,
) -> None:
    """Decide a dispute for ever, as the arbiter; keep the salt with the text."""
    from ledger.agreement import Outcome  # noqa: PLC0415 - see above

    decided = Outcome[outcome.name]
    ids = (_id(agreement_id), _id(event_key))
    _act(rpc, contract, key_file, "resolve", *ids, decided, delivered_wh, _digest(finding))


def _act(rpc: str | None, contract: str | None, key_file: str | None, *what: Any) -> None:
    """Send a call with the party's key, and say so when the chain holds it."""
    function, *arguments = what
    if key_file is None:
        raise typer.BadParameter("give --socket, or --rpc, --contract and --key-file")
    path = key_file
    _with_contract(rpc, contract, lambda asked: _send(asked, path, function, *arguments))


async def _send(contract: "AgreementContract", key_file: str, function: str, *arguments: Any) -> None:
    from ledger.agreement_contract import call  # noqa: PLC0415 - see above
    from ledger.chain_key import ChainKey  # noqa: PLC0415 - see above

    key = ChainKey.load(key_place(key_file))
    await contract.node.transact(key, contract.address, call(function, *arguments))
    typer.echo(f"{function}: done")


def _with_contract(
    rpc: str | None, contract: str | None, use: "Callable[[AgreementContract], Awaitable[Result]]"
) -> Result:
    if rpc is None or contract is None:
        raise typer.BadParameter("give --socket, or --rpc and --contract")

    async def run(node: "ContractNode") -> Result:
        from ledger.agreement_contract import AgreementContract  # noqa: PLC0415 - see above

        return await use(AgreementContract(node, _address("contract", contract)))

    return _with_node(rpc, run)


def _with_node(rpc: str, use: "Callable[[ContractNode], Awaitable[Result]]") -> Result:
    async def run() -> Result:
        from ledger.agreement_contract import refusal  # noqa: PLC0415 - see above
        from ledger.contract_node import ContractNode, RevertedCallError  # noqa: PLC0415 - see above

        async with ContractNode.open(rpc, TIMEOUT_S) as node:
            try:
                return await use(node)
            except RevertedCallError as error:
                raise LedgerError(f"the contract refuses: {refusal(error.data)[1]}") from error

    try:
        return asyncio.run(run())
    except OSError as error:
        raise SystemExit(f"flexpact ledger: {error.filename}: {error.strerror}") from None
    except (LedgerError, ClockError) as error:
        raise SystemExit(f"flexpact ledger: {error}") from None


def _id(text: str) -> bytes:
    try:
        return parse_hex("id", f"0x{text.removeprefix('0x').lower()}", ID_BYTES)
    except LedgerError as error:
        raise SystemExit(f"flexpact ledger: {error}") from None


def _address(name: str, text: str) -> bytes:
    return parse_hex(name, text.lower(), ADDRESS_BYTES)


def _digest(text: str) -> bytes:
    """What goes to the chain of a text; its salt is printed before anything is sent."""
    from ledger.agreement import salted_digest  # noqa: PLC0415 - see above

    salt, digest = salted_digest(text)
    typer.echo(f"salt: {salt.hex()}")
    return digest
