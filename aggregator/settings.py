"""How an aggregator is set up: one TOML file, read once at the start. Paths are relative to the file.

    state = "state"                       # the database lies here
    socket = "aggregator.sock"            # control API, mode 0600

    [loopback]                            # the control API on 127.0.0.1 too, for who knows the token
    port = 8444
    token_file = "token"                  # mode 0600

    [vtn]                                 # see vtn.settings.VtnSettings
    port = 8443
    ...
    [log]
    origin = "flexpact.example/log"
    key_file = "log.key"                  # or key_uri = "pkcs11:...", see docs/keys.md
    [[log.former_keys]]                   # keys before a rotation, see docs/keys.md
    key = "flexpact.example/log+..."
    valid_until = 2027-01-01T00:00:00Z
    [log.public]                          # checkpoint and tiles for everybody, see docs/witness.md
    port = 8445
    [[log.witnesses]]                     # who is asked to cosign
    url = "https://witness.dso.example"
    key = "dso.example/witness+..."

    [chain]                               # leave it out to keep the log without anchors
    rpc_url = "http://127.0.0.1:8545"
    contract = "0x..."
    key_file = "chain.key"

    [agreements]                          # agreements on that chain, see docs/agreements.md
    contract = "0x..."
    key_file = "aggregator.key"

    [web]                                 # the dashboard, see docs/operator-access.md
    port = 8446
    cert = "web.pem"
    key = "web.key"

    [notices]                             # whom to tell of alarms, see docs/operations.md
    hosts = ["hooks.example"]
    secret_file = "webhook.secret"

    [programme]
    market_context = "http://flexpact.example/peak"

    [limits]                              # budget and second person, see docs/event-safety.md
    approval_above_kw = 1000

    [[nodes]]
    ven_name = "node-1"
    fingerprint = "..."                   # SHA-256 of the certificate, 64 hex digits
    agreement = { capacity_kw = 20, price_minor_per_kwh = 35, penalty_minor_per_kwh = 20, threshold = 0.8,
                  max_calls_per_day = 2, notice_min = 60, currency = "EUR" }

All nodes of a programme have one currency; minor units are hundredths of it (cents).
Secrets are named by file, never written here. A name that is not known is refused.
"""

import tomllib
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from aggregator.agreement import Agreement
from aggregator.baseline import DEFAULT_CAP, Method
from aggregator.errors import SettingsError
from aggregator.limit_settings import LimitSettings
from aggregator.notice_settings import NoticeSettings
from aggregator.profile import Calendar
from aggregator.web_settings import WebSettings
from ledger.checkpoint import COSIGNATURE, VerifierKey
from ledger.errors import MalformedError
from ledger.settings import AnchorSettings, FormerKeySettings, KeySettings, SettlerSettings
from ledger.trust import LogKey, WitnessTrust
from vtn.operator_settings import LoopbackSettings
from vtn.settings import VtnSettings

EMBEDDED_CHAIN = 20_260_002
Money = Annotated[Decimal, Field(ge=0, le=1_000_000)]


class _Section(BaseModel):
    # what was refused may be a secret: errors name the field, and no value stays in them for a log
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class AgreementSettings(_Section):
    """The local mirror of the agreement with one node."""

    capacity_kw: Decimal = Field(gt=0, le=100_000, description="most that a call may ask, in kW")
    price_minor_per_kwh: Money = Field(description="incentive for each kWh delivered, in minor units")
    penalty_minor_per_kwh: Money = Field(
        description="penalty for each kWh missing to the threshold, in minor units"
    )
    threshold: Decimal = Field(ge=0, le=1, description="share of the request below which the penalty starts")
    max_calls_per_day: int = Field(ge=0, le=96, description="calls on one local day")
    notice_min: int = Field(
        ge=0, le=10_080, description="minutes from the notification to the start at least"
    )
    currency: str = Field(
        pattern="^[A-Z]{3}$", description="ISO 4217 code of a currency with two decimals, one for all nodes"
    )

    def agreement(self) -> Agreement:
        """The same as a value."""
        return Agreement(
            self.capacity_kw,
            self.price_minor_per_kwh,
            self.penalty_minor_per_kwh,
            self.threshold,
            self.max_calls_per_day,
            timedelta(minutes=self.notice_min),
            self.currency,
        )


class NodeSettings(_Section):
    """One Virtual Node: who may register, and what was agreed."""

    ven_name: str = Field(min_length=1, max_length=128, description="the name it registers with")
    fingerprint: str = Field(pattern="^[0-9a-fA-F]{64}$", description="SHA-256 of its certificate, hex")
    ven_id: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9._:-]{1,128}$",
        description="its id; a random one is made if left out",
    )
    agreement: AgreementSettings


