"""TLS of the OpenADR listener: both sides have a certificate, and the peer's one says who it is.

Rules: an RSA and a P-256 certificate lie side by side and the client's offer decides (SEC-05). Files that
changed are read again as a whole or not at all: new handshakes get the new context, open connections go on.
A peer whose certificate has expired, or was revoked meanwhile, gets no further answer (SEC-10, SEC-17).
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from cryptography import x509

from openadr.certificate import UNREADABLE, Certificate, Purpose, read_der, read_pair, read_pem
from openadr.errors import CertificateError
from openadr.private_file import read_key_file, read_password_file
from openadr.security import Digest, tail_of
from openadr.signature import Signer
from vtn.certificate import Tails
from vtn.errors import StartupError
from vtn.settings import TlsProfile, VtnSettings

# SEC-01: the two of OpenADR 2.0b, the first one for P-256; the security level refuses weak keys (SEC-07)
COMPAT_SUITES = "ECDHE-ECDSA-AES128-SHA256:AES128-SHA256:@SECLEVEL=2"
MODERN_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
_LIST = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
Stamp = tuple[tuple[int, int, int], ...]


@dataclass(slots=True, eq=False, weakref_slot=True)
class Client:
    """The peer of one connection."""

    fingerprint: str
    certificate: Certificate
    cleared: int = 0
    """The generation of the files in which it was found not to be revoked."""
    signer: Signer | None = None
    """What its replies are signed with, once one was."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What the files of one moment say."""

    context: ssl.SSLContext
    own: tuple[Certificate, ...]
    lists: tuple[x509.CertificateRevocationList, ...]
    stamp: Stamp
    signers: tuple[Signer, ...]


class _Door(ssl.SSLContext):
    """A context that opens each connection with another, the newest.

    That one made its own keys for session tickets: a session from before the files changed cannot be taken
    up again, so its peer is checked against the authorities and lists of now (SEC-09, SEC-17).
    """

    newest: ssl.SSLContext

    def wrap_bio(self, *bios: Any, **options: Any) -> ssl.SSLObject:
        """A connection by the newest files."""
        return self.newest.wrap_bio(*bios, **options)


class Tls:
    """The listener's TLS with the files that its settings name; StartupError says which cannot be used."""

    def __init__(self, settings: VtnSettings) -> None:
        self._settings = settings
        self._loaded = _load(settings)
        self._generation = 1
        self._clients: WeakKeyDictionary[ssl.SSLObject, Client] = WeakKeyDictionary()
        self._by_fingerprint: WeakValueDictionary[str, Client] = WeakValueDictionary()
        self._seen: dict[str, datetime] = {}
        self._signers = WeakKeyDictionary({self._loaded.context: self._loaded.signers})
        self.door = _Door(ssl.PROTOCOL_TLS_SERVER)
        """What the listener is given: each handshake takes the newest files."""
        self.door.newest = self._loaded.context

    @property
    def context(self) -> ssl.SSLContext:
        """What the newest files make."""
        return self._loaded.context

    @property
    def own(self) -> tuple[Certificate, ...]:
        """The certificates that we show."""
        return self._loaded.own

    def changed(self) -> bool:
        """Whether a file is another than the one that was read."""
        return _stamp(self._settings) != self._loaded.stamp

    def reload(self) -> None:
        """Read the files again; StartupError leaves everything as it was."""
        self._loaded = _load(self._settings)
        self._signers[self._loaded.context] = self._loaded.signers
        self._generation += 1
        self.door.newest = self._loaded.context

    def signer(self, connection: ssl.SSLObject) -> Signer:
        """The key of the certificate that this connection was opened with, whatever was read since (SIG-08).

        Of two families the cipher suite tells (SIG-07); those of TLS 1.3 do not, there it is P-256, which
        OpenSSL prefers.
        """
        client = self._clients.get(connection)
        if client is not None and client.signer is not None:
            return client.signer
        signers = self._signers.get(connection.context, self._loaded.signers)
        suite = (connection.cipher() or ("",))[0]
        is_rsa = not suite.startswith("TLS_") and "ECDSA" not in suite
        found = next((signer for signer in signers if signer.is_rsa == is_rsa), signers[0])
        if client is not None:
            client.signer = found
        return found

    def client(self, connection: ssl.SSLObject, now: datetime) -> Client:
        """Who is at the other end; CertificateError where the certificate has ended since the handshake."""
        client = self._clients.get(connection)  # not by transport: uvloop's take no weak reference
        if client is None:
            certificate = read_der(connection.getpeercert(binary_form=True) or b"", "the client")
            client = self._clients[connection] = Client(certificate.fingerprint, certificate)
            self._by_fingerprint[client.fingerprint] = client
            self._seen[client.fingerprint] = certificate.not_after
        self._check(client, now)
        return client

    def refuse_revoked(self, certificate: Certificate) -> None:
        """CertificateError where it is on one of the lists that were read (SEC-17)."""
        if any(_is_on(revoked, certificate) for revoked in self._loaded.lists):
            raise CertificateError(f"the certificate {certificate.short} was revoked")

    def connected(self, fingerprint: str) -> Client | None:
        """A client that is connected with this certificate."""
        return self._by_fingerprint.get(fingerprint)

    def take_seen(self) -> dict[str, datetime]:
        """When the certificates expire that clients came with since this was asked last."""
        seen, self._seen = self._seen, {}
        return seen

    def _check(self, client: Client, now: datetime) -> None:
        certificate = client.certificate
        if now >= certificate.not_after:
            raise CertificateError(f"the certificate {certificate.short} expired at {certificate.not_after}")
        if client.cleared != self._generation:
            self.refuse_revoked(certificate)
            client.cleared = self._generation


