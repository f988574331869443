"""The dashboard's certificate where the settings name none: of an authority of this installation alone.

Files in STATE/web: `ca.pem`, which browsers are to trust, its key, and the certificate `dashboard`, which is
renewed when less than a month of its year is left.
"""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flexpact import pki
from openadr.certificate import KeyKind

if TYPE_CHECKING:
    from aggregator.web_settings import WebSettings

NAME = "dashboard"
DAYS = 365  # browsers take no certificate of more than 398
RENEWED_BEFORE = timedelta(days=30)


def with_certificate(web: WebSettings, state: Path, now: datetime) -> WebSettings:
    """The settings with `cert` and `key`, made or renewed where that is due; as they are where they name one
    of these files, or want none. `PkiError` where the files cannot be made or read.

    A start that was cut short leaves nothing that stands in the way of the next one; an authority that is
    there is never replaced.
    """
    if web.insecure_dev or web.tls_files:
        return web
    directory, hosts = state / "web", _hosts(web)
    if not directory.exists():
        _make(state / "web.new", hosts, now)
        (state / "web.new").rename(directory)
    found = pki.identity(directory, NAME, KeyKind.EC)
    for draft in directory.glob(f"{NAME}*.new"):
        draft.unlink()
    if not _serves(found):
        found.cert.unlink(missing_ok=True)
        found.key.unlink(missing_ok=True)
        pki.issue(directory, NAME, now, server=True, hosts=hosts, days=DAYS)
    elif set(found.certificate.names) != set(hosts) or found.certificate.not_after - now < RENEWED_BEFORE:
        pki.renew(found, KeyKind.EC, now, days=DAYS, hosts=hosts)
    return web.model_copy(update={"cert": found.cert, "key": found.key})


def _make(draft: Path, hosts: Sequence[str], now: datetime) -> None:
    """All files of a first start, on the disk before anybody sees them."""
    shutil.rmtree(draft, ignore_errors=True)
    pki.make_authority(draft, now)
    pki.issue(draft, NAME, now, server=True, hosts=hosts, days=DAYS)
    for path in draft.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _serves(found: pki.Identity) -> bool:
    """Whether certificate and key are there, can be read, and belong together."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(found.cert, found.key)
    except OSError:  # ssl.SSLError is one
        return False
    return True


def _hosts(web: WebSettings) -> list[str]:
    """What browsers may type: this machine, the address that it listens on, the public name."""
    named = {_plain(host) for host in (web.host, urlsplit(web.public_url or "").hostname or "")}
    return sorted({*pki.LOOPBACK, *named} - {"", "0.0.0.0", "::"})  # noqa: S104 - an address of no machine


def _plain(host: str) -> str:
    """An address as a certificate names it, which is not always how it was written; a name as it is."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host
