"""How one VEN is set up. Everything is checked when the value is made: a VEN that cannot work does not
start."""

from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from math import isfinite
from pathlib import Path
from urllib.parse import urlsplit

from openadr.timeline import Precedence
from ven.errors import SettingsError

SIGNALS = frozenset(
    {
        ("SIMPLE", "level"),
        ("LOAD_DISPATCH", "delta"),
        ("LOAD_DISPATCH", "setpoint"),
        ("ELECTRICITY_PRICE", "price"),
    }
)
"""The three signals that every VEN must take (SGN-01), and the power delta that our own VTN sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VenSettings:
    """Settings of one VEN. Intervals are seconds of the VEN's clock; `timeout_s` is real time."""

    vtn_url: str
    """Base address of the VTN without the OpenADR path, such as `https://vtn.example:8443`."""
    ven_name: str
    """Name under which the VEN registers."""
    state_path: Path
    """SQLite file with registration, events and the reports not yet delivered."""
    cert: Path | None = None
    """PEM file of our certificate (with its chain); needed for https."""
    key: Path | None = None
    """PEM file of our private key; None: it is in `cert`."""
    key_password_file: Path | None = None
    """File with the password of the private key, where that is encrypted."""
    ca: Path | None = None
    """PEM file of the authority that issued the VTN's certificate; None: the system's own."""
    vtn_fingerprint: str | None = None
    """SHA-256 of the VTN's certificate in hex (colons allowed): if set, no other certificate is accepted. The
    host name is checked in any case."""
    tls_profile: str = "compat"
    """`compat`: TLS 1.2 and the standard's two suites (SEC-01, SEC-04). `modern`: TLS 1.2 or newer with
    authenticated encryption."""
    insecure_dev: bool = False
    """Allows plain http, to a loopback address only."""
    ven_id: str | None = None
    """A venID agreed beforehand; None: the VTN gives one."""
    report_only: bool = False
    """Registers for reports alone: asks for no events, and opts out of any that come."""
    poll_period_s: float = 10.0
    """How often to poll while the VTN has asked for no rhythm."""
    poll_jitter: float = 0.1
    """Share of the period, from 0 to 1, that is added at random, so that VENs do not poll in step."""
    register_retry_s: float = 60.0
    """Pause after a refused registration."""
    register_after_cancel_s: float | None = 3600.0
    """Pause before registering again after the VTN has cancelled; None: never."""
    backoff_cap_s: float = 100.0
    """Longest pause between two tries of one request: so soon at most a VTN that is back is heard."""
    timeout_s: float = 10.0
    """Real seconds for one request; the standard wants at least 5 (HTTP-15)."""
    clock_skew_s: float = 60.0
    """Difference to the VTN's clock that passes without a warning (GEN-20)."""
    xml_signature: bool = False
    """Signs every message, and ignores every answer that the VTN has not signed (SIG-11). Switched on,
    it makes the VEN register again; to switch it off, the VTN's operator must agree."""
    signature_window_s: float = 60.0
    """How far the time of the VTN's signature may lie from now."""
    signature_sha1: bool = False
    """Takes signatures of the VTN with SHA-1, which the standard allows no more."""
    signature_leniency: bool = False
    """Takes signatures of the VTN with exclusive C14N, or without signed ReplayProtect, which do not protect
    against replay."""
    lenient: bool = False
    """Forgives the VTN the known deviations of `openadr.lenient`, such as response code `000` (ERR-06)."""
    response_limit_bytes: int = 1_048_576
    """Longest answer that is read."""
    market_contexts: frozenset[str] = frozenset()
    """Programmes that the VEN takes part in; empty: any."""
    groups: frozenset[str] = frozenset()
    """Group ids and names that events may be addressed to."""
    parties: frozenset[str] = frozenset()
    """Party ids that events may be addressed to."""
    device_classes: frozenset[str] = frozenset()
    """Device classes of the site (words of the standard) that signals may be addressed to."""
    meters: frozenset[str] = frozenset()
    """Ids (mrid) of meter assets that events may be addressed to."""
    grid_nodes: frozenset[str] = frozenset()
    """Pricing nodes and service delivery points that events may be addressed to."""
    transport_interfaces: frozenset[tuple[str, str]] = frozenset()
    """Points of receipt and of delivery that events may be addressed to."""
    position: tuple[float, float] | None = None
    """Coordinates of the site, in the order that the VTN's service areas have; None: in no area."""
    overlap: Precedence = Precedence.PRIORITY
    """Which of two events rules where they overlap (VEX-25)."""
    signals: frozenset[tuple[str, str]] = field(default=SIGNALS)
    """Pairs of signal name and type that the site understands."""
    numbered_points: bool = False
    """Gives data points three digits on the wire, for peers that take no other rID (RPT-48)."""
    metadata_at_start: bool = False
    """Sends its metadata at every start (RPT-01 to the letter). Without it a restart goes on with the reports
    that are under way, and sends metadata where they have changed."""
    report_parts: timedelta = timedelta(days=1)
    """Longest span of one HISTORY_USAGE part."""
    report_readings_limit: int = 2400
    """Most values in one report (about 250 bytes each)."""
    catch_up: timedelta = timedelta(days=8)
    """How far back missed periodic reports are made after an outage."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the setting."""
        _check_url(self)
        _check_ranges(self)

    @property
    def base_url(self) -> str:
        """The address to which a service name is appended."""
        return self.vtn_url.rstrip("/") + "/OpenADR2/Simple/2.0b/"

    @property
    def is_https(self) -> bool:
        """Whether the VTN is spoken to over TLS; the scheme may be spelt in any case."""
        return urlsplit(self.vtn_url).scheme == "https"

    @property
    def tls_files(self) -> tuple[Path, ...]:
        """Every file that TLS is made of."""
        files = (self.cert, self.key, self.key_password_file, self.ca)
        return tuple(path for path in files if path is not None)

    @property
    def pin(self) -> bytes | None:
        """The pinned SHA-256 of the VTN's certificate."""
        return bytes.fromhex(self.vtn_fingerprint.replace(":", "")) if self.vtn_fingerprint else None


