"""TLS of the VEN: our certificate, and a VTN whose chain, name and pin are right (SEC-03, SEC-08).

Rules: no byte of ours goes to a VTN whose certificate has expired, on a connection that is open either
(SEC-10). Files that were replaced count for the next request; those that cannot be used change nothing.
"""

import logging
import ssl
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from openadr.certificate import WARN_DAYS, Certificate, Purpose, read_key, read_pair, read_pem
from openadr.errors import CertificateError
from openadr.http_signature import BodySigner
from openadr.private_file import read_key_file, read_password_file
from openadr.security import fingerprint
from openadr.signature import PrivateKey, Signer
from ven.errors import SettingsError
from ven.settings import VenSettings

log = logging.getLogger(__name__)

COMPAT_SUITES = "ECDHE-ECDSA-AES128-SHA256:AES128-SHA256:@SECLEVEL=2"
MODERN_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
Stamp = tuple[tuple[int, int, int], ...]


class Tls:
    """The TLS of one VEN; SettingsError says which file cannot be used."""

    def __init__(self, settings: VenSettings) -> None:
        self._settings = settings
        self._stamp = _stamp(settings)
        self._vtn_until: datetime | None = None
        self._warned = WARN_DAYS[0] + 1
        self.own = _own(settings)
        """Our certificate, None where we have none."""
        self.signer = _signer(settings)
        """What signs our messages, None where they are not signed."""
        self.body_signer = _body_signer(settings, self.own)
        """What signs the bytes of our reports, None where the key cannot."""
        self.peers: set[str] = set()
        """SHA-256 of the VTN's certificates that were met: no other one signs for it (SIG-08)."""
        self.context = self._new_context()
        self._say()

    def stale(self, now: datetime) -> bool:
        """Whether connections that are open must not be used any more; the next ones get `context`."""
        self._warn(now)
        expired = self._vtn_until is not None and now >= self._vtn_until
        if expired:
            self._vtn_until = None
            self.peers.clear()
        return self._reloaded() or expired

    def _reloaded(self) -> bool:
        stamp = _stamp(self._settings)
        if stamp == self._stamp:
            return False
        self._stamp = stamp  # a file that cannot be used is said once, and tried again when it changes
        try:
            own, signer = _own(self._settings), _signer(self._settings)
            body_signer = _body_signer(self._settings, own)
            context = self._new_context()
        except SettingsError as error:
            log.error("the new certificates are not used: %s", error)
            return False
        self.own, self.signer, self.body_signer, self.context = own, signer, body_signer, context
        self._warned = WARN_DAYS[0] + 1
        self._say()
        return True

    def _say(self) -> None:
        if self.own is not None:
            log.info("our certificate is %s, valid until %s", self.own.short, self.own.not_after)
            if self.body_signer is None:
                log.warning("reports are not signed: the key of our certificate is neither P-256 nor RSA")

    def _warn(self, now: datetime) -> None:
        """Log that our certificate ends soon, once for 30, 7 and 1 days (SEC-15)."""
        if self.own is None:
            return
        days = min((days for days in WARN_DAYS if self.own.days_left(now) < days), default=self._warned)
        if days < self._warned:
            self._warned = days
            ends = "has ended" if now >= self.own.not_after else "ends"
            log.warning("our certificate %s %s at %s: renew it", self.own.short, ends, self.own.not_after)

    def _new_context(self) -> ssl.SSLContext:
        context = _context(self._settings)
        context.sslobject_class = self._checked(self._settings.pin)
        return context

    def _checked(self, pin: bytes | None) -> type[ssl.SSLObject]:
        tls = self

        class CheckedObject(ssl.SSLObject):
            """A connection that exists only with the pinned certificate, and whose end is known."""

            def do_handshake(self) -> None:
                super().do_handshake()
                der = self.getpeercert(binary_form=True) or b""
                met = sha256(der)
                if pin is not None and met.digest() != pin:
                    text = f"it is not the pinned one, vtn_fingerprint would be {met.hexdigest()}"
                    raise ssl.SSLCertVerificationError(text)
                tls.peers.add(fingerprint(der))
                tls._met(str((self.getpeercert() or {})["notAfter"]))

        return CheckedObject

    def _met(self, not_after: str) -> None:
        until = datetime.fromtimestamp(ssl.cert_time_to_seconds(not_after), UTC)
        self._vtn_until = until if self._vtn_until is None else min(until, self._vtn_until)


def check(settings: VenSettings) -> None:
    """SettingsError where the certificates cannot be used, before anything is begun."""
    if settings.is_https:
        _own(settings)
        _signer(settings)
        _context(settings)


def _context(settings: VenSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.tls_profile == "compat":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(COMPAT_SUITES)
        else:
            context.set_ciphers(MODERN_SUITES)
        if settings.cert is not None:
            # a password of no letters, never none: OpenSSL would ask the terminal
            context.load_cert_chain(settings.cert, settings.key, _password(settings) or b"")
    except ssl.SSLError as error:
        files = ", ".join(str(path) for path in settings.tls_files)
        raise SettingsError(f"TLS takes not all of {files}: {error.reason or error}") from error
    return context


def _own(settings: VenSettings) -> Certificate | None:
    """Our certificate, after every file was found to be usable."""
    try:
        if settings.ca is not None:
            read_pem(settings.ca.read_bytes(), str(settings.ca))
        if settings.cert is None:
            return None
        key = settings.key or settings.cert
        certs, private = (settings.cert.read_bytes(), str(settings.cert)), (read_key_file(key), str(key))
        return read_pair(certs, private, _password(settings), Purpose.CLIENT)
    except CertificateError as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SettingsError(f"{error.filename} cannot be read: {error.strerror}") from None


def _signer(settings: VenSettings) -> Signer | None:
    """The same certificate and key that TLS uses; called after `_own`, which reads and checks them."""
    if settings.cert is None or not settings.xml_signature:
        return None
    key = settings.key or settings.cert
    certs, private = (settings.cert.read_bytes(), str(settings.cert)), (read_key_file(key), str(key))
    return Signer(certs, private, _password(settings))


def _body_signer(settings: VenSettings, own: Certificate | None) -> BodySigner | None:
    """With the key of this certificate, which `_own` has checked."""
    if settings.cert is None or own is None:
        return None
    key = settings.key or settings.cert
    private = read_key(read_key_file(key), str(key), _password(settings))
    return BodySigner.of(private, own.fingerprint) if isinstance(private, PrivateKey) else None


def _password(settings: VenSettings) -> bytes | None:
    file = settings.key_password_file
    return read_password_file(file) if file else None


def _stamp(settings: VenSettings) -> Stamp:
    return tuple(_mark(path) for path in settings.tls_files)


def _mark(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)
