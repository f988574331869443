"""What the operator decides about the dashboard's listener.

[web]
port = 8446
cert = "web.pem"                      # chain and key of the server, PEM; left out, they are made at the
key = "web.key"                       # first start, of an authority of its own, in the state's folder web
public_url = "https://flexpact.example:8446"

[web.oidc]                            # an identity provider, see aggregator.access.oidc_settings
issuer = "https://login.example"
client_id = "flexpact"
client_secret_file = "oidc.secret"
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from aggregator.access.oidc_settings import OidcSettings
from vtn.errors import StartupError

TLS_FILES = ("cert", "key", "key_password_file")
DEFAULT_PORTS = {"http": 80, "https": 443}


class WebSettings(BaseModel):
    """Settings of the listener for browsers and for the API over the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8446, ge=0, le=65_535, description="TCP port; 0 lets the system choose")
    cert: Path | None = Field(default=None, description="server certificate chain, PEM")
    key: Path | None = Field(default=None, description="key of the server certificate, PEM")
    key_password_file: Path | None = Field(
        default=None, description="file with the password of the key, if it is encrypted"
    )
    public_url: str | None = Field(
        default=None,
        max_length=256,
        description="how browsers reach it, such as https://flexpact.example; needed beyond loopback",
    )
    insecure_dev: bool = Field(default=False, description="plain HTTP on loopback; never in production")
    header_timeout_s: float = Field(
        default=10.0, gt=0, le=300, description="how long a TLS handshake may take, and a head, seconds"
    )
    body_timeout_s: float = Field(
        default=30.0, gt=0, le=300, description="how long the body of a request may take, seconds"
    )
    keepalive_s: float = Field(
        default=75.0, ge=5, le=3600, description="how long an idle connection is kept, seconds"
    )
    max_body_bytes: int = Field(
        default=262_144, ge=1024, le=4_194_304, description="largest form of a page, bytes"
    )
    max_connections: int = Field(
        default=1024, ge=1, le=65_536, description="connections at a time; each is an open file"
    )
    max_connections_per_address: int = Field(
        default=256, ge=1, le=65_536, description="connections from one address at a time"
    )

    oidc: OidcSettings | None = Field(
        default=None, description="an identity provider; left out, people sign in with passwords alone"
    )

    @field_validator("public_url")
    @classmethod
    def _is_an_origin(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        try:
            known = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
        except ValueError:
            known = False
        if not known or parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError(f"it is https:// and a host, with a port where it has one, not {url!r}")
        return url.rstrip("/")

    @property
    def tls_files(self) -> dict[str, Path]:
        """Every file that TLS is made of, by the name of its setting."""
        return {name: path for name in TLS_FILES if (path := getattr(self, name)) is not None}

    def below(self, folder: Path) -> WebSettings:
        """The same with its files below the folder."""
        files: dict[str, Any] = {name: folder / path for name, path in self.tls_files.items()}
        return self.model_copy(update={**files, "oidc": self.oidc and self.oidc.below(folder)})

    def check(self) -> None:
        """StartupError where these settings would leave the listener half secured."""
        if self.oidc is not None:
            self.oidc.check()
        if self.insecure_dev:
            if self.tls_files:
                raise StartupError("web.insecure_dev and certificates exclude each other: choose one")
            if not self.on_loopback:
                raise StartupError(f"web.insecure_dev is for loopback only, not for {self.host}")
            return
        missing = [name for name in ("cert", "key") if getattr(self, name) is None]
        if missing:
            raise StartupError(f"web: TLS needs cert and key: {', '.join(missing)} is not set")
        for name, path in self.tls_files.items():
            if not path.is_file():
                raise StartupError(f"web: the {name} file {path} does not exist")
        if self.public_url is None and not self.on_loopback:
            raise StartupError(f"web.public_url is needed where host is {self.host}: what do browsers type?")
        if self.public_url is not None and not self.public_url.startswith("https://"):
            raise StartupError(f"web.public_url must begin with https://, not {self.public_url!r}")

    @property
    def on_loopback(self) -> bool:
        """Whether it can be reached from this machine alone."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def origins(self, port: int) -> frozenset[str]:
        """Where our own pages come from, as browsers write it in `Origin`."""
        scheme = "http" if self.insecure_dev else "https"
        hosts = ["127.0.0.1", "localhost", "[::1]"] if self.on_loopback else []
        found = {_origin(scheme, host, port) for host in hosts}
        return frozenset(found | ({_normal(self.public_url)} if self.public_url else set()))

    def address(self, port: int) -> str:
        """How it is reached, without a slash at the end."""
        if self.public_url:
            return self.public_url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return _origin("http" if self.insecure_dev else "https", host, port)


def _normal(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return _origin(parts.scheme, shown, parts.port or DEFAULT_PORTS[parts.scheme])


def _origin(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{host}" if port == DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{port}"
