"""What the head of a request says: where it goes, what its body is, who is behind a proxy, what may return.

Rules: a path is compared in one form (RFC 3986, HTTP-04); a body is plain XML in UTF-8 (HTTP-10); a reply is
compressed by a method that the peer lists (HTTP-13) and its length is known (HTTP-11).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import hdrs

from openadr.certificate import Certificate, read_der
from openadr.errors import CertificateError
from openadr.uri import normal

XML = "application/xml"
CLIENT_CERT = "Client-Cert"
"""The certificate of the client behind a proxy, as RFC 9440 spells it: base64 of the DER between colons."""
_CERTIFICATE_CHARS = 16_384
CACHED_BYTES = 1024  # the replies to empty polls are as small, one for each VEN
CACHED_REPLIES = 16_384
_GZIP, _ZLIB = 31, 15  # zlib's words for the two formats


def path_of(target: str) -> str:
    """The path that a request is for: escapes, dot segments and an address with its host are made plain."""
    text = f"http://host{target}" if target.startswith("/") else target
    try:
        return urlsplit(normal(text)).path
    except ValueError:  # an address that is none
        return ""


def is_xml(headers: Mapping[str, str]) -> bool:
    """Whether the body says that it is plain XML in UTF-8 (HTTP-10)."""
    kind = headers.get(hdrs.CONTENT_TYPE, "")
    if kind == XML:
        return hdrs.CONTENT_ENCODING not in headers
    kind, _, parameters = kind.partition(";")
    if kind.strip().lower() != XML or hdrs.CONTENT_ENCODING in headers:
        return False
    name, _, value = parameters.partition("=")
    return not parameters.strip() or (
        name.strip().lower() == "charset" and value.strip().strip('"').lower() == "utf-8"
    )


@lru_cache(maxsize=256)
def coding(accepted: str) -> str | None:
    """The method to compress a reply by, for an Accept-Encoding; None: as it is."""
    qualities = dict(map(_quality, accepted.lower().split(",")))
    for offered, names in (("gzip", ("gzip", "x-gzip", "*")), ("deflate", ("deflate", "*"))):
        listed = next((name for name in names if name in qualities), None)
        if listed is not None and qualities[listed] > 0:
            return offered
    return None


def _quality(item: str) -> tuple[str, float]:
    name, _, parameter = item.partition(";")
    key, _, value = parameter.partition("=")
    try:
        weight = float(value) if key.strip() == "q" else 1.0
    except ValueError:
        weight = 0.0
    return name.strip(), weight


def compressed(body: bytes, method: str) -> bytes:
    """The body by one of the methods of `coding`; small ones are remembered."""
    return _remembered(body, method) if len(body) <= CACHED_BYTES else _compressed(body, method)


def _compressed(body: bytes, method: str) -> bytes:
    packer = zlib.compressobj(level=1, wbits=_GZIP if method == "gzip" else _ZLIB)
    return packer.compress(body) + packer.flush()


_remembered = lru_cache(maxsize=CACHED_REPLIES)(_compressed)


def forwarded_certificate(value: str, now: datetime) -> Certificate:
    """The certificate in a Client-Cert header; CertificateError where there is no valid one."""
    if len(value) > _CERTIFICATE_CHARS or not (value.startswith(":") and value.endswith(":") and value[1:-1]):
        raise CertificateError("Client-Cert is no base64 between colons")
    try:
        der = base64.b64decode(value[1:-1], validate=True)
    except ValueError:
        raise CertificateError("Client-Cert is no base64 between colons") from None
    certificate = read_der(der, "Client-Cert")
    if not certificate.not_before <= now <= certificate.not_after:
        raise CertificateError("the certificate in Client-Cert is not valid now")
    return certificate