def server_tls(settings: VtnSettings) -> Tls | None:
    """The listener's TLS, None for plain HTTP; StartupError says in one sentence what is wrong."""
    settings.check()
    return None if settings.insecure_dev else Tls(settings)


def tails_of(fingerprint: str, tls: Tls | None) -> Tails:
    """The short fingerprints that an operator may have typed for this certificate."""
    tails = {Digest.SHA256: fingerprint[-20:]}
    client = tls.connected(fingerprint) if tls else None
    if client is not None:
        tails[Digest.SHA1] = tail_of(client.certificate.short_2_0a)
    return tails


def _is_on(revoked: x509.CertificateRevocationList, certificate: Certificate) -> bool:
    if revoked.issuer.rfc4514_string() != certificate.issuer:
        return False
    return revoked.get_revoked_certificate_by_serial_number(certificate.serial) is not None


def _load(settings: VtnSettings) -> _Loaded:
    stamp = _stamp(settings)  # before the files are read: a change in between is seen at the next look
    try:
        own = tuple(_pair(settings, cert, key) for cert, key in settings.pairs)
        if len({certificate.kind for certificate in own}) < len(own):
            raise CertificateError(f"cert and rsa_cert both hold an {own[0].kind} key: one must be RSA")
        if settings.ca is not None:
            read_pem(settings.ca.read_bytes(), f"the ca file {settings.ca}")
        lists = _lists(settings.crl) if settings.crl else ()
        signers = tuple(_signer(settings, cert, key) for cert, key in settings.pairs)
        return _Loaded(_context(settings), own, lists, stamp, signers)
    except CertificateError as error:
        raise StartupError(str(error)) from None
    except ssl.SSLError as error:
        raise StartupError(f"TLS takes not all of {_names(settings)}: {error.reason or error}") from None
    except OSError as error:
        raise StartupError(f"{error.filename} cannot be read: {error.strerror}") from None


def _context(settings: VtnSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_profile is TlsProfile.COMPAT:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(COMPAT_SUITES)
    else:
        context.set_ciphers(MODERN_SUITES)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.verify_mode = ssl.CERT_REQUIRED
    password = _password(settings) or b""  # never None: OpenSSL would ask the terminal
    for cert, key in settings.pairs:
        context.load_cert_chain(cert, key, password)
    context.load_verify_locations(cafile=settings.ca)
    if settings.crl is not None:
        context.load_verify_locations(cafile=settings.crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def _signer(settings: VtnSettings, cert: Path, key: Path) -> Signer:
    return Signer((cert.read_bytes(), str(cert)), (read_key_file(key), str(key)), _password(settings))


def _pair(settings: VtnSettings, cert: Path, key: Path) -> Certificate:
    certs, private = (cert.read_bytes(), str(cert)), (read_key_file(key), str(key))
    return read_pair(certs, private, _password(settings), Purpose.SERVER)


def _password(settings: VtnSettings) -> bytes | None:
    file = settings.key_password_file
    return read_password_file(file) if file else None


def _lists(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    blocks = _LIST.findall(path.read_bytes())
    try:
        found = tuple(x509.load_pem_x509_crl(block) for block in blocks)
        for each in found:
            each.issuer.rfc4514_string()  # it is read late
    except UNREADABLE:
        found = ()
    if not found:
        raise CertificateError(f"the crl file {path} holds no revocation list that can be read")
    return found


def _stamp(settings: VtnSettings) -> Stamp:
    """What tells one state of the files from another; a missing file is a state too."""
    return tuple(_mark(path) for path in settings.tls_files)


def _mark(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _names(settings: VtnSettings) -> str:
    return ", ".join(str(path) for path in settings.tls_files)
