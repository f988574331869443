"""What the person who wrote the TOML permits notices to do: which hosts are asked, by which mail server, with
which secrets. Who is told of what is chosen in the dashboard, within these bounds.

    [notices]
    hosts = ["hooks.example"]             # webhooks may go here, and nowhere else
    secret_file = "webhook.secret"        # whsec_ and 24 to 64 bytes in base64; mode 0600
    networks = ["10.20.0.0/16"]           # private addresses that these hosts may have

    [notices.mail]
    host = "smtp.example"
    sender = "flexpact@example.org"
    user = "flexpact"
    password_file = "smtp.password"
"""

from __future__ import annotations

import base64
import binascii
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from vtn.errors import StartupError

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)


class Security(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"  # for a server on this machine


class MailSettings(BaseModel):
    """The server that takes our mail."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field(min_length=1, max_length=253, description="name of the mail server")
    port: int = Field(default=587, ge=1, le=65_535, description="its port")
    security: Security = Field(default=Security.STARTTLS, description="starttls, tls, or none on loopback")
    sender: str = Field(
        min_length=3, max_length=254, pattern="^[^@\\s]+@[^@\\s]+$", description="our address"
    )
    user: str | None = Field(default=None, max_length=254, description="account at the server")
    password_file: Path | None = Field(default=None, description="file with its password, mode 0600")
    ca_file: Path | None = Field(default=None, description="PEM of the authority, if the system lacks it")

    def below(self, folder: Path) -> MailSettings:
        """The same with its files below the folder."""
        names = ("password_file", "ca_file")
        return self.model_copy(
            update={name: folder / path for name in names if (path := getattr(self, name)) is not None}
        )

    def password(self) -> str | None:
        """What the file holds; StartupError where it cannot be read by us alone."""
        return None if self.password_file is None else secret_text("password_file", self.password_file)


class NoticeSettings(BaseModel):
    """The bounds of notices."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    hosts: tuple[str, ...] = Field(
        default=(),
        max_length=100,
        description="hosts, with a port where it is not 443, that webhooks may ask",
    )
    networks: tuple[str, ...] = Field(
        default=(), max_length=100, description="private networks in which these hosts may be"
    )
    secret_file: Path | None = Field(default=None, description="file with the secret that signs webhooks")
    mail: MailSettings | None = None

    @field_validator("networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for one in networks:
            ip_network(one)
        return networks

    @field_validator("hosts")
    @classmethod
    def _small(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if any("/" in host or "@" in host or not host for host in hosts):
            raise ValueError("a host is a name, such as hooks.example or hooks.example:8443")
        return tuple(host.lower() for host in hosts)

    def below(self, folder: Path) -> NoticeSettings:
        """The same with its files below the folder."""
        return self.model_copy(
            update={
                "secret_file": self.secret_file and folder / self.secret_file,
                "mail": self.mail and self.mail.below(folder),
            }
        )

    def secret(self) -> bytes | None:
        """The key that signs webhooks; StartupError where the file holds none."""
        if self.secret_file is None:
            return None
        text = secret_text("secret_file", self.secret_file)
        try:
            key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not text.startswith(PREFIX) or len(key) not in SECRET_BYTES:
            raise StartupError("notices.secret_file does not hold whsec_ and 24 to 64 bytes in base64")
        return key

    def check(self) -> None:
        """StartupError where webhooks could not be signed, or a secret cannot be used."""
        if self.hosts and self.secret_file is None:
            raise StartupError("notices.hosts needs notices.secret_file: webhooks are signed")
        self.secret()
        if self.mail is not None:
            self.mail.password()


def secret_text(name: str, path: Path) -> str:
    """What a file with a secret holds; StartupError where others may read it too."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"notices: the {name} {path} cannot be read") from error
    if mode & 0o077:
        raise StartupError(f"notices: others can read the {name} {path}: chmod 600")
    return text
