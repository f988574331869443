"""Where a demo keeps what: certificates, keys, settings of every process; written before anything starts."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flexpact.demo.errors import DemoError
from flexpact.demo.plan import HISTORY, MARKET_CONTEXT, Plan
from flexpact.demo.toml import write_toml
from flexpact.pki import LIFE_DAYS, PkiError, issue, make_authority
from ledger.checkpoint import SigningKey
from ledger.errors import LedgerError
from openadr.certificate import KeyKind

LOG_ORIGIN = "demo.flexpact.example/log"
CHECKPOINT_PERIOD_S = 900
_POLL_PERIOD_S, _REAL_POLL_PERIOD_S = 300, 10
PEER = "peer"


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of one demo. Sockets lie in a directory of their own: their paths must be short."""

    directory: Path
    sockets: Path

    @property
    def pki(self) -> Path:
        """Authority, certificates and keys."""
        return self.directory / "pki"

    @property
    def logs(self) -> Path:
        """What each process says."""
        return self.directory / "logs"

    @property
    def receipts(self) -> Path:
        """Records and receipts of all leaves."""
        return self.directory / "receipts"

    @property
    def trust(self) -> Path:
        """What the verifier takes as given."""
        return self.directory / "trust.toml"

    @property
    def clock(self) -> Path:
        """The clock that all processes share."""
        return self.directory / "clock"

    @property
    def chain(self) -> Path:
        """The embedded chain's own files."""
        return self.directory / "chain"

    @property
    def chain_key(self) -> Path:
        """The key of the account that anchors."""
        return self.directory / "chain.key"

    @property
    def keys(self) -> Path:
        """The accounts' keys in the agreements: each party's, by name."""
        return self.directory / "keys"

    @property
    def log_key(self) -> Path:
        """The key that signs checkpoints."""
        return self.directory / "log.key"

    @property
    def aggregator_state(self) -> Path:
        """The folder of the aggregator's database."""
        return self.directory / "state" / "aggregator"

    @property
    def first_sign_in(self) -> Path:
        """Where the aggregator lays the one-time link to its dashboard."""
        return self.aggregator_state / "first-login.txt"

    @property
    def control_socket(self) -> Path:
        """Where the aggregator takes an operator's questions."""
        return self.sockets / "aggregator"

    @property
    def simulator_socket(self) -> Path:
        """Where homes and devices answer."""
        return self.sockets / "homes"

    def settings(self, process: str) -> Path:
        """Return where a process has its settings."""
        return self.directory / "settings" / f"{process}.toml"


def prepare(layout: Layout, plan: Plan, real_now: datetime) -> Mapping[str, str]:
    """Write keys, certificates and what needs no address; return each node's fingerprint by name."""
    try:
        for directory in (layout.chain, layout.directory / "settings", layout.directory / "state"):
            directory.mkdir(parents=True)
        make_authority(layout.pki, real_now)
        # TLS goes by the real day, the requests on a connection by the one that is played
        days = LIFE_DAYS + max(0, (plan.end - real_now).days)
        for kind in KeyKind:
            issue(layout.pki, "vtn", real_now, server=True, kind=kind, days=days)
        made = {name: issue(layout.pki, name, real_now, server=False, days=days) for name in every_node(plan)}
        prints = {name: identity.fingerprint for name, identity in made.items()}
        SigningKey.generate(LOG_ORIGIN).save(layout.log_key)
        layout.chain_key.touch(mode=0o600)
        layout.chain_key.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
        write_toml(layout.settings("homes"), _homes(layout, plan))
    except OSError as error:
        raise DemoError(f"{error.filename or layout.directory}: {error.strerror}") from None
    except (PkiError, LedgerError) as error:
        raise DemoError(str(error)) from None
    return prints