class WitnessSettings(_Section):
    """A second party that is asked to cosign each checkpoint."""

    url: str = Field(pattern="^https?://", description="where it answers C2SP tlog-witness requests")
    key: str = Field(description="its public key, name+id+key")
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="real seconds to wait for an answer")

    @field_validator("key")
    @classmethod
    def _of_a_witness(cls, key: str) -> str:
        try:
            found = VerifierKey.parse(key)
        except MalformedError as error:
            raise ValueError(str(error)) from error
        if found.kind != COSIGNATURE:
            raise ValueError("it is a log's key, not a witness's")
        return key


class PublicSettings(_Section):
    """Checkpoint and hashes of the log for whoever wants to follow it; nothing of a record is among them."""

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(ge=0, le=65_535, description="port of plain HTTP; TLS is for what stands before it")


class LogSettings(KeySettings):
    """The Merkle log of this aggregator; the key signs its checkpoints."""

    origin: str = Field(min_length=1, max_length=128, description="the log's name in its checkpoints")
    former_keys: tuple[FormerKeySettings, ...] = Field(
        default=(), max_length=100, description="keys of the log from before a rotation"
    )
    public: PublicSettings | None = Field(default=None, description="where everybody may follow the log")
    witnesses: tuple[WitnessSettings, ...] = Field(
        default=(), max_length=15, description="who is asked to cosign; a receipt has room for so many"
    )
    witnesses_needed: int = Field(
        default=1, ge=1, le=15, description="how many of them our trust files ask for, if there are any"
    )

    @model_validator(mode="after")
    def _distinct_witnesses(self) -> "LogSettings":
        names = [VerifierKey.parse(witness.key).name for witness in self.witnesses]
        if len(set(names)) < len(names):
            raise ValueError(f"two witnesses have one name: {' and '.join(sorted(names))}")
        if names and self.witnesses_needed > len(names):
            raise ValueError(f"witnesses_needed is {self.witnesses_needed}, and there are {len(names)}")
        return self

    @model_validator(mode="after")
    def _keys_of_this_log(self) -> "LogSettings":
        keys = [known.key for known in self.former()]
        for key in keys:
            if key.name != self.origin:
                raise ValueError(f"former_keys has a key of {key.name!r}, and the log is {self.origin!r}")
            if keys.count(key) > 1:
                raise ValueError(f"former_keys has the key {key.id.hex()} twice")
        return self

    def former(self) -> tuple[LogKey, ...]:
        """The keys before a rotation."""
        return tuple(known.log_key() for known in self.former_keys)

    def witness_trust(self) -> WitnessTrust | None:
        """What our trust files say of witnesses."""
        keys = tuple(VerifierKey.parse(witness.key) for witness in self.witnesses)
        return WitnessTrust(self.witnesses_needed, keys) if keys else None


class ChainSettings(KeySettings):
    """Where checkpoints are anchored; the key is that of the account that pays."""

    rpc_url: str = Field(pattern="^https?://", description="JSON-RPC of one chain node")
    chain_id: int = Field(
        default=EMBEDDED_CHAIN, ge=1, lt=2**63, description="id of the chain; the embedded one's if left out"
    )
    contract: str = Field(pattern="^0x[0-9a-fA-F]{40}$", description="address of the CheckpointLog")
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="real seconds to wait for the node")
    confirmations: int = Field(
        default=0,
        ge=0,
        le=100,
        description="blocks that must follow an anchor; 0 where a block is final at once",
    )

    def anchor(self) -> AnchorSettings:
        """The same as the ledger wants it."""
        return AnchorSettings(
            rpc_url=self.rpc_url,
            chain_id=self.chain_id,
            contract=self.contract.lower(),
            key_file=self.key_file,
            key_uri=self.key_uri,
            timeout_s=self.timeout_s,
            confirmations=self.confirmations,
        )


class AgreementsSettings(KeySettings):
    """Agreements on the chain that `chain` names; without this section those below `nodes` decide alone.
    The key is that of the aggregator's account, not the one that anchors.
    """

    contract: str = Field(pattern="^0x[0-9a-fA-F]{40}$", description="address of the DRAgreement")
    required: bool = Field(
        default=False, description="whether a node without an agreement on the chain is not called"
    )

    def settler(self, chain: ChainSettings) -> SettlerSettings:
        """The same as the ledger wants it."""
        return SettlerSettings(
            rpc_url=chain.rpc_url,
            chain_id=chain.chain_id,
            contract=self.contract.lower(),
            key_file=self.key_file,
            key_uri=self.key_uri,
            timeout_s=chain.timeout_s,
        )


