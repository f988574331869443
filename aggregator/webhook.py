"""Notices as HTTP requests, signed as Standard Webhooks has it: id, timestamp and body under HMAC-SHA256.

Rules: only hosts that the TOML names are asked; no redirect is followed; a host whose name leads to an
address that is not public is not asked, unless the TOML names its network. The address that was looked at is
the one that is connected to.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from aggregator.errors import AggregatorError
from aggregator.notice_settings import NoticeSettings

TIMEOUT_S = 10.0
PORTS = {"https": 443, "http": 80}
SHOWN = 100
_WITH_IPV4 = tuple(map(IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96", "::/96")))
"""Networks whose last 32 bits are an address of IPv4: mapped, behind NAT64, and as it was first written."""


class UndeliveredError(AggregatorError):
    """A notice was not taken; it is tried again."""


class BarredError(UndeliveredError):
    """The address may not be asked; trying again does not help."""


class Bounds:
    """Which addresses may be asked."""

    def __init__(self, settings: NoticeSettings) -> None:
        self._hosts = frozenset(settings.hosts)
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(one) for one in settings.networks]

    def check(self, url: str) -> None:
        """BarredError says why this address may not be asked."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
        named = host if port == PORTS.get(parts.scheme) else f"{host}:{port}"
        if parts.scheme not in PORTS or named not in self._hosts:
            raise BarredError(f"{named[:SHOWN]} is not among notices.hosts of the settings file")
        try:
            literal = ip_address(host)
        except ValueError:
            literal = None
        if literal is not None:
            self.check_address(literal, in_the_clear=parts.scheme == "http")
        elif parts.scheme == "http" and not self._networks:
            raise BarredError("plain http is for private networks that the settings file names")

    def check_address(self, address: IPv4Address | IPv6Address, *, in_the_clear: bool = False) -> None:
        """BarredError where it is neither in a network that was named nor public; public is too little for
        what goes `in_the_clear`.
        """
        address = _meant(address) if isinstance(address, IPv6Address) else address
        if any(address in network for network in self._networks if network.version == address.version):
            return
        if not address.is_global or address.is_multicast:
            raise BarredError(f"{address} is a private address, and notices.networks does not hold it")
        if in_the_clear:
            raise BarredError(f"plain http is for notices.networks, which does not hold {address}")


def _meant(address: IPv6Address) -> IPv4Address | IPv6Address:
    """The address of IPv4 that one of IPv6 leads to: written as such, or by a gateway."""
    low = int(address) & 0xFFFFFFFF
    if low > 1 and any(address in network for network in _WITH_IPV4):
        return IPv4Address(low)
    teredo = address.teredo
    return address.sixtofour or (teredo[1] if teredo else address)


class _Resolver(AbstractResolver):
    """Names to addresses, each of which may be asked, by plain http where it goes `in_the_clear`."""

    def __init__(self, bounds: Bounds, *, in_the_clear: bool) -> None:
        self._bounds = bounds
        self._in_the_clear = in_the_clear
        self._names = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses; BarredError where one of them may not be asked."""
        found = await self._names.resolve(host, port, family)
        for one in found:
            self._bounds.check_address(ip_address(one["host"]), in_the_clear=self._in_the_clear)
        return found

    async def close(self) -> None:
        """Nothing is kept open."""
        await self._names.close()


def signature(key: bytes, notice_id: str, timestamp: int, body: str) -> str:
    """What stands in `webhook-signature`: `v1,` and the HMAC in base64."""
    signed = hmac.new(key, f"{notice_id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def _said(error: Exception) -> str:
    """What is said of an error without the address, which may hold a secret."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} {error.message}"
    return "" if isinstance(error, aiohttp.InvalidURL) else str(error)


class Webhooks:
    """Sends notices to addresses. `close` it."""

    def __init__(self, settings: NoticeSettings) -> None:
        self.bounds = Bounds(settings)
        self._key = settings.secret()
        self._http: dict[str, aiohttp.ClientSession] = {}

    async def send(self, url: str, notice_id: str, body: str, now: datetime) -> None:
        """Hand one notice over; UndeliveredError says in a sentence why it was not taken."""
        self.bounds.check(url)
        if self._key is None:
            raise BarredError("notices.secret_file is not set: webhooks are signed")
        timestamp = int(now.timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "flexpact",
            "webhook-id": notice_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._key, notice_id, timestamp, body),
        }
        try:
            async with self._session(urlsplit(url).scheme).post(
                url, data=body.encode(), headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UndeliveredError(f"{type(error).__name__}: {_said(error)}"[: 2 * SHOWN]) from error
        if not 200 <= status < 300:
            raise UndeliveredError(f"it answered with status {status}")

    async def close(self) -> None:
        """Close the connections."""
        while self._http:
            _scheme, http = self._http.popitem()
            await http.close()

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        if scheme not in self._http:
            resolver = _Resolver(self.bounds, in_the_clear=scheme == "http")
            connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=20)
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            self._http[scheme] = aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)
        return self._http[scheme]
