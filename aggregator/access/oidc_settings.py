"""Which identity provider people may sign in with (OpenID Connect), beside passwords or instead of them.

[web.oidc]
issuer = "https://login.example/realms/grid"  # exactly as the provider names itself
client_id = "flexpact"
client_secret_file = "oidc.secret"            # mode 0600
name = "Grid login"                           # what the button says
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from aggregator.access.permission import Role
from openadr.errors import CertificateError
from openadr.private_file import read_password_file
from vtn.errors import StartupError

MOST_SCOPES = 20
MOST_ROLES = 100
MOST_HOSTS = 20


class LocalSignIn(StrEnum):
    """Whose passwords open anything where there is a provider. Admins' always do: it may be out of reach."""

    ALL = "all"
    ADMINS = "admins"


class OidcSettings(BaseModel):
    """The provider, and what of its claims counts here."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    issuer: str = Field(max_length=512, description="the provider, exactly as it names itself; https")
    client_id: str = Field(
        min_length=1, max_length=256, pattern="^[\x21-\x7e]+$", description="our name there"
    )
    client_secret_file: Path = Field(description="file with our secret there, mode 0600")
    name: str = Field(
        default="single sign-on", min_length=1, max_length=64, description="what people call it"
    )
    scopes: tuple[str, ...] = Field(
        default=("openid",), max_length=MOST_SCOPES, description="what is asked for; openid is always"
    )
    user_claim: str = Field(
        default="sub",
        pattern="^[A-Za-z0-9_.:/-]{1,128}$",
        description="the claim that tells people apart; the provider must never give its value to another",
    )
    role_claim: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9_.:/-]{1,128}$",
        description="the claim that gives roles; left out, roles are ours alone",
    )
    roles: dict[str, Role] = Field(
        default={}, max_length=MOST_ROLES, description="values of role_claim and the roles they give"
    )
    local_sign_in: LocalSignIn = Field(
        default=LocalSignIn.ALL, description="whose passwords count: all, or admins"
    )
    ca_file: Path | None = Field(
        default=None, description="PEM of the provider's authority, if the system lacks it"
    )
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="how long it may take to answer, seconds")

    hosts: tuple[str, ...] = Field(
        default=(), max_length=MOST_HOSTS, description="hosts beside the issuer's that it may send us to"
    )

    @field_validator("issuer")
    @classmethod
    def _can_be_asked(cls, issuer: str) -> str:
        if urlsplit(issuer).query or urlsplit(issuer).fragment or not may_be_asked(issuer):
            raise ValueError("it is an https address without query; plain http is for loopback alone")
        return issuer

    @field_validator("scopes")
    @classmethod
    def _are_words(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        for scope in scopes:
            if not scope or not scope.isascii() or not scope.isprintable() or set(scope) & set(' "\\'):
                raise ValueError("a scope is a word of ASCII letters")
        return tuple(dict.fromkeys(("openid", *scopes)))

    @field_validator("roles")
    @classmethod
    def _are_of_the_fleet(cls, roles: Mapping[str, Role]) -> Mapping[str, Role]:
        if Role.PROSUMER in roles.values():
            raise ValueError("a prosumer's account is for certain VENs, which no claim names: invite him")
        return roles

    def may_name(self, url: str) -> bool:
        """Whether the provider may send us or a browser there: to its own host or one of `hosts`, in the
        clear only where it speaks so itself.
        """
        if not may_be_asked(url):
            return False
        issuer, parts = urlsplit(self.issuer), urlsplit(url)
        ours = {issuer.hostname, *(host.lower() for host in self.hosts)}
        return parts.hostname in ours and parts.scheme in {"https", issuer.scheme}

    def below(self, folder: Path) -> OidcSettings:
        """The same with its files below the folder."""
        names = ("client_secret_file", "ca_file")
        return self.model_copy(
            update={name: folder / path for name in names if (path := getattr(self, name)) is not None}
        )

    def check(self) -> None:
        """StartupError where people could not be signed in so."""
        if (self.role_claim is None) != (not self.roles):
            raise StartupError("web.oidc: role_claim and roles go together: set both or none")
        self.secret()
        self.context()

    def secret(self) -> str:
        """Our secret at the provider; StartupError where it cannot be read by us alone."""
        try:
            secret = read_password_file(self.client_secret_file).decode("ascii").strip()
        except CertificateError as error:
            raise StartupError(f"web.oidc: {error}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise StartupError(
                f"web.oidc: the client_secret_file {self.client_secret_file} cannot be read"
            ) from error
        if not secret:
            raise StartupError(f"web.oidc: the client_secret_file {self.client_secret_file} is empty")
        return secret

    def context(self) -> ssl.SSLContext:
        """How the provider's certificate is checked."""
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise StartupError(f"web.oidc: the ca_file {self.ca_file} cannot be used: {error}") from error


def may_be_asked(url: str) -> bool:
    """Whether it is an https address; plain http only on loopback, where nobody listens in."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
        host.encode("idna")  # no label is longer than 63 letters, none is empty
    except ValueError:
        return False
    if not host or "@" in parts.netloc or not (url.isascii() and url.isprintable()) or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _on_loopback(host))


def _on_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
