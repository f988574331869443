"""TLS of the OpenADR listener: both sides have a certificate, and the peer's one says who it is."""

from __future__ import annotations

import ssl

from vtn.errors import StartupError
from vtn.settings import TlsProfile, VtnSettings

COMPAT_SUITES = (
    "ECDHE-ECDSA-AES128-SHA256:AES128-SHA256"  # SEC-01: the two of OpenADR 2.0b, the first one for P-256
)
MODERN_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(settings: VtnSettings) -> ssl.SSLContext | None:
    """The listener's TLS context, None for plain HTTP; StartupError names the file that cannot be used."""
    settings.check()
    if settings.cert is None or settings.key is None or settings.ca is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_profile is TlsProfile.COMPAT:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(COMPAT_SUITES)
    else:
        context.set_ciphers(MODERN_SUITES)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(settings.cert, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise StartupError(
            f"certificate {settings.cert} and key {settings.key} do not fit: {error}"
        ) from error
    try:
        context.load_verify_locations(cafile=settings.ca)
    except (OSError, ssl.SSLError) as error:
        raise StartupError(f"the ca file {settings.ca} holds no certificates: {error}") from error
    return context
