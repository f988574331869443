"""Where one can go: the sections of the dashboard, each shown to those who may see it and only if it is
there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aggregator.access.permission import Permission
from aggregator.access.principal import Principal
from aggregator.dashboard.marked import marked as _


@dataclass(frozen=True, slots=True)
class Place:
    """One entry. `key` is the letter that opens it after g."""

    path: str
    label: str
    icon: str
    permission: Permission
    key: str


@dataclass(frozen=True, slots=True)
class Section:
    """Entries under a heading."""

    label: str
    places: tuple[Place, ...]


_P = Permission
SECTIONS = (
    Section(
        _("Operate"),
        (
            Place("/", _("Overview"), "gauge", _P.FLEET_READ, "o"),
            Place("/events", _("Events"), "bolt", _P.FLEET_READ, "e"),
            Place("/nodes", _("Nodes"), "nodes", _P.FLEET_READ, "n"),
            Place("/reports", _("Reports"), "report", _P.FLEET_READ, "r"),
            Place("/baselines", _("Baselines"), "scale", _P.FLEET_READ, "b"),
            Place("/alarms", _("Alarms"), "bell", _P.FLEET_READ, "a"),
        ),
    ),
    Section(
        _("Settle and prove"),
        (
            Place("/auditor", _("What to check"), "search", _P.AUDIT_READ, "k"),
            Place("/settlement", _("Settlement"), "coins", _P.SETTLEMENT_READ, "s"),
            Place("/ledger", _("Ledger"), "chain", _P.LEDGER_READ, "l"),
            Place("/audit", _("Audit trail"), "shield", _P.AUDIT_READ, "t"),
        ),
    ),
    Section(
        _("My home"),
        (Place("/home", _("My home"), "home", _P.HOME_OWN, "h"),),
    ),
    Section(
        _("Administer"),
        (
            Place("/users", _("Users"), "users", _P.USER_ADMIN, "u"),
            Place("/settings", _("Settings"), "gear", _P.SETTINGS_WRITE, "c"),
        ),
    ),
)


def sections(principal: Principal, paths: Collection[str]) -> Sequence[Section]:
    """What this user may see of what there is; sections without any place are left out."""
    found = []
    for section in SECTIONS:
        places = tuple(
            place for place in section.places if place.path in paths and principal.may(place.permission)
        )
        if places:
            found.append(Section(section.label, places))
    return found


def is_here(place: Place, path: str) -> bool:
    """Whether a page belongs to a place."""
    return path == place.path or (place.path != "/" and path.startswith(f"{place.path}/"))
