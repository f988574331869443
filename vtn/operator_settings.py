"""What the operator decides about where he is heard."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from vtn.control_socket import Loopback, read_token


class LoopbackSettings(BaseModel):
    """A port on 127.0.0.1 for tools that cannot use the Unix socket."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int = Field(description="TCP port on 127.0.0.1; 0 lets the system choose.", ge=0, le=65535)
    token_file: Path = Field(description="File with the token, at least 32 characters, mode 600.")

    def below(self, folder: Path) -> LoopbackSettings:
        """The same with its file below the folder."""
        return self.model_copy(update={"token_file": folder / self.token_file})

    def open(self) -> Loopback:
        """Port and token; StartupError where the file cannot be used."""
        return Loopback(self.port, read_token(self.token_file))


class OperatorSettings(BaseModel):
    """The operator's API of a VTN that runs by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    socket: Path = Field(description="Unix socket of the operator's API, mode 600.")
    loopback: LoopbackSettings | None = None
    market_context: str | None = Field(
        default=None,
        min_length=1,
        max_length=250,
        description="URI of the programme where an event names none.",
    )

    def below(self, folder: Path) -> OperatorSettings:
        """The same with its files below the folder."""
        loopback = self.loopback and self.loopback.below(folder)
        return self.model_copy(update={"socket": folder / self.socket, "loopback": loopback})
