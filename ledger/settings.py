"""What the anchor needs to know of its chain."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

LOOK_AGAIN = timedelta(hours=1)
"""How often the chain is asked whether it still holds what was anchored, while there is nothing new."""
ADDRESS = r"^0x[0-9a-f]{40}$"


class AnchorSettings(BaseModel):
    """Where checkpoints are anchored, and with which key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rpc_url: str = Field(
        pattern=r"^https?://", description="JSON-RPC of a chain node that the operator chose."
    )
    chain_id: int = Field(ge=1, lt=2**63, description="The chain's id; a node of another chain is refused.")
    contract: str = Field(
        pattern=ADDRESS, description="Address of the log's CheckpointLog, lower-case hexadecimal."
    )
    key_file: Path = Field(
        description="Secret key of the contract's publisher: 64 hexadecimal digits, mode 0600."
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


class SettlerSettings(BaseModel):
    """Where agreements are, and with which key the aggregator acts in them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rpc_url: str = Field(
        pattern=r"^https?://", description="JSON-RPC of a chain node that the operator chose."
    )
    chain_id: int = Field(ge=1, lt=2**63, description="The chain's id; a node of another chain is refused.")
    contract: str = Field(pattern=ADDRESS, description="Address of the DRAgreement, lower-case hexadecimal.")
    key_file: Path = Field(
        description="Secret key of the aggregator's account: 64 hexadecimal digits, mode 0600. Not the key"
        " that anchors: one account has one sequence of transactions."
    )
    timeout_s: float = Field(
        default=5.0, gt=0, le=60, description="Real seconds before a node counts as not answering."
    )
    gas: int = Field(
        default=600_000,
        ge=300_000,
        le=5_000_000,
        description="Gas limit of one call; a booking needs about 250,000.",
    )