def aggregator_settings(
    layout: Layout,
    plan: Plan,
    prints: Mapping[str, str],
    *,
    vtn_port: int,
    web_port: int,
    chain_url: str,
    contracts: tuple[str, str],
) -> Path:
    """Write the aggregator's settings and return their path; `contracts` are log and agreements."""
    content: dict[str, object] = {
        "state": layout.aggregator_state,
        "socket": layout.control_socket,
        "vtn": {
            "host": "127.0.0.1",
            "port": vtn_port,
            "cert": layout.pki / "vtn.pem",
            "key": layout.pki / "vtn.key",
            "rsa_cert": layout.pki / "vtn-rsa.pem",
            "rsa_key": layout.pki / "vtn-rsa.key",
            "ca": layout.pki / "ca.pem",
            "vtn_id": "DEMO-VTN",
            "poll_period_s": poll_period_s(plan),
        },
        "web": {"port": web_port, "insecure_dev": True},
        "log": {"origin": LOG_ORIGIN, "key_file": layout.log_key},
        "chain": {"rpc_url": chain_url, "contract": contracts[0], "key_file": layout.chain_key},
        "agreements": {
            "contract": contracts[1],
            "key_file": layout.keys / "aggregator.key",
            "required": True,
        },
        "programme": {
            "market_context": MARKET_CONTEXT,
            "zone": plan.zone,
            "history_days": HISTORY.days,
            "checkpoint_period_s": CHECKPOINT_PERIOD_S,
            "settlement_deadline_s": 30 if plan.options.peer else 7200,
        },
        "nodes": [
            {
                "ven_name": name,
                "fingerprint": fingerprint,
                "ven_id": ven_id(number),
                "agreement": _agreement(number, notice_min=0 if plan.options.peer else 60),
            }
            for number, (name, fingerprint) in enumerate(prints.items())
        ],
    }
    return write_toml(layout.settings("aggregator"), content)


def feid_settings(layout: Layout, plan: Plan, node: str, vtn_port: int) -> Path:
    """Write one box's settings and return their path."""
    content: dict[str, object] = {
        "node": node,
        "state": layout.directory / "state" / f"{node}.sqlite",
        "driver": {"kind": "simulated", "socket": layout.simulator_socket},
        "limits": {"connection_capacity_kw": 25.0},
        "ven": {
            "vtn_url": f"https://127.0.0.1:{vtn_port}",
            "ven_name": node,
            "state_path": layout.directory / "state" / f"{node}-ven.sqlite",
            "cert": layout.pki / f"{node}.pem",
            "key": layout.pki / f"{node}.key",
            "ca": layout.pki / "ca.pem",
            "poll_period_s": poll_period_s(plan),
            "market_contexts": [MARKET_CONTEXT],
        },
    }
    return write_toml(layout.settings(node), content)


def every_node(plan: Plan) -> list[str]:
    """Return the names of all nodes that the aggregator knows, the stranger's too."""
    return [*plan.nodes, *([PEER] if plan.options.peer else [])]


def poll_period_s(plan: Plan) -> int:
    """Return how often nodes poll, in seconds of the plan's clock."""
    return _REAL_POLL_PERIOD_S if plan.options.peer else _POLL_PERIOD_S


def _homes(layout: Layout, plan: Plan) -> dict[str, object]:
    content: dict[str, object] = {
        "socket": layout.simulator_socket,
        "seed": plan.options.seed,
        "start": plan.start.isoformat(),
        "days_of_history": HISTORY.days,
        "nodes": plan.options.vens,
        "homes_per_node": plan.options.households_per_ven,
    }
    if plan.options.meters is not None:
        content["meters"] = plan.options.meters.resolve()
    return content


def ven_id(number: int) -> str:
    """Return the id of the node with this number, counted from 0."""
    return f"ven-{number + 1}"


def _agreement(number: int, *, notice_min: int) -> dict[str, object]:
    """Return the terms of the node with this number: later ones cost more, so that there is a choice."""
    return {
        "capacity_kw": 60,
        "price_minor_per_kwh": 30 + 2 * number,
        "penalty_minor_per_kwh": 20,
        "threshold": "0.8",
        "max_calls_per_day": 2,
        "notice_min": notice_min,
        "currency": "EUR",
    }
