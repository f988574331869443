"""How one box is set up: a TOML file on the box, read once at the start.

    node = "node-1"
    state = "feid.sqlite"          # paths are relative to the settings file
    socket = "feid.sock"           # optional: where people and programs of the site say whether it takes
                                   # part, with `flexpact feid opt`, `schedule` ... (see feid.voice)

    [driver]
    kind = "simulated"
    socket = "sim.sock"

    [limits]                       # see feid.guard.Limits; no network path reaches these
    connection_capacity_kw = 14.0
    soc_reserve_percent = 15.0
    home_capacity_kw = { "home-03" = 9.0 }

    [ven]                          # see ven.settings.VenSettings
    vtn_url = "https://127.0.0.1:8443"
    ven_name = "node-1"
    state_path = "ven.sqlite"
    cert = "node-1.pem"

A name that is not known is refused, so that a misspelt limit is never a missing limit.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints

from feid.errors import SettingsError
from feid.guard import Limits
from openadr.timeline import Precedence
from ven.errors import SettingsError as VenSettingsError
from ven.settings import VenSettings

DRIVERS = ("simulated",)
_PATHS = ("state_path", "cert", "key", "key_password_file", "ca")
_SETS = ("market_contexts", "groups", "parties", "device_classes", "meters", "grid_nodes")
_SPANS = ("report_parts", "catch_up")  # written in days
_KINDS: Mapping[str, Any] = get_type_hints(VenSettings)


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """Which devices and meters there are, and where they answer."""

    kind: str
    socket: Path


@dataclass(frozen=True, slots=True)
class FeidSettings:
    """Settings of one box: one process, one virtual node, the homes behind it."""

    node: str
    state: Path
    driver: DriverSettings
    limits: Limits
    ven: VenSettings
    history: timedelta = timedelta(days=28)
    socket: Path | None = None
    """Where the site says whether it takes part (`feid.voice`); None: nowhere."""
    homes: tuple[str, ...] = ()
    """Homes whose meters must be there; empty: those that have a device."""

    @property
    def audited(self) -> Path:
        """Where `flexpact feid audit` leaves its result for `flexpact feid status`."""
        return self.state.with_name(self.state.name + ".audit.json")

    @classmethod
    def load(cls, path: Path) -> "FeidSettings":
        """Settings from a TOML file; SettingsError says which value cannot work."""
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is no TOML file: {error}") from error
        try:
            return cls.of(content, path.parent)
        except (SettingsError, VenSettingsError, ValueError, TypeError) as error:
            raise SettingsError(f"{path}: {error}") from error

    @classmethod
    def of(cls, content: Mapping[str, Any], folder: Path) -> "FeidSettings":
        """Settings from the tables of the file; `folder` is where its relative paths begin."""
        _only(content, "", {"node", "state", "socket", "history_days", "homes", "driver", "limits", "ven"})
        history_days = _number(content.get("history_days", 28), "history_days")
        if not 0 < history_days <= 35:
            raise SettingsError(f"history_days must be above 0 and at most 35, got {history_days:g}")
        return cls(
            node=_text(content, "node", ""),
            state=folder / _text(content, "state", ""),
            driver=_driver(_table(content, "driver"), folder),
            limits=_limits(_table(content, "limits")),
            ven=_ven(_table(content, "ven"), folder),
            history=timedelta(days=history_days),
            socket=folder / _text(content, "socket", "") if "socket" in content else None,
            homes=_homes(content.get("homes", [])),
        )


def _homes(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(home, str) and home for home in value):
        raise SettingsError(f"homes must be a list of texts, got {value!r}")
    return tuple(value)


def _driver(table: Mapping[str, Any], folder: Path) -> DriverSettings:
    _only(table, "driver.", {"kind", "socket"})
    kind = _text(table, "kind", "driver.")
    if kind not in DRIVERS:
        raise SettingsError(f"driver.kind must be one of {', '.join(DRIVERS)}, got {kind!r}")
    return DriverSettings(kind, folder / _text(table, "socket", "driver."))


def _limits(table: Mapping[str, Any]) -> Limits:
    _only(table, "limits.", {f.name for f in fields(Limits)})
    numbers = {
        name: _number(value, f"limits.{name}") for name, value in table.items() if name != "home_capacity_kw"
    }
    homes = table.get("home_capacity_kw", {})
    if not isinstance(homes, Mapping):
        raise SettingsError("limits.home_capacity_kw must be a table of home and kW")
    pairs = tuple(
        (home, _number(kw, f"limits.home_capacity_kw.{home}")) for home, kw in sorted(homes.items())
    )
    return Limits(home_capacity_kw=pairs, **numbers)


def _ven(table: Mapping[str, Any], folder: Path) -> VenSettings:
    _only(table, "ven.", {f.name for f in fields(VenSettings)} - {"signals"})
    for name, value in table.items():
        _check_kind(name, value)
    values: dict[str, Any] = dict(table)
    for name in ("vtn_url", "ven_name", "state_path"):
        _text(table, name, "ven.")
    for name in _PATHS:
        if name in values:
            values[name] = folder / _text(table, name, "ven.")
    for name in _SETS:
        if name in values:
            values[name] = frozenset(values[name])
    for name in _SPANS:
        if name in values:
            values[name] = timedelta(days=_number(values[name], f"ven.{name}"))
    if "transport_interfaces" in values:
        values["transport_interfaces"] = frozenset((a, b) for a, b in values["transport_interfaces"])
    if "position" in values:
        x, y = values["position"]
        values["position"] = (float(x), float(y))
    if "overlap" in values:
        values["overlap"] = _precedence(values["overlap"])
    return VenSettings(**values)


def _precedence(text: str) -> Precedence:
    if text not in list(Precedence):
        raise SettingsError(f"ven.overlap must be one of {', '.join(Precedence)}, got {text!r}")
    return Precedence(text)


def _check_kind(name: str, value: object) -> None:
    """SettingsError where a setting of the VEN is of another kind than TOML writes it in."""
    text, is_right = _kind(name)
    if not is_right(value):
        raise SettingsError(f"ven.{name} must be {text}, got {value!r}")


def _kind(name: str) -> tuple[str, Callable[[object], bool]]:
    kinds = get_args(_KINDS[name]) or (_KINDS[name],)
    if name in _SETS:
        return "a list of texts", lambda value: _is_list(value, lambda each: isinstance(each, str))
    if name == "transport_interfaces":
        return "a list of pairs of texts", lambda value: _is_list(value, lambda each: _is_pair(each, str))
    if name == "position":
        return "two numbers", lambda value: _is_pair(value, int | float)
    if bool in kinds:
        return "true or false", lambda value: isinstance(value, bool)
    number: Any = int if int in kinds else int | float
    if number is int or float in kinds or name in _SPANS:
        text = "a whole number" if number is int else "a number"
        return text, lambda value: isinstance(value, number) and not isinstance(value, bool)
    return "a text", lambda value: isinstance(value, str)


def _is_list(value: object, is_right: Callable[[object], bool]) -> bool:
    return isinstance(value, list) and all(is_right(each) for each in value)


def _is_pair(value: object, kind: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(each, kind) for each in value)


def _only(table: Mapping[str, Any], prefix: str, names: set[str]) -> None:
    for name in table:
        if name not in names:
            raise SettingsError(f"{prefix}{name} is no setting; known are {', '.join(sorted(names))}")


def _table(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = content.get(name)
    if not isinstance(table, Mapping):
        raise SettingsError(f"the table [{name}] is missing")
    return table


def _text(table: Mapping[str, Any], name: str, prefix: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"{prefix}{name} must be a text, got {value!r}")
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{name} must be a number, got {value!r}")
    return float(value)
