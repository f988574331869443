"""What anchor and settler need to know of their chain, and how settings say where a private key is."""

from __future__ import annotations

from datetime import UTC, timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ledger.checkpoint import VerifierKey
from ledger.errors import MalformedError, TokenError
from ledger.signer import KeyPlace
from ledger.token_uri import TokenUri
from ledger.trust import LogKey, Trust

LOOK_AGAIN = timedelta(hours=1)
"""How often the chain is asked whether it still holds what was anchored, while there is nothing new."""
ADDRESS = r"^0x[0-9a-f]{40}$"


def _uri(value: object) -> TokenUri | None:
    if value is None or isinstance(value, TokenUri):
        return value
    if not isinstance(value, str):
        raise ValueError("a key URI is text")
    try:
        return TokenUri.parse(value)
    except TokenError as error:
        raise ValueError(str(error)) from None


class KeySettings(BaseModel):
    """Where one private key is: in a file of mode 0600, or in a PKCS#11 token."""

    # what was refused may hold a PIN
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    key_file: Path | None = Field(default=None, description="The file of the secret key, mode 0600.")
    key_uri: Annotated[TokenUri | None, BeforeValidator(_uri)] = Field(
        default=None, description="Or the pkcs11: URI (RFC 7512) of a key that stays in its token."
    )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.key_file is None) == (self.key_uri is None):
            raise ValueError("name the key by one of key_file and key_uri")
        return self

    @property
    def key(self) -> KeyPlace:
        """Where it is."""
        place = self.key_uri or self.key_file
        if place is None:
            raise AssertionError("refused above")
        return place

    def below(self, folder: Path) -> Self:
        """The same, with a file that counts from this folder."""
        return self.model_copy(update={"key_file": self.key_file and folder / self.key_file})


class FormerKeySettings(BaseModel):
    """A key that signed the log's checkpoints before the one of today, as in a trust file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(description="Its public half, name+id+key.")
    valid_from: AwareDatetime | None = Field(default=None, description="What is anchored earlier is not its.")
    valid_until: AwareDatetime = Field(description="What is anchored from then on is not its.")
    lost_at: AwareDatetime | None = Field(
        default=None, description="From when on it may have been in other hands."
    )

    @model_validator(mode="after")
    def _fits_a_trust_file(self) -> Self:
        try:
            Trust.from_file(Trust((self.log_key(),)).to_file())
        except (MalformedError, OverflowError) as error:  # overflow: a time whose UTC lies outside the years
            raise ValueError(str(error)) from None
        return self

    def log_key(self) -> LogKey:
        """The same as trust files have it; MalformedError if the key is none."""
        times = {
            name: at.astimezone(UTC)
            for name in ("valid_from", "valid_until", "lost_at")
            if (at := getattr(self, name)) is not None
        }
        return LogKey(VerifierKey.parse(self.key), **times)


class AnchorSettings(KeySettings):
    """Where checkpoints are anchored; the key is that of the contract's publisher."""

    rpc_url: str = Field(
        pattern=r"^https?://", description="JSON-RPC of a chain node that the operator chose."
    )
    chain_id: int = Field(ge=1, lt=2**63, description="The chain's id; a node of another chain is refused.")
    contract: str = Field(
        pattern=ADDRESS, description="Address of the log's CheckpointLog, lower-case hexadecimal."
    )
    timeout_s: float = Field(
        default=5.0, gt=0, le=60, description="Real seconds before a node counts as not answering."
    )
    gas: int = Field(
        default=100_000,
        ge=60_000,
        le=1_000_000,
        description="Gas limit of a publishing transaction; it needs about 30,000.",
    )
    confirmations: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Blocks that must follow before a checkpoint counts as anchored; 0 where a block is final"
        " at once, as on the embedded chain and under QBFT.",
    )


class SettlerSettings(KeySettings):
    """Where agreements are; the key is that of the aggregator's account, not the one that anchors: one
    account has one sequence of transactions.
    """

    rpc_url: str = Field(
        pattern=r"^https?://", description="JSON-RPC of a chain node that the operator chose."
    )
    chain_id: int = Field(ge=1, lt=2**63, description="The chain's id; a node of another chain is refused.")
    contract: str = Field(pattern=ADDRESS, description="Address of the DRAgreement, lower-case hexadecimal.")
    timeout_s: float = Field(
        default=5.0, gt=0, le=60, description="Real seconds before a node counts as not answering."
    )
    gas: int = Field(
        default=600_000,
        ge=300_000,
        le=5_000_000,
        description="Gas limit of one call; a booking needs about 250,000.",
    )
    in_flight: int = Field(
        default=64,
        ge=1,
        le=1000,
        description="Calls that are on their way at a time, at most; more than a block holds bring nothing.",
    )