def _check_url(settings: VenSettings) -> None:
    url = urlsplit(settings.vtn_url)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise SettingsError(f"vtn_url must be an http(s) address, got {settings.vtn_url!r}")
    if "?" in settings.vtn_url or "#" in settings.vtn_url:
        raise SettingsError(f"vtn_url has no place for a query or fragment, got {settings.vtn_url!r}")
    if url.scheme == "http":
        if not settings.insecure_dev:
            raise SettingsError(
                "vtn_url is plain http: use https, or set insecure_dev for a test on this machine"
            )
        if not _is_loopback(url.hostname):
            raise SettingsError(f"plain http is for loopback only, got {url.hostname}")
        if settings.xml_signature:
            raise SettingsError("xml_signature needs https: who signs is known by the connection")
    elif settings.cert is None:
        raise SettingsError("cert is missing: the VTN knows a VEN by its certificate")
    try:
        pin = settings.pin
    except ValueError as error:
        raise SettingsError("vtn_fingerprint must be hex digits") from error
    if pin is not None and len(pin) != 32:
        raise SettingsError(f"vtn_fingerprint must be 64 hex digits (SHA-256), got {2 * len(pin)}")
    if settings.tls_profile not in {"compat", "modern"}:
        raise SettingsError(f"tls_profile must be compat or modern, got {settings.tls_profile!r}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_ranges(settings: VenSettings) -> None:
    if not settings.ven_name.strip():
        raise SettingsError("ven_name is empty")
    if settings.timeout_s < 5:
        raise SettingsError(f"timeout_s must be at least 5, got {settings.timeout_s:g}")
    if settings.position is not None and not all(map(isfinite, settings.position)):
        raise SettingsError(f"position must be two numbers, got {settings.position}")
    if not 0 <= settings.poll_jitter <= 1:
        raise SettingsError(f"poll_jitter must be from 0 to 1, got {settings.poll_jitter:g}")
    for name in ("poll_period_s", "register_retry_s", "backoff_cap_s", "clock_skew_s"):
        if not getattr(settings, name) > 0:
            raise SettingsError(f"{name} must be positive, got {getattr(settings, name):g}")
    if not 1 <= settings.signature_window_s <= 300:
        raise SettingsError(f"signature_window_s must be from 1 to 300, got {settings.signature_window_s:g}")
    if not timedelta(0) < settings.report_parts <= timedelta(days=1):
        raise SettingsError(f"report_parts must be at most one day, got {settings.report_parts}")
    if settings.report_readings_limit < 1 or settings.response_limit_bytes < 1:
        raise SettingsError("report_readings_limit and response_limit_bytes must be positive")
