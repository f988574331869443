"""Requests to the VTN over HTTP and mutual TLS: one body out, one body in (groups HTTP and SEC)."""

import ssl
from collections.abc import Callable
from hashlib import sha256
from types import TracebackType
from typing import Self

import aiohttp

from openadr import (
    CanceledReport,
    CancelOpt,
    CancelReport,
    CreatedEvent,
    CreatedReport,
    CreateOpt,
    CreateReport,
    Message,
    Poll,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    UpdatedReport,
    UpdateReport,
)
from ven.errors import BadAnswerError, SettingsError, UnreachableError, WrongStatusError
from ven.settings import VenSettings

_COMPAT_SUITES = "ECDHE-ECDSA-AES128-SHA256:AES128-SHA256"
_IDLE_S = 60.0
_HEADERS = {
    "Content-Type": "application/xml",
    "Accept": "application/xml",
    # a compressed answer could unpack to any size
    "Accept-Encoding": "identity",
    "User-Agent": "flexpact",
}
_REPORT = "EiReport"
_SERVICES: dict[type[Message], str] = {
    Poll: "OadrPoll",
    RequestEvent: "EiEvent",
    CreatedEvent: "EiEvent",
    CreateOpt: "EiOpt",
    CancelOpt: "EiOpt",
    RegisterReport: _REPORT,
    RegisteredReport: _REPORT,
    CreateReport: _REPORT,
    CreatedReport: _REPORT,
    UpdateReport: _REPORT,
    UpdatedReport: _REPORT,
    CancelReport: _REPORT,
    CanceledReport: _REPORT,
}


def service_of(message: Message) -> str:
    """The service whose endpoint takes this message; plain responses go to EiRegisterParty."""
    return _SERVICES.get(type(message), "EiRegisterParty")


def tls_context(settings: VenSettings) -> ssl.SSLContext:
    """Mutual TLS: the VTN's chain and host name are always checked (SEC-08), its fingerprint if pinned."""
    try:
        context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
        if settings.cert is not None:
            context.load_cert_chain(settings.cert, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"cert, key or ca cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_profile == "compat":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_COMPAT_SUITES)
    if settings.pin is not None:
        context.sslobject_class = _pinned(settings.pin)
    return context


def _pinned(pin: bytes) -> type[ssl.SSLObject]:
    class PinnedObject(ssl.SSLObject):
        """A connection that exists only with the pinned certificate: checked before a byte of ours leaves."""

        def do_handshake(self) -> None:
            super().do_handshake()
            if sha256(self.getpeercert(binary_form=True) or b"").digest() != pin:
                raise ssl.SSLCertVerificationError("the VTN's certificate is not the pinned one")

    return PinnedObject


class Transport:
    """One kept connection pool to the VTN; used as `async with`."""

    def __init__(self, settings: VenSettings) -> None:
        """Reads certificate and key; SettingsError where they cannot be used."""
        self._settings = settings
        self._tls = tls_context(settings) if settings.is_https else False
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=4, keepalive_timeout=_IDLE_S),
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout_s),
            headers=_HEADERS,
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, service: str, body: bytes) -> bytes:
        """The body of the VTN's 200 answer; an ExchangeError for anything else."""
        if self._session is None:
            raise RuntimeError("the transport is not open")
        url = self._settings.base_url + service
        try:
            async with self._session.post(url, data=body, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise WrongStatusError(answer.status, _seconds(answer.headers.get("Retry-After")))
                return await _limited(answer, self._settings.response_limit_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"{url}: {str(error) or type(error).__name__}") from error


async def _limited(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    parts = bytearray()
    async for part in answer.content.iter_any():
        parts += part
        if len(parts) > limit:
            answer.close()
            raise BadAnswerError(f"the VTN's answer is longer than {limit} bytes")
    return bytes(parts)


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isdecimal() else 0.0


class Backoff:
    """Pauses between tries of one request: 1 s, doubled each time, ±10 %, never above a cap (HTTP-16)."""

    def __init__(self, draw: Callable[[], float]) -> None:
        """`draw` gives random numbers from [0, 1)."""
        self._draw = draw
        self.failures = 0
        self.strikes = 0
        """How many of the failures were answers that make no sense."""

    def reset(self) -> None:
        """The next failure starts from one second again."""
        self.failures = 0
        self.strikes = 0

    def pause_s(self, cap_s: float) -> float:
        """Seconds to wait after one more failure."""
        base = 2.0 ** min(self.failures, 30)
        self.failures += 1
        return min(cap_s, base * (0.9 + 0.2 * self._draw()))
