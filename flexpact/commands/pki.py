"""`flexpact pki`: an authority, the certificates that it issues, and the list of those that it revoked."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from flexpact.clock import Clock
from flexpact.pki import (
    LOOPBACK,
    Identity,
    PkiError,
    aside_of,
    identity,
    issue,
    load,
    make_authority,
    renew,
)
from flexpact.revocation import list_of, revoke, revoked, start_list
from openadr.certificate import WARN_DAYS, Certificate, KeyKind
from openadr.errors import CertificateError
from openadr.private_file import read_password_file

app = typer.Typer(help="Make an authority and certificates, renew and revoke them.", no_args_is_help=True)

Directory = Annotated[Path, typer.Argument(help="Where the authority lies: ca.pem and its keys.")]
Name = Annotated[str, typer.Argument(help="The party's name, which becomes the name of its files.")]
Kind = Annotated[str | None, typer.Option("--kind", help="p256, rsa or both.")]
Days = Annotated[int, typer.Option("--days", help="How many days it holds.", min=1, max=3650)]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", help="File with the password of the authority's keys.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]

KINDS = {"p256": (KeyKind.EC,), "rsa": (KeyKind.RSA,), "both": (KeyKind.EC, KeyKind.RSA)}
YEAR = 365


@app.command()
def init(directory: Directory, kind: Kind = "both", password_file: PasswordFile = None) -> None:
    """Make a new authority in DIRECTORY, with an empty revocation list; prints its certificate's path."""
    now = Clock.real()()
    try:
        password = _password(password_file)
        made = make_authority(directory, now, _kinds(kind or "both"), password)
        start_list(directory, now, password)
    except PkiError as error:
        raise SystemExit(f"flexpact pki: {error}") from None
    typer.echo(made.cert)


@app.command("issue")
def issue_certificate(  # noqa: PLR0917 - the command line passes them by name
    directory: Directory,
    name: Name,
    server: Annotated[bool, typer.Option("--server", help="A server's certificates, not a VEN's.")] = False,
    host: Annotated[
        list[str] | None, typer.Option(help="A server's host name or address; loopback by itself.")
    ] = None,
    kind: Kind = None,
    days: Days = YEAR,
    password_file: PasswordFile = None,
) -> None:
    """Make certificates of NAME and print their fingerprints: for a server both kinds, for a VEN P-256."""
    now = Clock.real()()
    try:
        if host and not server:
            raise PkiError("--host is for a server: give --server too")
        password = _password(password_file)
        for one in _kinds(kind or ("both" if server else "p256")):
            hosts = host or LOOPBACK
            made = issue(
                directory, name, now, server=server, kind=one, hosts=hosts, days=days, password=password
            )
            _tell(made.cert, made.certificate, now)
    except PkiError as error:
        raise SystemExit(f"flexpact pki: {error}") from None


@app.command("renew")
def renew_certificate(
    directory: Directory,
    name: Name,
    days: Days = YEAR,
    password_file: PasswordFile = None,
    yes: Yes = False,
) -> None:
    """Make a new key and certificate in the place of NAME's; the old ones are kept and go on being valid."""
    now = Clock.real()()
    try:
        password = _password(password_file)
        olds = {kind: identity(directory, name, kind) for kind in KeyKind}
        found = {kind: old for kind, old in olds.items() if old.cert.exists()}
        if not found:
            raise PkiError(f"{directory} holds no certificate of {name}")
        for old in found.values():
            typer.echo(f"{old.cert} and {old.key} get a new certificate and key;")
            typer.echo(f"the old ones are kept as {aside_of(old).name} and its .key, valid {_until(old)}")
        _ask("Renew?", yes)
        for kind, old in found.items():
            renew(old, kind, now, days, password)
            _tell(old.cert, old.certificate, now)
    except PkiError as error:
        raise SystemExit(f"flexpact pki: {error}") from None
    typer.echo("Enrol the new fingerprint at the VTN before the VEN uses it: both are taken for a while.")


@app.command("revoke")
def revoke_certificate(
    directory: Directory,
    which: Annotated[str, typer.Argument(help="NAME of a party, or the path of a certificate.")],
    password_file: PasswordFile = None,
    yes: Yes = False,
) -> None:
    """Put a certificate on the revocation list, for good; servers that read the list refuse it at once."""
    now = Clock.real()()
    try:
        password = _password(password_file)
        paths = _certificates_of(directory, which)
        for path in paths:
            _tell(path, load(path)[0], now)
        typer.echo(f"goes on {list_of(directory)}, and cannot be taken back.")
        _ask("Revoke?", yes)
        for path in paths:
            revoke(directory, load(path)[0], now, password)
    except PkiError as error:
        raise SystemExit(f"flexpact pki: {error}") from None
    typer.echo(f"revoked; {len(revoked(directory))} in {list_of(directory)}")


@app.command()
def show(
    what: Annotated[list[Path], typer.Argument(help="Certificates, or directories of an authority.")],
) -> None:
    """Show certificates: whose, how long, and their fingerprints as people and as the VTN write them."""
    now = Clock.real()()
    try:
        for path in what:
            for file in sorted(path.glob("*.pem")) if path.is_dir() else [path]:
                if file != list_of(path):
                    gone = revoked(file.parent)
                    for certificate in load(file):
                        _tell(file, certificate, now, gone=(certificate.issuer, certificate.serial) in gone)
    except PkiError as error:
        raise SystemExit(f"flexpact pki: {error}") from None


def _tell(path: Path, certificate: Certificate, now: datetime, *, gone: bool = False) -> None:
    """The lines about one certificate; the first word of each says what it is."""
    purposes = " and ".join(sorted(certificate.purposes)) or "authority"
    state = " REVOKED" if gone else _warning(certificate, now)
    typer.echo(f"{path}: {certificate.subject}, {certificate.kind} {certificate.bits} bits, {purposes}")
    if certificate.names:
        typer.echo(f"  for          {', '.join(certificate.names)}")
    typer.echo(f"  until        {certificate.not_after:%Y-%m-%d %H:%M} UTC{state}")
    typer.echo(f"  fingerprint  {certificate.short}")
    typer.echo(f"  SHA-256      {certificate.fingerprint}")
    typer.echo(f"  2.0a         {certificate.short_2_0a}")


def _warning(certificate: Certificate, now: datetime) -> str:
    left = certificate.days_left(now)
    if left < 0:
        return " EXPIRED"
    return f" ({left} days left)" if left <= WARN_DAYS[0] else ""


def _until(old: Identity) -> str:
    return f"until {old.certificate.not_after:%Y-%m-%d}"


def _certificates_of(directory: Path, which: str) -> list[Path]:
    path = Path(which)
    if path.suffix == ".pem":
        return [path]
    paths = [identity(directory, which, kind).cert for kind in KeyKind]
    found = [one for one in paths if one.exists()]
    if not found:
        raise PkiError(f"{directory} holds no certificate of {which}")
    return found


def _kinds(word: str) -> Sequence[KeyKind]:
    if word not in KINDS:
        raise PkiError(f"--kind is p256, rsa or both, not {word!r}")
    return KINDS[word]


def _password(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        password = read_password_file(file)
    except CertificateError as error:
        raise PkiError(str(error)) from None
    except OSError as error:
        raise PkiError(f"{file}: {error.strerror}") from None
    if not password:
        raise PkiError(f"{file} holds no password")
    return password


def _ask(question: str, yes: bool) -> None:
    if not yes and not typer.confirm(question):
        raise SystemExit("flexpact pki: nothing was changed")