class ProgrammeSettings(_Section):
    """How this programme calls, measures and settles."""

    market_context: str = Field(
        default="http://flexpact.example/peak",
        min_length=1,
        max_length=256,
        description="URI of the programme",
    )
    zone: str = Field(default="UTC", description="time zone of days and day types, IANA name")
    holidays: frozenset[date] = Field(default=frozenset(), description="days that count as weekend")
    baseline: Method = Field(default=Method.TEN_OF_TEN, description="10-of-10 or high-4-of-5")
    adjustment_cap: float = Field(
        default=DEFAULT_CAP, ge=0, le=1, description="bound of the same-day adjustment"
    )
    history_days: int = Field(default=28, ge=0, le=90, description="days of history asked of a new node")
    settlement_deadline_s: float = Field(
        default=7200, gt=0, le=30 * 86_400, description="after the end of an event"
    )
    checkpoint_period_s: float = Field(
        default=900, gt=0, le=86_400, description="seconds between two checkpoints"
    )
    offer_lead_s: float = Field(
        default=900, ge=0, le=86_400, description="offers younger than this are not used"
    )

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"no such time zone: {zone}") from error
        return zone

    def calendar(self) -> Calendar:
        """The calendar of days and day types."""
        return Calendar(ZoneInfo(self.zone), self.holidays)


class AggregatorSettings(_Section):
    """Everything that one aggregator process needs to know."""

    state: Path = Field(description="folder of the database")
    socket: Path = Field(description="Unix socket of the control API")
    loopback: LoopbackSettings | None = Field(
        default=None, description="port on 127.0.0.1 for the control API, behind a token"
    )
    vtn: VtnSettings = Field(description="settings of the VTN, see vtn.settings")
    log: LogSettings
    chain: ChainSettings | None = None
    agreements: AgreementsSettings | None = Field(
        default=None, description="agreements on the chain; left out, those of the nodes' settings decide"
    )
    web: WebSettings | None = Field(default=None, description="the dashboard; left out, there is none")
    notices: NoticeSettings | None = Field(
        default=None, description="where notices may go; left out, alarms are shown in the dashboard alone"
    )
    programme: ProgrammeSettings = ProgrammeSettings()
    limits: LimitSettings = LimitSettings()
    nodes: tuple[NodeSettings, ...] = Field(min_length=1, max_length=10_000)

    @field_validator("nodes")
    @classmethod
    def _distinct(cls, nodes: tuple[NodeSettings, ...]) -> tuple[NodeSettings, ...]:
        for name in ("ven_name", "fingerprint"):
            values = [getattr(node, name).lower() for node in nodes]
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{name} is used by two nodes: {twice[0]}")
        currencies = sorted({node.agreement.currency for node in nodes})
        if len(currencies) > 1:
            raise ValueError(f"one programme has one currency, not {' and '.join(currencies)}")
        return nodes

    @model_validator(mode="after")
    def _agreements_have_a_chain(self) -> "AggregatorSettings":
        if self.agreements is not None and self.chain is None:
            raise ValueError("agreements need a chain: add [chain]")
        if self.agreements and self.chain and self.agreements.key == self.chain.key:
            raise ValueError("the key of agreements must not be that of chain: each account sends by itself")
        return self

    @property
    def database(self) -> Path:
        """The database file."""
        return self.state / "aggregator.sqlite"

    @property
    def sealing_key(self) -> Path:
        """The key of what the database holds sealed, made at the first start."""
        return self.state / "sealing.key"

    @classmethod
    def load(cls, path: Path) -> "AggregatorSettings":
        """Settings from a TOML file; SettingsError names the field and what is wrong with it."""
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is no TOML file: {error}") from error
        try:
            return cls.model_validate(content)._below(path.parent)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "file"
            raise SettingsError(f"{path}: {where}: {first['msg']}") from error

    def _below(self, folder: Path) -> "AggregatorSettings":
        paths = {
            "state": folder / self.state,
            "socket": folder / self.socket,
            "loopback": self.loopback and self.loopback.below(folder),
            "log": self.log.below(folder),
            "chain": self.chain and self.chain.below(folder),
            "agreements": self.agreements and self.agreements.below(folder),
            "vtn": self.vtn.below(folder),
            "web": self.web and self.web.below(folder),
            "notices": self.notices and self.notices.below(folder),
        }
        return self.model_copy(update=paths)
