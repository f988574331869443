"""What the operator decides about the server."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from openadr.enums import ServiceName
from vtn.errors import StartupError
from vtn.opt_policy import OptPolicies
from vtn.reading_range import ReadingRange

TLS_FILES = ("cert", "key", "rsa_cert", "rsa_key", "key_password_file", "ca", "crl")


class TlsProfile(StrEnum):
    """Which TLS the listener speaks (SEC-04)."""

    COMPAT = "compat"  # TLS 1.2 with the two suites of OpenADR 2.0b
    MODERN = "modern"  # TLS 1.2 with authenticated encryption, and 1.3


class Enrolment(StrEnum):
    """What becomes of a certificate of our authority that nobody enrolled (REG-10)."""

    APPROVAL = "approval"  # refused and noted, until a person enrols it
    AUTO = "auto"  # enrolled at once, under the name that it gives


class VtnSettings(BaseModel):
    """Settings of the OpenADR listener."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.", min_length=1)
    port: int = Field(default=8443, description="TCP port; 0 lets the system choose.", ge=0, le=65535)
    cert: Path | None = Field(default=None, description="Server certificate chain, PEM.")
    key: Path | None = Field(default=None, description="Key of the server certificate, PEM.")
    rsa_cert: Path | None = Field(
        default=None, description="A second chain with an RSA key beside a P-256 one in `cert`, PEM."
    )
    rsa_key: Path | None = Field(default=None, description="Key of `rsa_cert`, PEM.")
    key_password_file: Path | None = Field(
        default=None, description="File with the password of the keys that are encrypted."
    )
    ca: Path | None = Field(
        default=None, description="Authorities that VEN certificates must come from, PEM."
    )
    crl: Path | None = Field(
        default=None,
        description="Revocation lists, PEM: one of each authority that issues to VENs.",
    )
    prefix: str = Field(
        default="",
        description="Path in front of /OpenADR2, such as `/site-1`: for a VTN beside others on one host.",
        pattern=r"^(/[A-Za-z0-9._~-]*[A-Za-z0-9_~-])*$",
    )
    proxies: frozenset[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(
        default=frozenset(),
        description="SHA-256 of the certificates of proxies whose Client-Cert header (RFC 9440) is believed.",
    )
    vtn_id: str = Field(
        default="FLEXPACT",
        description="The VTN's id on the wire; some VENs refuse one in lower case.",
        min_length=1,
        max_length=128,
    )
    poll_period_s: int = Field(
        default=10, description="How often VENs are asked to poll, seconds.", ge=1, le=86_400
    )
    tls_profile: TlsProfile = Field(
        default=TlsProfile.COMPAT, description="Suites: the standard's own, or modern ones."
    )
    signature_window_s: int = Field(
        default=60, description="How far the time of a signature may lie from now, seconds.", ge=1, le=300
    )
    signature_sha1: bool = Field(
        default=False, description="Accept signatures with SHA-1, which the standard allows no more."
    )
    originals_days: int = Field(
        default=365, description="How long signed messages are kept as they came, days.", ge=1, le=36_500
    )
    enrolment: Enrolment = Field(
        default=Enrolment.APPROVAL,
        description="`approval`: a person enrols each VEN. `auto`: who has a certificate of our authority.",
    )
    service_info: dict[ServiceName, dict[str, str]] = Field(
        default_factory=dict,
        description="What VENs are told of a service when they ask or register: keys and values.",
    )
    extensions: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="Extensions that VENs are told of, each with keys and values."
    )
    opt: OptPolicies = Field(
        default_factory=OptPolicies, description="How opt schedules are taken and read, by programme."
    )
    ranges: tuple[ReadingRange, ...] = Field(
        default=(),
        max_length=10_000,
        description="What values data points can have, others are quarantined; the first that fits counts.",
    )
    review: str | None = Field(
        default=None,
        description="An async function of yours that may refuse messages, such as `mysite.rules:review`.",
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
    )
    insecure_dev: bool = Field(
        default=False,
        description="Plain HTTP on loopback, fingerprint by header. Never in production.",
    )
    max_body_bytes: int = Field(default=65_536, description="Largest request, bytes.", ge=1024, le=65_536)
    max_report_bytes: int = Field(
        default=1_048_576, description="Largest report, bytes.", ge=65_536, le=1_048_576
    )
    clock_skew_s: float = Field(
        default=60.0, description="Difference to a VEN's clock without a warning, seconds.", gt=0, le=86_400
    )
    header_timeout_s: float = Field(
        default=10.0,
        description="How long a TLS handshake may take, and the head of each request, seconds.",
        gt=0,
        le=300,
    )
    max_connections: int = Field(
        default=16_384, description="Connections at a time; each is an open file.", ge=1, le=1_000_000
    )
    max_connections_per_address: int = Field(
        default=4096, description="Connections from one address at a time.", ge=1, le=1_000_000
    )
    body_timeout_s: float = Field(
        default=30.0, description="How long a request's body may take, seconds.", gt=0, le=300
    )
    keepalive_s: float = Field(
        default=90.0, description="How long an idle connection is kept, seconds.", ge=5, le=3600
    )
    busy_timeout_s: float = Field(
        default=5.0, description="How long to wait for a locked database, seconds.", gt=0, le=60
    )
    retry_after_s: int = Field(
        default=5, description="What a VEN is told to wait after a 503, seconds.", ge=1, le=600
    )

    @field_validator("service_info")
    @classmethod
    def _nothing_is_empty(cls, info: dict[ServiceName, dict[str, str]]) -> dict[ServiceName, dict[str, str]]:
        for service, pairs in info.items():
            if not pairs:
                raise ValueError(f"{service} has no key and value: leave it out")
        return info

    @property
    def pairs(self) -> tuple[tuple[Path, Path], ...]:
        """The server's certificates, each with its key."""
        pairs = ((self.cert, self.key), (self.rsa_cert, self.rsa_key))
        return tuple((cert, key) for cert, key in pairs if cert is not None and key is not None)

    @property
    def tls_files(self) -> tuple[Path, ...]:
        """Every file that TLS is made of."""
        return tuple(self._files().values())

    def below(self, folder: Path) -> VtnSettings:
        """The same with its files below the folder."""
        return self.model_copy(update={name: folder / path for name, path in self._files().items()})

    def _files(self) -> dict[str, Path]:
        return {name: path for name in TLS_FILES if (path := getattr(self, name)) is not None}

    def check(self) -> None:
        """StartupError where these settings would leave the listener half secured."""
        files = {"cert": self.cert, "key": self.key, "ca": self.ca}
        missing = [name for name, path in files.items() if path is None]
        if self.insecure_dev:
            if self.tls_files:
                raise StartupError("insecure_dev and certificates exclude each other: choose one")
            if not _is_loopback(self.host):
                raise StartupError(f"insecure_dev is for loopback only, not for {self.host}")
            return
        if missing:
            raise StartupError(f"TLS needs cert, key and ca: {', '.join(missing)} is not set")
        if (self.rsa_cert is None) != (self.rsa_key is None):
            raise StartupError("rsa_cert and rsa_key belong together: one of them is not set")
        more = {name: getattr(self, name) for name in ("rsa_cert", "rsa_key", "key_password_file", "crl")}
        for name, path in (files | more).items():
            if path is not None and not path.is_file():
                raise StartupError(f"the {name} file {path} does not exist")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
