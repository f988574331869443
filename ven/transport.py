"""Requests to the VTN over HTTP and mutual TLS: one body out, one body in (groups HTTP and SEC)."""

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
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
    ProtocolError,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    UpdatedReport,
    UpdateReport,
)
from openadr.errors import BadSignature
from openadr.parser import Limits
from openadr.verification import Policy, verify
from ven.errors import BadAnswerError, IgnoredAnswerError, UnreachableError, WrongStatusError
from ven.settings import VenSettings
from ven.tls import Tls

ANSWER_NODES = 20_000
"""Elements and attributes of an answer: the events of days, whose signals may change every five minutes."""
_IDLE_S = 60.0
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNSUPPORTED_PROTOCOL"}
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


Spend = Callable[[str, str, datetime], bool]
"""Takes the signer's fingerprint, a nonce and the time of signing; False where the nonce is not new."""


def _forget(_signer: str, _nonce: str, _signed_at: datetime) -> bool:
    return False


def service_of(message: Message) -> str:
    """The service whose endpoint takes this message; plain responses go to EiRegisterParty."""
    return _SERVICES.get(type(message), "EiRegisterParty")


@dataclass(frozen=True, slots=True)
class Sent:
    """What the VTN answered, and the SHA-256 of the bytes that it answered."""

    answer: bytes
    sha256: bytes


class _Pool:
    """A session with its kept connections, and how many requests use it."""

    def __init__(self, settings: VenSettings, tls: Tls | None) -> None:
        self.users = 0
        # of the certificate that these connections show
        self.signer = tls.signer if tls else None
        self.body_signer = tls.body_signer if tls else None
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=tls.context if tls else False, limit=4, keepalive_timeout=_IDLE_S
            ),
            timeout=aiohttp.ClientTimeout(total=settings.timeout_s),
            headers=_HEADERS,
            auto_decompress=False,
        )


class Transport:
    """Kept connections to the VTN; used as `async with`."""

    def __init__(self, settings: VenSettings, clock: Callable[[], datetime], spend: Spend = _forget) -> None:
        """Reads certificate and key; SettingsError where they cannot be used.

        `spend` remembers nonces of signed answers and says whether one is new; without it none is.
        """
        self._settings = settings
        self._clock = clock
        self._spend = spend
        self._tls = Tls(settings) if settings.is_https else None
        self._pool: _Pool | None = None

    async def __aenter__(self) -> Self:
        self._pool = self._new_pool()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            await self._pool.session.close()

    async def post(self, service: str, body: bytes) -> bytes:
        """The body of the VTN's 200 answer; an ExchangeError for anything else.

        Where we sign, `body` is signed now (SIG-04), and what is given is what the VTN's signature covers.
        """
        return (await self.send(service, body)).answer

    async def send(self, service: str, body: bytes, *, attested: bool = False) -> Sent:
        """As `post`, with what was sent; `attested`: its bytes are signed in the head, if we have a key."""
        pool = await self._fresh_pool()
        pool.users += 1
        try:
            sent = body if pool.signer is None else pool.signer.sign(body, self._clock())
            head = pool.body_signer.headers(sent, self._clock()) if attested and pool.body_signer else {}
            answer = await self._post(pool.session, self._settings.base_url + service, sent, head)
            believed = answer if pool.signer is None or not answer else self._believed(answer)
            return Sent(believed, sha256(sent).digest())
        finally:
            pool.users -= 1
            await self._close_unless_used(pool)

    async def read(self, target: str) -> bytes:
        """What the VTN lets us read on a path of its own, beside OpenADR; an ExchangeError otherwise."""
        pool = await self._fresh_pool()
        pool.users += 1
        url = self._settings.vtn_url.rstrip("/") + target
        try:
            async with pool.session.get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise WrongStatusError(answer.status)
                return await _limited(answer, self._settings.response_limit_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"{url}: {_reason(error)}") from error
        finally:
            pool.users -= 1
            await self._close_unless_used(pool)

    async def _post(
        self, session: aiohttp.ClientSession, url: str, body: bytes, head: Mapping[str, str]
    ) -> bytes:
        try:
            async with session.post(url, data=body, headers=head, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise WrongStatusError(answer.status, _seconds(answer.headers.get("Retry-After")))
                return await _limited(answer, self._settings.response_limit_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"{url}: {_reason(error)}") from error

    def _believed(self, answer: bytes) -> bytes:
        settings = self._settings
        policy = Policy(
            timedelta(seconds=settings.signature_window_s),
            settings.signature_sha1,
            settings.signature_leniency,
        )
        limits = Limits(
            max_bytes=settings.response_limit_bytes,
            max_report_bytes=settings.response_limit_bytes,
            max_nodes=ANSWER_NODES,
        )
        try:
            verified = verify(answer, self._tls.peers if self._tls else (), self._clock(), policy, limits)
        except BadSignature as error:
            raise IgnoredAnswerError(f"the VTN's answer is ignored: {error}") from None
        except ProtocolError as error:
            raise BadAnswerError(f"the VTN's answer is no OpenADR message: {error}") from None
        nonce, signed_at = verified.nonce, verified.signed_at
        if nonce is not None and not self._spend(verified.fingerprint, nonce, signed_at):
            raise IgnoredAnswerError(
                "the VTN's answer is ignored as a replay: its nonce was used, or may have been before a crash"
            )
        return verified.body

    async def _fresh_pool(self) -> _Pool:
        """Connections that may still be used; those that may not are closed after their last request."""
        old = self._pool
        if old is None:
            raise RuntimeError("the transport is not open")
        if self._tls is None or not self._tls.stale(self._clock()):
            return old
        self._pool = self._new_pool()
        await self._close_unless_used(old)
        return self._pool

    async def _close_unless_used(self, pool: _Pool) -> None:
        if pool is not self._pool and pool.users == 0:
            await pool.session.close()

    def _new_pool(self) -> _Pool:
        return _Pool(self._settings, self._tls)


def _reason(error: BaseException) -> str:
    """What a person can do something about, in words; the machine's own where there are none."""
    cause = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
    cause = cause.os_error if isinstance(cause, aiohttp.ClientConnectorError) else cause
    match cause:
        case ssl.SSLCertVerificationError():
            text = getattr(cause, "verify_message", "") or str(cause.args[-1])  # ours have the text alone
            hint = " (is the clock of this machine right?)" if "not yet valid" in text else ""
            said = f"the VTN's certificate is not taken: {text}{hint}"
        case ssl.SSLError() if cause.reason in _NO_TLS:
            said = "what answers there speaks no TLS that we do: is the port right?"
        case ssl.SSLError() | ConnectionResetError() if isinstance(error, aiohttp.ClientConnectorError):
            said = "the VTN ends the connection as TLS begins: it does not take our certificate, or our TLS"
        case ConnectionRefusedError():
            said = "nobody listens there"
        case socket.gaierror():
            said = f"the name is not known: {cause.strerror}"
        case TimeoutError():
            said = "no answer in time"
        case _:
            said = str(error) or type(error).__name__
    return said


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
